//! Clients that are slow on purpose.

use std::time::Duration;

use bytes::Bytes;
use folk_api::{Body, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::support::{PATIENCE, Server};

/// Far enough away to play no part.
const FAR: &str = "60s";

fn limits(head: &str, idle: &str, body: &str, write: &str) -> Value {
    json!({ "limits": {
        "head_timeout": head, "idle_timeout": idle, "body_timeout": body, "write_timeout": write,
    } })
}

#[tokio::test]
async fn a_head_that_drips_is_cut_at_the_timeout_of_its_first_byte() {
    let server = Server::hello(limits("300ms", FAR, FAR, FAR)).await;
    for warmed_up in [false, true] {
        let mut client = server.connect().await;
        if warmed_up {
            client.get("/").await;
        }
        let started = Instant::now();
        let (mut reading, mut writing) = client.stream.into_split();
        let dripping = tokio::spawn(async move {
            for byte in b"GET / HTTP/1.1\r\nhost: h\r\nx-slow: ".iter().chain([b'x'; 1000].iter()) {
                if writing.write_all(&[*byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        let mut answer = Vec::new();
        let reading = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut answer);
        // A byte that came after the end makes this a reset, which is an end as well.
        let _reset = tokio::time::timeout(PATIENCE, reading).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer:?}");
        assert!(started.elapsed() >= Duration::from_millis(300));
        assert!(started.elapsed() < Duration::from_secs(3), "a byte must not buy more time");
        dripping.abort();
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let server = Server::hello(limits("150ms", FAR, FAR, FAR)).await;
    let started = Instant::now();
    server.connect().await.closed().await;
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_connection_without_a_request_is_kept_for_the_idle_timeout() {
    // Whether an answer is there at once makes a difference to how the connection falls idle.
    for thinking in [0, 20] {
        let server = Server::start(limits(FAR, "200ms", FAR, FAR), move |_| async move {
            if thinking > 0 {
                sleep(Duration::from_millis(thinking)).await;
            }
            Ok(Response::ok("hello"))
        })
        .await;
        let mut client = server.connect().await;
        for _ in 0..4 {
            assert_eq!(client.get("/").await.status, 200);
            sleep(Duration::from_millis(100)).await;
        }
        let started = Instant::now();
        assert_eq!(client.get("/").await.status, 200);
        client.closed().await;
        assert!(started.elapsed() >= Duration::from_millis(200));
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_said_goodbye_to() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let server = Server::hello(limits(FAR, "150ms", FAR, FAR)).await;
    let stream = TokioIo::new(tokio::net::TcpStream::connect(server.address).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://h/").body(Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(response);
    let ended = tokio::time::timeout(PATIENCE, connection).await.unwrap().unwrap();
    ended.expect("a connection that is said goodbye to ends without an error");
}

#[tokio::test]
async fn the_application_may_take_longer_than_any_client() {
    let server = Server::start(limits("100ms", "100ms", "100ms", "100ms"), |_| async {
        sleep(Duration::from_millis(500)).await;
        Ok(Response::ok("at last"))
    })
    .await;
    let mut client = server.connect().await;
    assert_eq!(client.get("/").await.text(), "at last");
    let posted = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi";
    client.send(posted).await;
    assert_eq!(client.reply().await.text(), "at last");
}

#[tokio::test]
async fn a_body_that_drips_is_a_timeout_although_every_part_is_in_time() {
    let server = Server::start(limits(FAR, FAR, "400ms", FAR), |request| async move {
        Ok(Response::ok(request.body.collect(1000).await?))
    })
    .await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 900\r\n\r\n").await;
    for _ in 0..6 {
        sleep(Duration::from_millis(100)).await;
        client.send("x").await;
    }
    assert_eq!(client.reply().await.status, 408);
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_and_one_that_goes_on_is_not() {
    let server = Server::start(limits(FAR, FAR, "250ms", FAR), |request| async move {
        Ok(Response::ok(request.body.collect(1000).await?))
    })
    .await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 900\r\n\r\n").await;
    for _ in 0..6 {
        sleep(Duration::from_millis(100)).await;
        client.send(&"x".repeat(150)).await;
    }
    assert_eq!(client.reply().await.text(), "x".repeat(900));

    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\n\r\nxxx").await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 408);
    assert_eq!(reply.header("connection").as_deref(), Some("close"));
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_the_producer_is_told() {
    let (tx, mut told) = mpsc::unbounded_channel();
    let server = Server::start(limits(FAR, FAR, FAR, "200ms"), move |_| {
        let told = tx.clone();
        let (mut sender, body) = Body::channel(1, None);
        tokio::spawn(async move {
            while sender.send(Bytes::from_static(&[b'x'; 64 << 10])).await.is_ok() {}
            told.send(()).unwrap();
        });
        async { Ok(Response::ok(body)) }
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    server.numbers.reach("folk_http_connections", 0.0).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_reads_is_not_cut() {
    let server = Server::start(limits("200ms", "200ms", "200ms", "300ms"), |_| async {
        Ok(Response::ok(Bytes::from(vec![b'x'; 4 << 20])))
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    let mut received = 0;
    let mut chunk = vec![0; 512 << 10];
    loop {
        let count = tokio::io::AsyncReadExt::read(&mut client.stream, &mut chunk).await.unwrap();
        if count == 0 {
            break;
        }
        received += count;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(received > 4 << 20);
}
