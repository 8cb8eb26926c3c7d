//! Files: below `root`, and named by `X-Sendfile`.

use std::fs;
use std::path::Path;

use folk_api::{HttpRequest, Response};
use http::HeaderValue;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Reply, Server};

async fn php(request: HttpRequest) -> Result<Response, folk_api::Error> {
    Ok(Response::ok(format!("php {} {}", request.method, request.uri.path())))
}

/// A server with these files below its root.
async fn site(files: &[(&str, &str)]) -> (TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let server = Server::start(json!({ "root": dir.path() }), php).await;
    (dir, server)
}

#[tokio::test]
async fn files_are_served_and_the_rest_is_the_applications() {
    let (_dir, server) = site(&[
        ("a.css", "body{}"),
        ("docs/index.html", "<p>docs"),
        ("app.php", "<?php secret"),
        (".env", "KEY=x"),
    ])
    .await;
    let file = server.get("/a.css", "").await;
    assert_eq!(file.text(), "body{}");
    assert_eq!(file.header("content-type").as_deref(), Some("text/css"));
    assert!(file.header("x-request-id").is_some());
    assert_eq!(server.get("/docs/", "").await.text(), "<p>docs");
    let redirect = server.get("/docs?a=b", "").await;
    assert_eq!(
        (redirect.status, redirect.header("location").as_deref()),
        (308, Some("/docs/?a=b"))
    );
    for path in ["/", "/none.css", "/app.php", "/.env", "/../a.css", "/a.css/x"] {
        assert_eq!(server.get(path, "").await.text(), format!("php GET {path}"));
    }
    let post = server.request("POST /a.css HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(post.text(), "php POST /a.css");
}

#[tokio::test]
async fn files_answer_ranges_and_conditions() {
    let (_dir, server) = site(&[("a.txt", "0123456789")]).await;
    let part = server.get("/a.txt", "range: bytes=2-4\r\n").await;
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range").as_deref(), Some("bytes 2-4/10"));
    assert_eq!(server.get("/a.txt", "range: bytes=99-\r\n").await.status, 416);

    let whole = server.get("/a.txt", "").await;
    let etag = whole.header("etag").unwrap();
    let modified = whole.header("last-modified").unwrap();
    for condition in
        [format!("if-none-match: {etag}\r\n"), format!("if-modified-since: {modified}\r\n")]
    {
        let reply = server.get("/a.txt", &condition).await;
        assert_eq!((reply.status, reply.text().as_str()), (304, ""), "{condition}");
    }
    let mut client = server.connect().await;
    client.asked_head = true;
    client.send("HEAD /a.txt HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.reply().await.header("content-length").as_deref(), Some("10"));
}

#[tokio::test]
async fn a_file_that_was_compressed_before_is_sent_compressed() {
    let (_dir, server) =
        site(&[("a.js", "plain"), ("a.js.br", "brotli"), ("a.js.gz", "gzip")]).await;
    for (accept, body, encoding) in [
        ("accept-encoding: br, gzip\r\n", "brotli", Some("br")),
        ("accept-encoding: gzip\r\n", "gzip", Some("gzip")),
        ("", "plain", None),
    ] {
        let reply = server.get("/a.js", accept).await;
        assert_eq!(reply.text(), body);
        assert_eq!(reply.header("content-encoding").as_deref(), encoding);
        assert_eq!(reply.header("content-type").as_deref(), Some("text/javascript"));
        assert_eq!(reply.header("vary").as_deref(), Some("accept-encoding"));
    }
}

#[tokio::test]
async fn an_empty_and_a_large_file_arrive_whole() {
    let large = "0123456789abcdef".repeat(50_000);
    let (_dir, server) = site(&[("empty.txt", ""), ("large.txt", &large)]).await;
    let empty = server.get("/empty.txt", "").await;
    assert_eq!((empty.status, empty.header("content-length").as_deref()), (200, Some("0")));
    assert!(server.get("/large.txt", "").await.text() == large);
}

/// A server whose application names a file to send.
async fn sender(config: Value, path: &Path) -> Server {
    let path = path.to_str().unwrap().to_owned();
    Server::start(config, move |_| {
        let mut response = Response::ok("not this");
        response.headers.insert("x-sendfile", HeaderValue::from_str(&path).unwrap());
        response.headers.insert("content-type", HeaderValue::from_static("application/pdf"));
        response.headers.insert("content-length", HeaderValue::from_static("8"));
        async { Ok(response) }
    })
    .await
}

fn assert_hidden(reply: &Reply) {
    assert!(reply.header("x-sendfile").is_none(), "{:?}", reply.headers);
}

#[tokio::test]
async fn a_file_that_php_names_is_sent_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bin");
    fs::write(&path, "0123456789").unwrap();
    let server = sender(json!({ "sendfile": [dir.path()] }), &path).await;
    let whole = server.get("/", "").await;
    assert_hidden(&whole);
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    assert_eq!(whole.header("content-type").as_deref(), Some("application/pdf"));
    assert_eq!(whole.header("content-length").as_deref(), Some("10"));
    let part = server.get("/", "range: bytes=-3\r\n").await;
    assert_hidden(&part);
    assert_eq!((part.status, part.text().as_str()), (206, "789"));
    let etag = whole.header("etag").unwrap();
    let unchanged = server.get("/", &format!("if-none-match: {etag}\r\n")).await;
    assert_eq!(unchanged.status, 304);
    let mut client = server.connect().await;
    client.asked_head = true;
    client.send("HEAD / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let head = client.reply().await;
    assert_hidden(&head);
    assert_eq!(head.header("content-length").as_deref(), Some("10"));
}

#[tokio::test]
async fn a_file_outside_the_allowed_directories_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = dir.path().join("allowed");
    fs::create_dir(&allowed).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    for path in [dir.path().join("secret"), allowed.join("../secret"), allowed.join("missing")] {
        let server = sender(json!({ "sendfile": [allowed] }), &path).await;
        let reply = server.get("/", "").await;
        assert_hidden(&reply);
        assert_eq!(reply.status, 404, "{}", path.display());
        assert!(!reply.text().contains("secret"));
    }
}

#[tokio::test]
async fn without_the_key_no_file_is_sent() {
    // The configuration of these tests lies in the system's directory for temporary files.
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "content").unwrap();
    let server = sender(json!({ "debug": true }), file.path()).await;
    let reply = server.get("/", "").await;
    assert_hidden(&reply);
    assert_eq!(reply.status, 404);
    assert!(reply.text().contains("http.sendfile names no directory"), "{}", reply.text());
}

