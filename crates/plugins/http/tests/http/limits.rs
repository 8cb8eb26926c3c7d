//! Requests that are malformed, oversized or made to confuse.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use folk_api::Response;
use serde_json::{Value, json};

use crate::support::{Client, Server};

/// A server that reads bodies, and how often it was called.
async fn reader(limits: Value) -> (Server, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let server = Server::start(json!({ "limits": limits }), move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok(Response::ok(request.body.collect(1 << 30).await?)) }
    })
    .await;
    (server, calls)
}

/// Sends it and expects that status, then the end of the connection.
async fn refused(server: &Server, raw: &str, status: u16) {
    let mut client = server.connect().await;
    client.send(raw).await;
    let reply = client.reply().await;
    assert_eq!(reply.status, status, "{raw:?}");
    assert_eq!(reply.header("connection").as_deref(), Some("close"), "{raw:?}");
    client.closed().await;
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let (server, calls) = reader(json!({})).await;
    for raw in [
        "NONSENSE\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\nhost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nhost h\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nbad name: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nx: a\0b\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: h\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n",
    ] {
        refused(&server, raw, 400).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    server.numbers.reach("folk_http_malformed_requests", 8.0).await;
}

#[tokio::test]
async fn hosts_are_one_and_sane() {
    let (server, calls) = reader(json!({})).await;
    for raw in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
    ] {
        refused(&server, raw, 400).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let (server, calls) = reader(json!({})).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    for headers in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "Transfer-Encoding: chunked\r\nCONTENT-LENGTH: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: 0x5\r\n",
        "content-length: -1\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: chunked\r\n folded: x\r\n",
    ] {
        let raw = format!("POST / HTTP/1.1\r\nhost: h\r\n{headers}\r\n0\r\n\r\n{smuggled}");
        refused(&server, &raw, 400).await;
    }
    refused(&server, "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400).await;
    assert_eq!(calls.load(Ordering::SeqCst), 0, "nothing of it reached the application");
}

#[tokio::test]
async fn two_lengths_in_a_later_request_of_a_connection_are_found_too() {
    let (server, _) = reader(json!({})).await;
    let mut client = server.connect().await;
    client
        .send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.text(), "x");
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 400);
}

#[tokio::test]
async fn malformed_chunks_are_refused() {
    let (server, _) = reader(json!({})).await;
    for chunks in ["x\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "2\r\nabc\r\n0\r\n\r\n"] {
        let raw =
            format!("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        refused(&server, &raw, 400).await;
    }
}

#[tokio::test]
async fn a_body_that_is_cut_is_no_request() {
    let (server, calls) = reader(json!({})).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n12345").await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
    client.rest().await;
    crate::support::eventually("the call", || calls.load(Ordering::SeqCst) == 1).await;
    crate::support::eventually("its end", || {
        server.numbers.get("folk_http_requests{status=\"4xx\",outcome=\"body\"}")
            + server.numbers.get("folk_http_requests{status=\"4xx\",outcome=\"client_gone\"}")
            == 1.0
    })
    .await;
}

#[tokio::test]
async fn a_head_has_bounds() {
    let (server, calls) = reader(json!({ "max_head": "8KiB", "max_headers": 20 })).await;
    let long = "x".repeat(9000);
    refused(&server, &format!("GET / HTTP/1.1\r\nhost: h\r\nx: {long}\r\n\r\n"), 431).await;
    refused(&server, &format!("GET /{long} HTTP/1.1\r\nhost: h\r\n\r\n"), 431).await;
    let many: String = (0..20).map(|n| format!("x-{n}: x\r\n")).collect();
    refused(&server, &format!("GET / HTTP/1.1\r\nhost: h\r\n{many}\r\n"), 431).await;
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    let most: String = (0..19).map(|n| format!("x-{n}: x\r\n")).collect();
    assert_eq!(server.get("/", &most).await.status, 200);

    let (server, _) = reader(json!({ "max_head": "256KiB" })).await;
    let endless = "x".repeat(70_000);
    refused(&server, &format!("GET /{endless} HTTP/1.1\r\nhost: h\r\n\r\n"), 414).await;
}

#[tokio::test]
async fn a_head_without_an_end_is_cut_at_the_limit() {
    let (server, _) = reader(json!({ "max_head": "8KiB" })).await;
    let mut client = server.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}", "x".repeat(20_000))).await;
    assert_eq!(client.reply().await.status, 431);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let (server, calls) = reader(json!({ "max_body": "10B" })).await;
    for expect in ["", "expect: 100-continue\r\n"] {
        let head = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 11\r\n{expect}\r\n");
        refused(&server, &head, 413).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    let fits = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n1234567890";
    assert_eq!(server.request(fits).await.text(), "1234567890");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_once_it_is_too_large() {
    let (server, _) = reader(json!({ "max_body": "10B" })).await;
    let start = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let fits = format!("{start}5\r\n12345\r\n5\r\n67890\r\n0\r\n\r\n");
    assert_eq!(server.request(fits).await.text(), "1234567890");
    refused(&server, &format!("{start}5\r\n12345\r\n6\r\n678901\r\n"), 413).await;
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let (server, _) = reader(json!({ "max_body": "1KiB" })).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 800000\r\n\r\n").await;
    client.send(vec![b'x'; 800_000]).await;
    assert_eq!(client.reply().await.status, 413);
    client.closed().await;
}

#[tokio::test]
async fn a_limit_of_zero_is_none() {
    let (server, _) = reader(json!({ "max_body": "0B" })).await;
    let body = "x".repeat(1 << 20);
    let raw = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    assert_eq!(server.request(raw).await.body.len(), 1 << 20);
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_room_is_used_again() {
    let server = Server::hello(json!({ "limits": { "max_connections": 2 } })).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    assert_eq!(first.get("/").await.status, 200);
    assert_eq!(second.get("/").await.status, 200);
    let mut third = server.connect().await;
    third.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let reply = third.reply().await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after").as_deref(), Some("1"));
    assert_eq!(reply.header("connection").as_deref(), Some("close"));
    third.closed().await;
    assert_eq!(server.numbers.get("folk_http_refused_connections"), 1.0);
    assert_eq!(first.get("/").await.status, 200, "those there were go on");
    drop(second);
    server.numbers.reach("folk_http_connections", 1.0).await;
    assert_eq!(server.get("/", "").await.status, 200);
}

#[tokio::test]
async fn a_flood_of_connections_too_many_leaves_nothing_behind() {
    let server = Server::hello(json!({ "limits": { "max_connections": 1 } })).await;
    let mut only = server.connect().await;
    assert_eq!(only.get("/").await.status, 200);
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(Client::connect(server.address).await);
    }
    server.numbers.reach("folk_http_refused_connections", 200.0).await;
    for client in &mut flood {
        client.rest().await;
    }
    assert_eq!(only.get("/").await.status, 200);
}
