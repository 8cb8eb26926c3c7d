//! HTTP/2: what a client of it may do that one of HTTP/1.1 cannot.

use std::time::Duration;

use bytes::Bytes;
use folk_api::{Body, Response};
use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{PATIENCE, Server};

/// A client whose windows are opened by nothing but reading.
async fn client(server: &Server, window: u32) -> SendRequest<Body> {
    let stream = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .initial_connection_window_size(1 << 20)
        .handshake(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://h{path}")).body(Body::empty()).unwrap()
}

fn impatient() -> Value {
    json!({ "limits": { "write_timeout": "300ms" } })
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_the_answer_and_nothing_else() {
    for window in [0, 1, 65_535] {
        let (tx, mut told) = mpsc::unbounded_channel();
        let server = Server::start(impatient(), move |request| {
            let told = tx.clone();
            async move {
                if request.uri.path() == "/hello" {
                    // Nothing of it needs a window.
                    return Ok(Response::ok(Body::empty()));
                }
                let (mut sender, body) = Body::channel(1, None);
                tokio::spawn(async move {
                    while sender.send(Bytes::from_static(&[b'x'; 64 << 10])).await.is_ok() {}
                    told.send(()).unwrap();
                });
                Ok(Response::ok(body))
            }
        })
        .await;
        let mut client = client(&server, window).await;
        let stuck = client.send_request(get("/endless")).await.unwrap();
        // What else goes on over the connection is no progress of this answer.
        let leaving = async {
            loop {
                assert_eq!(client.send_request(get("/hello")).await.unwrap().status(), 200);
                if let Ok(left) = timeout(Duration::from_millis(50), told.recv()).await {
                    return left;
                }
            }
        };
        timeout(PATIENCE, leaving).await.expect("the producer is held").unwrap();
        let gone = "folk_http_requests{status=\"2xx\",outcome=\"client_gone\"}";
        server.numbers.reach(gone, 1.0).await;
        assert_eq!(client.send_request(get("/hello")).await.unwrap().status(), 200);
        assert!(stuck.into_body().collect().await.is_err(), "it was reset");
    }
}

#[tokio::test]
async fn an_answer_that_is_there_at_once_is_given_up_as_well() {
    for size in [100, 1 << 20] {
        let server = Server::start(impatient(), move |_| async move {
            Ok(Response::ok(Bytes::from(vec![b'x'; size])))
        })
        .await;
        let mut client = client(&server, 0).await;
        let _unread = client.send_request(get("/")).await.unwrap();
        let gone = "folk_http_requests{status=\"2xx\",outcome=\"client_gone\"}";
        server.numbers.reach(gone, 1.0).await;
    }
}

#[tokio::test]
async fn a_client_that_resets_an_answer_did_not_get_it() {
    let server =
        Server::start(json!({}), |_| async { Ok(Response::ok(Bytes::from(vec![b'x'; 1 << 20]))) })
            .await;
    let mut client = client(&server, 65_535).await;
    drop(client.send_request(get("/")).await.unwrap());
    let gone = "folk_http_requests{status=\"2xx\",outcome=\"client_gone\"}";
    server.numbers.reach(gone, 1.0).await;
}

#[tokio::test]
async fn a_stream_waits_for_the_application_as_long_as_that_takes() {
    let (streams, mut senders) = mpsc::unbounded_channel();
    let server = Server::start(impatient(), move |_| {
        let (sender, body) = Body::channel(1, None);
        streams.send(sender).unwrap();
        async { Ok(Response::ok(body)) }
    })
    .await;
    let mut client = client(&server, 65_535).await;
    let mut body = client.send_request(get("/events")).await.unwrap().into_body();
    let mut sender = senders.recv().await.unwrap();
    for event in ["one", "two"] {
        sender.send(Bytes::from(event)).await.unwrap();
        let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
        sleep(Duration::from_millis(700)).await;
    }
    drop(sender);
    assert_eq!(server.numbers.get("folk_http_connections"), 1.0);
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_reads_gets_all_of_it() {
    let server = Server::start(impatient(), |_| async {
        Ok(Response::ok(Bytes::from(vec![b'x'; 1 << 18])))
    })
    .await;
    let mut client = client(&server, 65_535).await;
    let response = client.send_request(get("/")).await.unwrap();
    assert_eq!(response.headers()["content-length"], "262144");
    let (started, mut received) = (Instant::now(), 0);
    let mut body = response.into_body();
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
        received += frame.unwrap().into_data().unwrap().len();
        sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(received, 1 << 18);
    assert!(started.elapsed() > Duration::from_millis(300), "it was not slow");
}

#[tokio::test]
async fn headers_have_a_bound_here_too() {
    let server = Server::hello(json!({ "limits": { "max_headers": 20 } })).await;
    let mut client = client(&server, 65_535).await;
    for (count, status) in [(20, 200), (21, 431)] {
        let mut request = get("/");
        for n in 0..count {
            let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
            request.headers_mut().insert(name, http::HeaderValue::from_static("x"));
        }
        assert_eq!(client.send_request(request).await.unwrap().status(), status);
    }
}
