//! The access log: when a line is written, and what is in it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use folk_api::lifecycle::Phase;
use folk_api::{Body, BodyError, Error, Response};
use folk_plugin_http::HttpPlugin;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{Server, eventually};

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn line(&self, number: usize) -> Value {
        eventually("a line", || self.lines().len() > number).await;
        self.lines()[number].clone()
    }
}

#[tokio::test]
async fn a_line_is_written_when_the_answer_is_complete_and_says_how_it_ended() {
    let written = Written::default();
    let (streams, mut bodies) = mpsc::unbounded_channel();
    let plugin = HttpPlugin::new().log_to(written.clone());
    let config = json!({ "access_log": "json", "trusted_proxies": ["127.0.0.1"] });
    let server = Server::start_plugin(plugin, config, move |request| {
        let streams = streams.clone();
        async move {
            match request.uri.path() {
                "/stream" => {
                    let (tx, body) = Body::channel(1, None);
                    streams.send(tx).unwrap();
                    Ok(Response::ok(body))
                }
                "/died" => Err(Error::Died("secret".into())),
                _ => Ok(Response::ok("hello")),
            }
        }
    })
    .await;
    let headers = "authorization: Basic c2VjcmV0\r\ncookie: session=secret\r\n\
                   x-forwarded-for: 192.0.2.9\r\nuser-agent: test/1\r\n";
    let reply = server.get("/page?token=secret", headers).await;
    let line = written.line(0).await;
    assert_eq!(line["client"], "192.0.2.9");
    assert_eq!(
        (&line["path"], &line["status"], &line["bytes"]),
        (&json!("/page"), &json!(200), &json!(5))
    );
    assert_eq!((&line["outcome"], &line["user_agent"]), (&json!("ok"), &json!("test/1")));
    assert_eq!(line["id"], reply.header("x-request-id").unwrap());

    server.get("/died", "").await;
    let line = written.line(1).await;
    assert_eq!((&line["status"], &line["outcome"]), (&json!(502), &json!("died")));

    let mut client = server.connect().await;
    client.send("GET /stream HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let mut body = bodies.recv().await.unwrap();
    body.send(Bytes::from_static(b"1234567")).await.unwrap();
    client.until(b"1234567").await;
    assert_eq!(written.lines().len(), 2, "it is not complete yet");
    body.fail(BodyError::Failed("secret".into())).await;
    let line = written.line(2).await;
    assert_eq!((&line["status"], &line["bytes"]), (&json!(200), &json!(7)));
    assert_eq!(line["outcome"], "truncated");
    assert!(!written.text().contains("secret") && !written.text().contains("c2VjcmV0"));
}

#[tokio::test]
async fn the_client_behind_a_proxy_is_named_also_where_php_is_not_asked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "a").unwrap();
    let written = Written::default();
    let plugin = HttpPlugin::new().log_to(written.clone());
    let config =
        json!({ "access_log": "json", "trusted_proxies": ["127.0.0.1"], "root": dir.path() });
    let server =
        Server::start_plugin(plugin, config, |_| async { Ok(Response::ok("hello")) }).await;
    let said = "x-forwarded-for: 192.0.2.9\r\n";
    assert_eq!(server.get("/a.txt", said).await.text(), "a");
    assert_eq!(written.line(0).await["client"], "192.0.2.9");
    let refused = format!("TRACE / HTTP/1.1\r\nhost: h\r\n{said}\r\n");
    assert_eq!(server.request(refused).await.status, 405);
    assert_eq!(written.line(1).await["client"], "192.0.2.9");
}

#[tokio::test]
async fn nothing_is_missing_after_the_shutdown() {
    let written = Written::default();
    let plugin = HttpPlugin::new().log_to(written.clone());
    let config = json!({ "access_log": "text" });
    let server =
        Server::start_plugin(plugin, config, |_| async { Ok(Response::ok("hello")) }).await;
    let mut client = server.connect().await;
    for _ in 0..100 {
        client.get("/").await;
    }
    server.move_to(Phase::Draining);
    server.ended().await;
    assert_eq!(written.text().lines().count(), 100);
}
