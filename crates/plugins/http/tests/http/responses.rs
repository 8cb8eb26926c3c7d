//! What of the application's answer reaches the client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_compression::tokio::write::GzipDecoder;
use bytes::Bytes;
use folk_api::request::InterimSink;
use folk_api::{Body, BodyError, Error, HttpRequest, Response};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::support::{Client, Server};

fn response(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::ok(body);
    response.status = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers.append(*name, HeaderValue::from_static(value));
    }
    response
}

/// A body that says these parts and then ends, or fails.
fn stream(parts: &'static [&'static str], fails: bool) -> Body {
    let (mut tx, body) = Body::channel(1, None);
    tokio::spawn(async move {
        for part in parts {
            if tx.send(Bytes::from_static(part.as_bytes())).await.is_err() {
                return;
            }
        }
        if fails {
            tx.fail(BodyError::Failed("the application died".into())).await;
        } else {
            let _reader_gone = tx.finish().await;
        }
    });
    body
}

#[tokio::test]
async fn headers_arrive_as_they_were_given() {
    let server = Server::start(json!({}), |_| async {
        let mut answer = response(
            201,
            &[
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("connection", "x"),
                ("keep-alive", "timeout=1"),
                ("transfer-encoding", "gzip"),
            ],
            "made",
        );
        answer.headers.insert("x-raw", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        Ok(answer)
    })
    .await;
    let mut client = server.connect().await;
    let reply = client.get("/").await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.all("set-cookie"), [b"a=1", b"b=2"]);
    assert_eq!(reply.all("x-raw"), [b"\xff\xfe"]);
    assert_eq!(reply.header("content-length").as_deref(), Some("4"));
    assert!(reply.header("date").is_some());
    for gone in ["connection", "keep-alive", "transfer-encoding"] {
        assert!(reply.header(gone).is_none(), "{gone} is of one connection only");
    }
    assert_eq!(client.get("/").await.status, 201, "the connection stays");
}

#[tokio::test]
async fn head_runs_the_application_and_leaves_out_the_body() {
    let server = Server::start(json!({}), |request| async move {
        Ok(match request.uri.path() {
            "/full" => response(200, &[], "hello"),
            "/announced" => response(200, &[("content-length", "7")], Body::empty()),
            _ => response(200, &[], stream(&["a", "b"], false)),
        })
    })
    .await;
    let mut client = server.connect().await;
    client.asked_head = true;
    for (path, length) in [("/full", Some("5")), ("/announced", Some("7")), ("/stream", None)] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-length").as_deref(), length, "{path}");
    }
}

