//! Coming to an end.

use std::time::Duration;

use bytes::Bytes;
use folk_api::lifecycle::Phase;
use folk_api::{Body, Response};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::support::{PATIENCE, Server};

#[tokio::test]
async fn idle_connections_end_at_once_and_no_new_ones_come() {
    let server = Server::hello(json!({})).await;
    let mut used = server.connect().await;
    assert_eq!(used.get("/").await.status, 200);
    let mut fresh = server.connect().await;
    server.numbers.reach("folk_http_connections", 2.0).await;
    server.move_to(Phase::Draining);
    used.closed().await;
    fresh.closed().await;
    let address = server.address;
    server.ended().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_runs_is_finished_and_then_the_connection_ends() {
    let (started_tx, mut started) = mpsc::unbounded_channel();
    let server = Server::start(json!({}), move |_| {
        let (finish, finished) = oneshot::channel();
        started_tx.send(finish).unwrap();
        async move {
            let text: &'static str = finished.await.unwrap();
            Ok(Response::ok(text))
        }
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let finish = started.recv().await.unwrap();
    let mut idle = server.connect().await;
    server.numbers.reach("folk_http_connections", 2.0).await;
    server.move_to(Phase::Draining);
    // All connections are told at once, so when this one ends the other one knows.
    idle.closed().await;
    finish.send("done").unwrap();
    let reply = client.reply().await;
    assert_eq!(reply.text(), "done");
    assert_eq!(reply.header("connection").as_deref(), Some("close"));
    client.closed().await;
    server.ended().await;
}

#[tokio::test]
async fn an_http2_stream_that_runs_is_finished_too() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let (started_tx, mut started) = mpsc::unbounded_channel();
    let server = Server::start(json!({}), move |_| {
        let (finish, finished) = oneshot::channel();
        started_tx.send(finish).unwrap();
        async move {
            let text: &'static str = finished.await.unwrap();
            Ok(Response::ok(text))
        }
    })
    .await;
    let stream = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://h/").body(Body::empty()).unwrap();
    let answer = tokio::spawn(sender.send_request(request));
    let finish = started.recv().await.unwrap();
    server.move_to(Phase::Draining);
    finish.send("done").unwrap();
    let response = answer.await.unwrap().unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    assert_eq!(body.to_bytes(), "done");
    timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
    server.ended().await;
}

#[tokio::test]
async fn what_does_not_end_is_cut_when_the_grace_is_over() {
    let server = Server::start(json!({}), |_| async {
        let (mut tx, body) = Body::channel(1, None);
        tokio::spawn(async move {
            let _sent = tx.send(Bytes::from_static(b"endless")).await;
            tx.closed().await;
        });
        Ok(Response::ok(body))
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.until(b"endless").await;
    server.move_to(Phase::Draining);
    let still_open = timeout(Duration::from_millis(150), client.fill()).await;
    assert!(still_open.is_err(), "the grace is not over");
    server.move_to(Phase::Stopping);
    timeout(PATIENCE, client.rest()).await.unwrap();
    server.ended().await;
}
