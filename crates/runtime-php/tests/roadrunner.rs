//! Workers as RoadRunner's PHP packages make them, with real `php`, in both codecs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use folk_api::request::InterimSink;
use folk_api::runtime::{ExitKind, NotTaken};
use folk_api::{Deadline, Error, Job, MethodCall, Outcome, Request, Task};
use folk_runtime_php::process::{Codec, Relay};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use support::{Bench, post, request, settings, within};

async fn both(test: impl AsyncFn(Bench)) {
    for codec in [Codec::Proto, Codec::Json] {
        for relay in [Relay::UnixSocket, Relay::Pipes] {
            let mut settings = settings("roadrunner.php");
            settings.codec = codec;
            settings.relay = relay;
            test(Bench::new(settings).await).await;
        }
    }
}

#[tokio::test]
async fn a_request_is_told_in_roadrunners_terms() {
    both(async |mut bench| {
        let mut request = request(Method::PUT, "/context?a=1&b=%20");
        request.headers.append("host", HeaderValue::from_static("example.test"));
        request.headers.append("x-many", HeaderValue::from_static("1"));
        request.headers.append("x-many", HeaderValue::from_static("2"));
        request.headers.append("cookie", HeaderValue::from_static("a=1; b=x%20y"));
        request.body = "raw".into();
        let answer = bench.ask(request).await.json();
        let context = &answer["context"];
        assert_eq!(context["uri"], "http://example.test/context?a=1&b=%20");
        assert_eq!(context["method"], "PUT");
        assert_eq!(context["protocol"], "HTTP/1.1");
        assert_eq!(context["remoteAddr"], "127.0.0.1");
        assert_eq!(context["rawQuery"], "a=1&b=%20");
        assert_eq!(context["headers"]["X-Many"], json!(["1", "2"]));
        assert_eq!(context["cookies"], json!({"a": "1", "b": "x y"}));
        assert_eq!(context["parsed"], false);
        assert_eq!(answer["body"], "raw");
    })
    .await;
}

