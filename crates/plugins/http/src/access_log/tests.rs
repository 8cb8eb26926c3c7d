use super::*;
use http::Request;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::UNIX_EPOCH;

struct Nothing;

impl Counter for Nothing {
    fn add(&self, _by: u64) {}
}

fn line(seconds: u64, path: &str) -> Line {
    let parts = Request::builder().uri(path).body(()).unwrap().into_parts().0;
    let mut noted = Noted::default();
    noted.referer = Some(HeaderValue::from_static("https://a.example/x?token=secret"));
    noted.user_agent = Some(HeaderValue::from_bytes(b"a\"b\xff").unwrap());
    let mut entry =
        Entry::new(&parts, &noted, &RequestId::new("id-1"), IpAddr::from([192, 0, 2, 1]));
    entry.time = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7);
    let took = Duration::from_micros(1204);
    Line { entry: Box::new(entry), status: 200, sent: 5, took, outcome: "ok" }
}

fn formatted(format: fn(&Line, &mut Vec<u8>), line: &Line) -> String {
    let mut out = Vec::new();
    format(line, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_line_of_text_is_one_line_without_secrets() {
    assert_eq!(
        formatted(format::text, &line(951_827_696, "/a?password=hunter2")),
        "192.0.2.1 - - [29/Feb/2000:12:34:56 +0000] \"GET /a HTTP/1.1\" 200 5 \
         \"https://a.example/x\" \"a\\\"b\\xff\" 0.001204 id-1 ok\n"
    );
}

#[test]
fn a_line_of_json_is_one_object_without_secrets() {
    let text = formatted(format::json, &line(1_767_225_599, "/a?password=hunter2"));
    assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text}");
    assert!(!text.contains("hunter2") && !text.contains("secret"), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["time"], "2025-12-31T23:59:59.007Z");
    assert_eq!(value["path"], "/a");
    assert_eq!(value["status"], 200);
    assert_eq!(value["outcome"], "ok");
}

/// Takes a write only when told so.
struct Gate(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.recv().unwrap();
        self.1.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_writer_that_is_stuck_holds_up_nobody() {
    let (gate, closed) = mpsc::channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let out = Gate(closed, Arc::clone(&written));
    let log = AccessLog::start(AccessLogFormat::Text, out, Arc::new(Nothing)).unwrap().unwrap();
    for _ in 0..3 * CAPACITY {
        log.write(line(0, "/"));
    }
    assert!(log.lost.load(Ordering::Relaxed) > 0);
    for _ in 0..3 * CAPACITY {
        gate.send(()).unwrap();
    }
    log.flush().await;
    let lines = written.lock().unwrap().iter().filter(|byte| **byte == b'\n').count();
    assert!(lines >= CAPACITY, "{lines} lines were written");
}