#[tokio::test]
async fn a_length_that_is_wrong_corrupts_nothing() {
    let server = Server::start(json!({}), |request| async move {
        Ok(match request.uri.path() {
            "/full" => response(200, &[("content-length", "99")], "hello"),
            "/short" => response(200, &[("content-length", "10")], stream(&["hello"], false)),
            "/long" => {
                response(200, &[("content-length", "5")], stream(&["hel", "lo and more"], false))
            }
            _ => response(200, &[], "next"),
        })
    })
    .await;
    let mut client = server.connect().await;
    let reply = client.get("/full").await;
    assert_eq!(reply.header("content-length").as_deref(), Some("5"));
    assert_eq!(reply.text(), "hello");
    assert_eq!(client.get("/").await.text(), "next");

    client.send("GET /long HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let long = client.rest_or_reply().await;
    assert!(long.ends_with("hello") || long.ends_with("hellonext"), "{long}");

    let mut client = server.connect().await;
    client.send("GET /short HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let short = client.rest().await;
    assert!(short.ends_with("\r\n\r\nhello"), "cut, so that the client notices: {short}");
}

impl Client {
    /// What comes until the connection ends, asking for the next answer if it stays open.
    async fn rest_or_reply(&mut self) -> String {
        let head = self.until(b"hello").await;
        self.stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.ok();
        let rest = self.rest().await;
        let next = rest.rsplit("\r\n\r\n").next().unwrap_or_default();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 200 OK\r\n"), "{rest:?}");
        format!("{}{next}", String::from_utf8_lossy(&head))
    }
}

#[tokio::test]
async fn statuses_without_a_body_have_none_and_invalid_ones_are_refused() {
    let server = Server::start(json!({}), |request| async move {
        let status = request.uri.path()[1..].parse().unwrap();
        Ok(response(status, &[], "body"))
    })
    .await;
    let mut client = server.connect().await;
    for status in [204, 304] {
        let reply = client.get(&format!("/{status}")).await;
        assert_eq!(reply.status, status);
        assert!(reply.header("transfer-encoding").is_none());
    }
    assert_eq!(client.get("/205").await.text(), "");
    for status in [100, 101, 103, 600, 999] {
        assert_eq!(client.get(&format!("/{status}")).await.status, 502, "{status}");
    }
    assert_eq!(client.get("/418").await.status, 418);
}

#[tokio::test]
async fn a_stream_arrives_chunk_by_chunk() {
    let (tx, body) = Body::channel(1, None);
    let body = Mutex::new(Some(body));
    let server = Server::start(json!({}), move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok(Response::ok(body)) }
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.until(b"\r\n\r\n").await;
    let mut tx = tx;
    for part in ["one", "two", "three"] {
        tx.send(Bytes::from_static(part.as_bytes())).await.unwrap();
        assert_eq!(client.chunk().await.unwrap(), part.as_bytes());
    }
    tx.finish().await.unwrap();
    assert_eq!(client.chunk().await, None);
}

#[tokio::test]
async fn an_answer_that_fails_halfway_is_cut_so_that_it_shows() {
    let server =
        Server::start(json!({}), |_| async { Ok(Response::ok(stream(&["half"], true))) }).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let all = client.rest().await;
    assert!(all.contains("half"), "{all}");
    assert!(!all.ends_with("0\r\n\r\n"), "it must not look complete: {all:?}");
    let name = "folk_http_requests{status=\"2xx\",outcome=\"truncated\"}";
    server.numbers.reach(name, 1.0).await;
}

#[tokio::test]
async fn a_reader_that_leaves_is_told_to_the_producer() {
    let (tx, mut left) = mpsc::unbounded_channel();
    let server = Server::start(json!({}), move |_| {
        let left = tx.clone();
        let (mut sender, body) = Body::channel(1, None);
        tokio::spawn(async move {
            while sender.send(Bytes::from_static(&[b'x'; 1000])).await.is_ok() {}
            left.send(()).unwrap();
        });
        async { Ok(Response::ok(body)) }
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.until(b"xxx").await;
    drop(client);
    tokio::time::timeout(crate::support::PATIENCE, left.recv()).await.unwrap().unwrap();
    let name = "folk_http_requests{status=\"2xx\",outcome=\"client_gone\"}";
    server.numbers.reach(name, 1.0).await;
}

fn hint(request: &HttpRequest, link: &'static str) {
    let mut headers = HeaderMap::new();
    headers.insert("link", HeaderValue::from_static(link));
    request.interim.as_ref().unwrap().send(StatusCode::EARLY_HINTS, &headers);
}

#[tokio::test]
async fn early_hints_come_before_the_answer_and_before_it_is_made() {
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = Mutex::new(Some(wait));
    let server = Server::start(json!({}), move |request| {
        let wait = wait.lock().unwrap().take();
        async move {
            hint(&request, "</a.css>");
            if let Some(wait) = wait {
                wait.await.unwrap();
            }
            hint(&request, "</b.css>");
            Ok(Response::ok("page"))
        }
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let first = client.reply().await;
    assert_eq!((first.status, first.header("link").as_deref()), (103, Some("</a.css>")));
    go.send(()).unwrap();
    let second = client.reply().await;
    assert_eq!((second.status, second.header("link").as_deref()), (103, Some("</b.css>")));
    let page = client.reply().await;
    assert_eq!((page.status, page.text().as_str()), (200, "page"));
    // Again on the same connection, several at once.
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 103);
    assert_eq!(client.reply().await.status, 103);
    assert_eq!(client.reply().await.text(), "page");
}

#[tokio::test]
async fn a_hint_that_comes_too_late_reaches_nobody() {
    let kept: Arc<Mutex<Option<Arc<dyn InterimSink>>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let server = Server::start(json!({}), move |request| {
        let old = keep.lock().unwrap().replace(request.interim.clone().unwrap());
        async move {
            // A worker that was given up on speaks while the next request runs.
            if let Some(old) = old {
                old.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
            }
            Ok(Response::ok("page"))
        }
    })
    .await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "page");
        let late = kept.lock().unwrap().clone().unwrap();
        late.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
    }
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn compression_never_holds_a_stream_back() {
    let (mut tx, body) = Body::channel(1, None);
    let body = Mutex::new(Some(body));
    let server = Server::start(json!({ "compression": true }), move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok(response(200, &[("content-type", "text/event-stream")], body)) }
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\naccept-encoding: gzip\r\n\r\n").await;
    let head = String::from_utf8(client.until(b"\r\n\r\n").await).unwrap();
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert!(head.contains("vary: accept-encoding\r\n"), "{head}");
    let mut decoder = GzipDecoder::new(Vec::new());
    let mut expected = Vec::new();
    for n in 0..3 {
        let event = format!("data: {n}\n\n");
        expected.extend_from_slice(event.as_bytes());
        tx.send(Bytes::from(event)).await.unwrap();
        decoder.write_all(&client.chunk().await.unwrap()).await.unwrap();
        decoder.flush().await.unwrap();
        assert_eq!(decoder.get_ref(), &expected, "before the next event is made");
    }
    tx.finish().await.unwrap();
}

#[tokio::test]
async fn answers_are_compressed_only_when_switched_on() {
    let page = |_| async { Ok(response(200, &[("content-type", "text/html")], "x".repeat(5000))) };
    let off = Server::start(json!({}), page).await;
    let reply = off.get("/", "accept-encoding: gzip, br\r\n").await;
    assert!(reply.header("content-encoding").is_none());
    assert_eq!(reply.body.len(), 5000);
    let on = Server::start(json!({ "compression": { "algorithms": ["br"] } }), page).await;
    let reply = on.get("/", "accept-encoding: gzip, br\r\n").await;
    assert_eq!(reply.header("content-encoding").as_deref(), Some("br"));
    assert!(reply.body.len() < 100);
    assert!(on.get("/", "").await.header("content-encoding").is_none());
}

#[tokio::test]
async fn an_answer_given_before_the_body_was_read_ends_the_connection_in_order() {
    let server = Server::start(json!({}), |_| async { Ok(response(403, &[], "no")) }).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (403, "no"));
    // What the client still sends is not met with a reset.
    client.send(vec![b'x'; 500_000]).await;
}

#[tokio::test]
async fn requests_are_counted_when_their_answer_is_complete() {
    let server = Server::start(json!({}), |request| async move {
        match request.uri.path() {
            "/busy" => Err(Error::Busy {
                reason: folk_api::error::BusyReason::QueueFull,
                retry_after: Duration::from_secs(1),
            }),
            "/teapot" => Ok(response(418, &[], "short")),
            _ => Ok(response(200, &[], stream(&["a", "b"], false))),
        }
    })
    .await;
    let mut client = server.connect().await;
    for path in ["/", "/teapot", "/busy"] {
        client.get(path).await;
    }
    for (status, outcome) in [("2xx", "ok"), ("4xx", "ok"), ("5xx", "busy")] {
        let name = format!("folk_http_requests{{status={status:?},outcome={outcome:?}}}");
        server.numbers.reach(&name, 1.0).await;
    }
    server.numbers.reach("folk_http_request_duration_seconds", 3.0).await;
}