#[tokio::test]
async fn forms_and_uploads_are_parsed_for_it() {
    both(async |mut bench| {
        let body = "--B\r\nContent-Disposition: form-data; name=\"f[]\"; filename=\"a.txt\"\r\n\
            Content-Type: text/plain\r\n\r\ncontent\r\n\
            --B\r\nContent-Disposition: form-data; name=\"v[a][]\"\r\n\r\n1\r\n--B--\r\n";
        let request = post("/context", "multipart/form-data; boundary=B", body);
        let answer = bench.ask(request).await.json();
        assert_eq!(answer["context"]["parsed"], true);
        assert_eq!(answer["body"], r#"{"v":{"a":["1"]}}"#);
        let upload = &answer["context"]["uploads"]["f"][0];
        assert_eq!(
            (&upload["name"], &upload["mime"], &upload["size"], &upload["error"]),
            (&json!("a.txt"), &json!("text/plain"), &json!(7), &json!(0))
        );
        assert_eq!(answer["files"], json!(["content"]));
        assert!(!std::path::Path::new(upload["tmpName"].as_str().unwrap()).exists());
    })
    .await;
}

#[tokio::test]
async fn repeated_headers_and_other_statuses_come_back() {
    both(async |mut bench| {
        let came = bench.get("/headers").await.answer.unwrap();
        assert_eq!(came.status, StatusCode::IM_A_TEAPOT);
        let cookies: Vec<_> = came.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
    })
    .await;
}

#[tokio::test]
async fn a_stream_is_one_answer_with_the_head_of_its_first_part() {
    both(async |mut bench| {
        let came = bench.get("/stream").await.answer.unwrap();
        assert_eq!(came.headers["x-part"], "1");
        assert_eq!(came.body.unwrap(), "one,two,three");
        assert_eq!(bench.text("/again").await, "GET http://example.test/again ");
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_stopped() {
    both(async |mut bench| {
        let endless = Request::Http(Box::new(request(Method::GET, "/endless")));
        let (job, answer) = Job::new(endless, Deadline::after(support::PATIENCE));
        let leave = async {
            let mut response = answer.await.unwrap();
            response.body.next().await.unwrap().unwrap();
        };
        let execute = bench.worker.execute(Box::new(job));
        let outcome = within(async { tokio::join!(execute, leave).0 }).await;
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        assert_eq!(bench.text("/again").await, "GET http://example.test/again ");
    })
    .await;
}

#[derive(Default)]
struct Hints(Mutex<usize>);

impl InterimSink for Hints {
    fn send(&self, status: StatusCode, headers: &HeaderMap) {
        assert_eq!(
            (status.as_u16(), &headers["link"]),
            (103, &"</a.css>; rel=preload".parse().unwrap())
        );
        *self.0.lock().unwrap() += 1;
    }
}

#[tokio::test]
async fn early_hints_go_ahead() {
    both(async |mut bench| {
        let hints = Arc::new(Hints::default());
        let mut request = request(Method::GET, "/early");
        request.interim = Some(Arc::clone(&hints) as _);
        assert_eq!(bench.ask(request).await.text(), "after");
        assert_eq!(*hints.0.lock().unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn errors_and_stops_are_understood() {
    both(async |mut bench| {
        let came = bench.get("/error").await;
        assert!(matches!(came.outcome, Outcome::Done), "{:?}", came.outcome);
        let message = "no thanks".to_owned();
        assert_eq!(came.answer.unwrap_err(), Error::Application { code: None, message });
        let came = bench.get("/stopping").await;
        let stopping = matches!(came.outcome, Outcome::NotTaken { why: NotTaken::Stopping, .. });
        assert!(stopping, "{:?}", came.outcome);
    })
    .await;
}

#[tokio::test]
async fn the_report_after_a_server_error_is_not_taken_for_the_next_answer() {
    both(async |mut bench| {
        for _ in 0..3 {
            let came = bench.get("/documented-error").await;
            assert!(matches!(came.outcome, Outcome::Done), "{:?}", came.outcome);
            assert_eq!(came.answer.unwrap().status, StatusCode::INTERNAL_SERVER_ERROR);
            let next = bench.text("/next").await;
            assert!(next.starts_with("GET ") && next.contains("/next"), "{next}");
        }
    })
    .await;
}

#[tokio::test]
async fn it_ends_when_it_is_asked_to() {
    both(async |mut bench| {
        assert_eq!(bench.text("/").await, "GET http://example.test/ ");
        let exit = within(bench.worker.terminate(support::PATIENCE)).await;
        assert_eq!(exit.kind, ExitKind::Code(0));
    })
    .await;
}

#[tokio::test]
async fn a_method_is_refused_because_the_dialect_has_none() {
    let mut bench = Bench::new(settings("roadrunner.php")).await;
    let call = MethodCall { method: "sum".into(), payload: Bytes::new() };
    let came = bench.run(Request::Method(call)).await;
    assert!(matches!(came.outcome, Outcome::Done), "{:?}", came.outcome);
    let error = came.answer.unwrap_err().to_string();
    assert!(error.contains("sum") && error.contains("folk/sdk"), "{error}");
    assert_eq!(bench.text("/").await, "GET http://example.test/ ");
}

#[tokio::test]
async fn a_task_reaches_a_jobs_worker() {
    let mut jobs = settings("roadrunner.php");
    jobs.mode = "jobs".into();
    let mut bench = Bench::new(jobs).await;
    let task = Task {
        id: "t-1".into(),
        name: "mail".into(),
        queue: "default".into(),
        attempt: 1,
        headers: [("k".to_owned(), vec!["v".to_owned()])].into(),
        payload: Bytes::from_static(b"payload"),
    };
    let answer = bench.run(Request::Task(Box::new(task))).await.json();
    assert_eq!(answer["body"], "payload");
    assert_eq!(answer["context"]["job"], "mail");
    assert_eq!(answer["context"]["pipeline"], "default");
    assert_eq!(answer["context"]["headers"], json!({"k": ["v"]}));
}
