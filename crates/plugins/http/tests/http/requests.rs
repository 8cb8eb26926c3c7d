//! What of a request reaches the application.

use std::sync::{Arc, Mutex};

use folk_api::{Body, HttpRequest, Response};
use http::{HeaderValue, Method, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::Server;

/// A server that tells what it got.
async fn witness(config: serde_json::Value) -> (Server, mpsc::UnboundedReceiver<HttpRequest>) {
    let (tx, rx) = mpsc::unbounded_channel();
    let server = Server::start(config, move |request| {
        tx.send(request).unwrap();
        async { Ok(Response::ok("ok")) }
    })
    .await;
    (server, rx)
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let (server, mut seen) = witness(json!({})).await;
    let mut client = server.connect().await;
    client
        .send(
            b"PATCH /a%20b/c?d=e%26f&g[]=1 HTTP/1.1\r\nHost: shop.example:81\r\nX-Twice: one\r\n\
              X-Twice: two\r\nX-Raw: \xff\xfe\r\nProxy: http://evil.example\r\n\r\n",
        )
        .await;
    assert_eq!(client.reply().await.text(), "ok");
    let request = seen.recv().await.unwrap();
    assert_eq!(request.method, Method::PATCH);
    assert_eq!(request.uri, "/a%20b/c?d=e%26f&g[]=1");
    assert_eq!(request.version, Version::HTTP_11);
    assert_eq!(request.authority, "shop.example:81");
    assert_eq!(request.remote, client.stream.local_addr().unwrap());
    assert_eq!(request.local, server.address);
    assert!(!request.secure);
    let twice: Vec<_> = request.headers.get_all("x-twice").iter().collect();
    assert_eq!(twice, ["one", "two"]);
    assert_eq!(request.headers["x-raw"].as_bytes(), b"\xff\xfe");
    assert!(!request.headers.contains_key("proxy"), "PHP would take it for HTTP_PROXY");
    assert!(request.body.is_empty());
}

#[tokio::test]
async fn a_connection_carries_many_requests_also_when_they_do_not_wait() {
    let server = Server::start(json!({}), |request| async move {
        Ok(Response::ok(request.uri.path().to_owned()))
    })
    .await;
    let mut client = server.connect().await;
    assert_eq!(client.get("/1").await.text(), "/1");
    assert_eq!(client.get("/2").await.text(), "/2");
    let pipelined: String =
        (3..40).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: h\r\n\r\n")).collect();
    client.send(pipelined).await;
    for n in 3..40 {
        assert_eq!(client.reply().await.text(), format!("/{n}"));
    }
    server.numbers.reach("folk_http_connections", 1.0).await;
    drop(client);
    server.numbers.reach("folk_http_connections", 0.0).await;
}

#[tokio::test]
async fn http_1_0_closes_unless_asked_to_stay() {
    let (server, mut seen) = witness(json!({})).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(reply.header("connection").as_deref(), Some("keep-alive"));
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "ok");
    client.closed().await;
    let request = seen.recv().await.unwrap();
    assert_eq!(request.version, Version::HTTP_10);
    assert_eq!(request.authority, "");
    assert!(request.interim.is_none(), "HTTP/1.0 clients do not know 1xx");
}

#[tokio::test]
async fn a_body_is_streamed_to_the_application() {
    let (tx, mut arrived) = mpsc::unbounded_channel();
    let server = Server::start(json!({}), move |mut request| {
        let tx = tx.clone();
        async move {
            while let Some(chunk) = request.body.next().await {
                tx.send(chunk.unwrap()).unwrap();
            }
            Ok(Response::ok("done"))
        }
    })
    .await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for part in ["first", "second"] {
        client.send(format!("{:x}\r\n{part}\r\n", part.len())).await;
        assert_eq!(arrived.recv().await.unwrap(), part);
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "done");
}

#[tokio::test]
async fn expect_continue_is_answered_when_the_application_reads() {
    let server = Server::start(json!({}), |request| async move {
        Ok(Response::ok(request.body.collect(100).await?))
    })
    .await;
    let mut client = server.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.reply().await.status, 100);
    client.send("12345").await;
    assert_eq!(client.reply().await.text(), "12345");
}

