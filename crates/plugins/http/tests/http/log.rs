//! What the application says, in the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use folk_api::{Body, BodyError, Error, Response};
use serde_json::json;

use crate::support::{Server, eventually};

/// The log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_message_of_the_application_cannot_write_lines_of_its_own() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let server = Server::start(json!({}), |request| async move {
        let forged = "oops\nERROR forged \u{1b}[2J größer".to_owned();
        if request.uri.path() == "/died" {
            return Err(Error::Died(forged));
        }
        let (mut sender, body) = Body::channel(1, None);
        tokio::spawn(async move {
            sender.send(Bytes::from_static(b"x")).await.unwrap();
            sender.fail(BodyError::Failed(forged)).await;
        });
        Ok(Response::ok(body))
    })
    .await;
    let text = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(server.get("/died", "").await.status, 502);
    let mut client = server.connect().await;
    client.send("GET /cut HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.rest().await;
    eventually("both lines", || text().matches("forged").count() == 2).await;
    for line in text().lines().filter(|line| line.contains("forged")) {
        assert!(line.contains("oops\\nERROR forged \\u{1b}[2J größer"), "{line:?}");
    }
}