#[tokio::test]
async fn a_compressed_variant_outside_of_the_root_is_not_sent() {
    let (dir, server) = site(&[("public/a.js", "plain"), ("secret", "secret")]).await;
    let root = dir.path().join("public");
    std::os::unix::fs::symlink(dir.path().join("secret"), root.join("a.js.gz")).unwrap();
    let reply = server.get("/public/a.js", "accept-encoding: gzip\r\n").await;
    assert_eq!(reply.text(), "secret", "a link within the root is followed");

    let server = Server::start(json!({ "root": root }), php).await;
    let reply = server.get("/a.js", "accept-encoding: gzip\r\n").await;
    assert_eq!(reply.text(), "plain");
    assert_eq!(reply.header("content-encoding"), None);
}

#[tokio::test]
async fn a_file_that_arrived_whole_counts_as_answered() {
    let large = "0123456789abcdef".repeat(50_000);
    let (_dir, server) = site(&[("large.txt", &large)]).await;
    let mut client = server.connect().await;
    assert_eq!(client.get("/large.txt").await.text(), large);
    client.send("GET /large.txt HTTP/1.1\r\nhost: h\r\nrange: bytes=5-90000\r\n\r\n").await;
    assert_eq!(client.reply().await.body.len(), 89_996);
    let name = "folk_http_requests{status=\"2xx\",outcome=\"ok\"}";
    server.numbers.reach(name, 2.0).await;
}