#[tokio::test]
async fn targets_of_every_form_are_understood() {
    let (server, mut seen) = witness(json!({})).await;
    server.request("GET http://other.example:82/x?y HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let request = seen.recv().await.unwrap();
    assert_eq!(
        (request.uri.to_string().as_str(), request.authority.as_str()),
        ("/x?y", "other.example:82")
    );
    assert_eq!(request.headers["host"], "other.example:82", "one host, wherever one looks");

    let options = server.request("OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(options.status, 204);
    assert!(options.header("allow").unwrap().contains("GET"));
    let connect = server.request("CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n").await;
    assert_eq!(connect.status, 405);
    assert!(connect.header("allow").is_some());
    assert_eq!(server.request("TRACE / HTTP/1.1\r\nhost: h\r\n\r\n").await.status, 405);
    assert_eq!(server.request("GET * HTTP/1.1\r\nhost: h\r\n\r\n").await.status, 400);
    assert!(seen.try_recv().is_err(), "none of these is for the application");
}

#[tokio::test]
async fn proxies_are_believed_only_when_they_are_trusted() {
    let said = "x-forwarded-for: 6.6.6.6, 192.0.2.7\r\nx-forwarded-proto: https\r\n\
                x-forwarded-host: shop.example\r\n";
    let (server, mut seen) = witness(json!({})).await;
    server.get("/", said).await;
    let request = seen.recv().await.unwrap();
    assert_eq!(request.remote.ip().to_string(), "127.0.0.1");
    assert!(!request.secure);
    assert_eq!(request.authority, "test");
    assert_eq!(request.headers["x-forwarded-for"], "6.6.6.6, 192.0.2.7");

    let (server, mut seen) = witness(json!({ "trusted_proxies": ["127.0.0.0/8"] })).await;
    server.get("/", said).await;
    let request = seen.recv().await.unwrap();
    assert_eq!(request.remote.ip().to_string(), "192.0.2.7");
    assert!(request.secure);
    assert_eq!(request.authority, "test", "proxies seldom set this header, so clients do");

    let config = json!({ "trusted_proxies": ["127.0.0.0/8"], "forwarded": ["x-forwarded-host"] });
    let (server, mut seen) = witness(config).await;
    server.get("/", said).await;
    let request = seen.recv().await.unwrap();
    assert_eq!(request.remote.ip().to_string(), "127.0.0.1");
    assert!(!request.secure);
    assert_eq!(request.authority, "shop.example");
    assert_eq!(request.headers["host"], "shop.example");
}

#[tokio::test]
async fn a_request_has_one_id_everywhere() {
    let (server, mut seen) = witness(json!({})).await;
    let reply = server.get("/", "x-request-id: chosen-by-a-stranger\r\n").await;
    let request = seen.recv().await.unwrap();
    let id = reply.header("x-request-id").unwrap();
    assert_ne!(id, "chosen-by-a-stranger");
    assert_eq!(request.id.as_str(), id);
    assert_eq!(request.headers["x-request-id"], id.as_str());
    assert_ne!(server.get("/", "").await.header("x-request-id").unwrap(), id);

    let (server, mut seen) = witness(json!({ "trusted_proxies": ["127.0.0.1"] })).await;
    let reply = server.get("/", "x-request-id: chosen-by-a-friend\r\n").await;
    assert_eq!(reply.header("x-request-id").unwrap(), "chosen-by-a-friend");
    assert_eq!(seen.recv().await.unwrap().id.as_str(), "chosen-by-a-friend");

    let (server, mut seen) = witness(json!({ "request_id": false })).await;
    assert!(server.get("/", "").await.header("x-request-id").is_none());
    assert_eq!(seen.recv().await.unwrap().id.as_str(), "-");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    struct Told(mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (started_tx, mut started) = mpsc::unbounded_channel();
    let (dropped_tx, mut dropped) = mpsc::unbounded_channel();
    let server = Server::start(json!({}), move |_| {
        started_tx.send(()).unwrap();
        let told = Told(dropped_tx.clone());
        async move {
            let _told = told;
            std::future::pending().await
        }
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    started.recv().await.unwrap();
    drop(client);
    tokio::time::timeout(crate::support::PATIENCE, dropped.recv()).await.unwrap().unwrap();
    let name = "folk_http_requests{status=\"4xx\",outcome=\"client_gone\"}";
    server.numbers.reach(name, 1.0).await;
}

#[tokio::test]
async fn speaks_http2_to_clients_that_start_with_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let server = Server::start(json!({}), move |request| {
        record.lock().unwrap().push((
            request.version,
            request.authority.clone(),
            request.uri.clone(),
            request.headers.get("host").cloned(),
        ));
        let has_interim = request.interim.is_some();
        async move {
            assert!(!has_interim, "the library cannot send 1xx over HTTP/2");
            let mut response = Response::ok(request.body.collect(100).await?);
            response.headers.insert("connection", HeaderValue::from_static("close"));
            Ok(response)
        }
    })
    .await;
    let stream = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    for n in 0..3 {
        let body = Body::full(format!("body {n}"));
        let request = http::Request::post(format!("http://h2.example/{n}?q")).body(body).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.version(), Version::HTTP_2);
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, format!("body {n}"));
    }
    let (version, authority, uri, host) = seen.lock().unwrap()[0].clone();
    assert_eq!(
        (version, authority.as_str(), uri.to_string().as_str()),
        (Version::HTTP_2, "h2.example", "/0?q")
    );
    assert_eq!(host.unwrap(), "h2.example", "applications look for the header");
    let large = http::Request::post("http://h/").body(Body::full(vec![0; 200])).unwrap();
    assert_eq!(sender.send_request(large).await.unwrap().status(), 413);
}

#[tokio::test]
async fn http2_can_be_switched_off() {
    let server = Server::hello(json!({ "h2c": false })).await;
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_head_in_pieces_is_put_together() {
    let (server, mut seen) = witness(json!({})).await;
    let mut client = server.connect().await;
    for piece in
        ["P", "OST /pie", "ces HTTP/1.1\r\nho", "st: h\r", "\ncontent-length: 0\r\n\r", "\n"]
    {
        client.send(piece).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(seen.recv().await.unwrap().uri, "/pieces");
}
