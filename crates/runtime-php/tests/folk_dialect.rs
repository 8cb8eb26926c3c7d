//! Requests and answers in the folk dialect, with real `php`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use folk_api::request::InterimSink;
use folk_api::runtime::{ExitKind, NotTaken};
use folk_api::{BodyError, Deadline, Error, Job, MethodCall, Outcome, Request, Task};
use folk_runtime_php::process::{ProcessSettings, Relay};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use support::{Bench, gone, is_alive, post, request, settings, streamed, within};

#[tokio::test]
async fn a_worker_answers_one_request_after_the_other() {
    let mut bench = Bench::folk().await;
    assert_eq!(bench.text("/hello").await, "hello");
    for count in 2..20 {
        assert_eq!(bench.text("/count").await, count.to_string());
    }
}

#[tokio::test]
async fn pipes_carry_the_same_as_sockets() {
    let mut pipes = settings("folk.php");
    pipes.relay = Relay::Pipes;
    let mut bench = Bench::new(pipes).await;
    assert_eq!(bench.text("/hello").await, "hello");
    let body = vec![b'x'; 3 << 20];
    let echoed = bench.ask(post("/echo", "text/plain", Bytes::from(body.clone()))).await.text();
    assert_eq!(echoed.as_bytes(), body);
    let exit = within(bench.worker.terminate(support::PATIENCE)).await;
    assert_eq!(exit.kind, ExitKind::Code(0));
}

#[tokio::test]
async fn the_context_tells_everything_about_the_request() {
    let mut bench = Bench::folk().await;
    let mut request = request(Method::PUT, "/context?a=1&b=%20");
    request.headers.append("x-many", HeaderValue::from_static("1"));
    request.headers.append("x-many", HeaderValue::from_static("2"));
    request.remote = "[2001:db8::1]:4711".parse().unwrap();
    request.secure = true;
    let context = bench.ask(request).await.json();
    let begins = json!(["http", "PUT", "/context?a=1&b=%20", "HTTP/1.1", "example.test", true]);
    assert_eq!(context.as_array().unwrap()[..6], begins.as_array().unwrap()[..]);
    assert_eq!((&context[6], &context[7]), (&json!("2001:db8::1"), &json!(4711)));
    assert_eq!(context[11]["x-many"], json!(["1", "2"]));
    assert_eq!((&context[12], &context[13]), (&json!(null), &json!(null)));
}

#[tokio::test]
async fn status_and_headers_survive_byte_for_byte() {
    let mut bench = Bench::folk().await;
    let came = bench.get("/headers").await.answer.unwrap();
    assert_eq!(came.status, StatusCode::IM_A_TEAPOT);
    let cookies: Vec<_> = came.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(came.headers["x-raw"].as_bytes(), b"\xff\xe9");
    assert_eq!(came.headers["x-number"], "7");
}

#[tokio::test]
async fn an_answer_that_cannot_be_sent_is_an_application_error_and_the_worker_goes_on() {
    let mut bench = Bench::folk().await;
    for (target, named) in [("/bad-header", "X Bad"), ("/bad-status", "42"), ("/error", "said no")]
    {
        let came = bench.get(target).await;
        assert!(matches!(came.outcome, Outcome::Done), "{:?}", came.outcome);
        let Err(Error::Application { code: None, message }) = came.answer else {
            panic!("{target}: {:?}", came.answer)
        };
        assert!(message.contains(named), "{message}");
    }
    assert_eq!(bench.text("/count").await, "4");
}

#[tokio::test]
async fn methods_and_tasks_reach_the_application() {
    let mut bench = Bench::folk().await;
    let call = MethodCall { method: "echo".into(), payload: Bytes::from_static(b"[1,2]") };
    let answer = bench.run(Request::Method(call)).await.json();
    assert_eq!(answer, json!([["method", "echo"], "[1,2]"]));
    let task = Task {
        id: "t-1".into(),
        name: "echo".into(),
        queue: "default".into(),
        attempt: 2,
        headers: [("k".to_owned(), vec!["v".to_owned(), "w".to_owned()])].into(),
        payload: Bytes::from_static(b"payload"),
    };
    let answer = bench.run(Request::Task(Box::new(task))).await.json();
    assert_eq!(
        answer,
        json!([["task", "t-1", "echo", "default", 2, {"k": ["v", "w"]}], "payload"])
    );
}

#[tokio::test]
async fn bodies_of_every_size_and_kind_arrive_whole() {
    let mut bench = Bench::folk().await;
    for size in [0, 1, 64 << 10, (64 << 10) + 1, 5 << 20] {
        let body: Vec<u8> = (0..size).map(|index| (index * 7 % 251) as u8).collect();
        let expected = format!("{size} {}", md5(&body));
        let whole =
            bench.ask(post("/length", "text/plain", Bytes::from(body.clone()))).await.text();
        assert_eq!(whole, expected, "in memory");
        let chunks = body.chunks(10_000).map(<[u8]>::to_vec).collect();
        let streamed = bench.ask(post("/length", "text/plain", streamed(chunks))).await.text();
        assert_eq!(streamed, expected, "streamed");
    }
}

/// By PHP itself, to need no library for it.
fn md5(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut php = std::process::Command::new("php")
        .args(["-n", "-r", "echo md5(stream_get_contents(STDIN));"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    php.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(php.wait_with_output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn forms_arrive_as_php_would_have_parsed_them() {
    let mut bench = Bench::folk().await;
    let form =
        post("/files", "application/x-www-form-urlencoded", "a[]=1&a[]=2&b[c][d]=%C3%A9&e.f=+");
    let answer = bench.ask(form).await.json();
    assert_eq!(answer["fields"], json!({"a": ["1", "2"], "b": {"c": {"d": "é"}}, "e_f": " "}));
    assert_eq!((&answer["uploads"], &answer["body"]), (&json!(null), &json!("")));
}

#[tokio::test]
async fn uploads_are_files_until_the_request_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let mut with_directory = settings("folk.php");
    with_directory.upload_dir = directory.path().to_owned();
    let mut bench = Bench::new(with_directory).await;
    let body = "--B\r\nContent-Disposition: form-data; name=\"f[x]\"; filename=\"a.txt\"\r\n\
        Content-Type: text/plain\r\n\r\ncontent\r\n\
        --B\r\nContent-Disposition: form-data; name=\"v\"\r\n\r\n1\r\n--B--\r\n";
    let kind = "multipart/form-data; boundary=B";
    let answer = bench.ask(post("/files", kind, body)).await.json();
    let file = &answer["uploads"]["f"]["x"];
    assert_eq!(
        (&file["name"], &file["type"], &file["size"], &file["error"]),
        (&json!("a.txt"), &json!("text/plain"), &json!(7), &json!(0))
    );
    assert_eq!(answer["files"][file["tmp_name"].as_str().unwrap()], "content");
    assert_eq!(answer["fields"], json!({"v": "1"}));
    assert_eq!(files_in(directory.path()), 0, "removed with the request");

    // Also when the worker dies over it.
    let came = bench.ask(post("/exit", kind, body)).await;
    assert!(matches!(came.outcome, Outcome::Failed(Error::Died(_))), "{:?}", came.outcome);
    assert_eq!(files_in(directory.path()), 0, "removed with the request that failed");
}

#[tokio::test]
async fn what_a_killed_server_left_is_removed_at_the_next_start() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let mut dead = std::process::Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let space = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    let upload = directory.path().join(format!("folk-upload-{}-{space}-abc", dead.id()));
    std::fs::write(&upload, "half of it").unwrap();
    let sockets = std::env::temp_dir().join(format!("folk-{}-{space}-abc", dead.id()));
    std::fs::create_dir(&sockets).unwrap();
    drop(std::os::unix::net::UnixListener::bind(sockets.join("0.sock")).unwrap());

    let mut given = settings("folk.php");
    given.upload_dir = directory.path().to_owned();
    let mut bench = Bench::new(given).await;
    assert!(!upload.exists());
    assert!(!sockets.exists());
    // What is made now carries the pid by which it will be found.
    let pid = std::process::id();
    let relay = bench.get("/environment").await.json()["RR_RELAY"].to_string();
    assert!(relay.contains(&format!("/folk-{pid}-{space}-")), "{relay}");
    let body = "--B\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n1\r\n--B--\r\n";
    let answer = bench.ask(post("/files", "multipart/form-data; boundary=B", body)).await.json();
    let stored = answer["uploads"]["f"]["tmp_name"].to_string();
    assert!(stored.contains(&format!("/folk-upload-{pid}-{space}-")), "{stored}");
}

fn files_in(directory: &std::path::Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[tokio::test]
async fn the_environment_is_what_was_passed_and_what_the_protocol_adds() {
    let mut given = settings("folk.php");
    given.env.insert("APP_ENV".into(), "test".into());
    given.rpc = Some("/run/rpc.sock".into());
    let mut bench = Bench::new(given).await;
    let answer = bench.get("/environment").await.json();
    let mut names: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "APP_ENV",
        "FOLK_GENERATION",
        "FOLK_POOL",
        "FOLK_SLOT",
        "FOLK_VERSION",
        "RR_MODE",
        "RR_RELAY",
        "RR_RPC",
        "RR_VERSION",
    ];
    assert_eq!(names, expected);
    assert_eq!(answer["RR_RPC"], "unix:///run/rpc.sock");
    assert_eq!((&answer["FOLK_POOL"], &answer["FOLK_SLOT"]), (&json!("test"), &json!("3")));
    let socket = answer["RR_RELAY"].as_str().unwrap().strip_prefix("unix://").unwrap();
    assert!(!std::path::Path::new(socket).exists(), "the socket is removed once it is used");
    let directory = std::path::Path::new(socket).parent().unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(directory).unwrap());
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn what_is_printed_does_not_reach_the_answer() {
    let mut bench = Bench::folk().await;
    assert_eq!(bench.text("/print").await, "the answer");
    assert_eq!(bench.text("/flood").await, "flooded");
    assert_eq!(bench.text("/hello").await, "hello");
}

#[tokio::test]
async fn a_streamed_answer_arrives_part_by_part() {
    let mut bench = Bench::folk().await;
    let came = bench.get("/created-stream").await.answer.unwrap();
    assert_eq!(
        (came.status, &came.headers["x-streamed"]),
        (StatusCode::CREATED, &"yes".parse().unwrap())
    );
    assert_eq!(came.body.unwrap(), "one,two,three");
    assert_eq!(bench.text("/ping").await, "012done");
    assert_eq!(bench.text("/hello").await, "hello");
}

#[derive(Default)]
struct Hints(Mutex<Vec<(StatusCode, HeaderMap)>>);

impl InterimSink for Hints {
    fn send(&self, status: StatusCode, headers: &HeaderMap) {
        self.0.lock().unwrap().push((status, headers.clone()));
    }
}

#[tokio::test]
async fn informational_responses_go_ahead_of_the_answer() {
    let mut bench = Bench::folk().await;
    let hints = Arc::new(Hints::default());
    let mut request = request(Method::GET, "/early");
    request.interim = Some(Arc::clone(&hints) as _);
    assert_eq!(bench.ask(request).await.text(), "after the hints");
    let hints = hints.0.lock().unwrap();
    let links: Vec<_> =
        hints.iter().map(|(status, map)| (status.as_u16(), map["link"].clone())).collect();
    let expected = ["</a.css>; rel=preload", "</b.css>; rel=preload"];
    assert_eq!(links, expected.map(|link| (103, HeaderValue::from_static(link))));
}

/// Reads the first chunk of the answer, leaves, and returns what came of the worker.
async fn leave_after_the_first_chunk(bench: &mut Bench, target: &str) -> Outcome {
    let request = Request::Http(Box::new(request(Method::GET, target)));
    let (job, answer) = Job::new(request, Deadline::after(support::PATIENCE));
    let leave = async {
        let mut response = answer.await.unwrap();
        response.body.next().await.unwrap().unwrap();
    };
    within(async { tokio::join!(bench.worker.execute(Box::new(job)), leave).0 }).await
}

#[tokio::test]
async fn a_stream_nobody_reads_any_more_is_stopped_and_the_worker_goes_on() {
    let mut bench = Bench::folk().await;
    for target in ["/endless", "/waiting"] {
        let outcome = leave_after_the_first_chunk(&mut bench, target).await;
        assert!(matches!(outcome, Outcome::Done), "{target}: {outcome:?}");
        assert_eq!(bench.text("/hello").await, "hello");
    }
}

#[tokio::test]
async fn a_slow_reader_holds_the_stream_back() {
    let mut bench = Bench::folk().await;
    let request = Request::Http(Box::new(request(Method::GET, "/endless")));
    let (job, answer) = Job::new(request, Deadline::after(support::PATIENCE));
    let read = async {
        let mut body = answer.await.unwrap().body;
        // Not reading for a while; the worker can be no further ahead than the channel is deep.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut waiting = 0;
        while let Some(chunk) = body.next().now_or_never() {
            waiting += chunk.unwrap().unwrap().len();
        }
        waiting
    };
    let (outcome, waiting) =
        within(async { tokio::join!(bench.worker.execute(Box::new(job)), read) }).await;
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    assert!(waiting <= 8 << 10, "{waiting} bytes were waiting");
}

#[tokio::test]
async fn a_large_frame_is_handed_on_while_it_arrives() {
    let mut bench = Bench::folk().await;
    let request = Request::Http(Box::new(request(Method::GET, "/big")));
    let (job, answer) = Job::new(request, Deadline::after(support::PATIENCE));
    let read = async {
        let mut body = answer.await.unwrap().body;
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(20 << 20));
        let (mut length, mut largest) = (0, 0);
        while let Some(chunk) = body.next().await {
            let chunk = chunk.unwrap();
            largest = largest.max(chunk.len());
            length += chunk.len();
        }
        (length, largest)
    };
    let (outcome, (length, largest)) =
        within(async { tokio::join!(bench.worker.execute(Box::new(job)), read) }).await;
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    assert_eq!(length, 20 << 20);
    assert!(largest <= 64 << 10, "{largest}");
    assert_eq!(bench.text("/hello").await, "hello");
}

/// Asks for an answer of 20 MiB, reads nothing of it until the worker is done or `patience` is
/// over, and then all. Returns whether the worker was done by then.
async fn read_late(bench: &mut Bench, patience: Duration) -> bool {
    let request = Request::Http(Box::new(request(Method::GET, "/big")));
    let (job, answer) = Job::new(request, Deadline::after(support::PATIENCE));
    let mut execute = bench.worker.execute(Box::new(job));
    let done = tokio::time::timeout(patience, &mut execute).await;
    if let Ok(outcome) = &done {
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    }
    let response = within(answer).await.unwrap();
    let read = within(response.body.collect(1 << 30));
    let body = if done.is_ok() {
        read.await
    } else {
        let (outcome, body) = within(async { tokio::join!(execute, read) }).await;
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        body
    };
    let body = body.unwrap();
    assert_eq!(body.len(), 20 << 20);
    let pieces = body.chunks(1 << 20).enumerate();
    for (index, piece) in pieces {
        assert!(piece.iter().all(|&byte| byte == b'a' + index as u8), "piece {index}");
    }
    done.is_ok()
}

#[tokio::test]
async fn a_slow_reader_of_a_large_frame_holds_no_worker() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings("folk.php");
    settings.upload_dir = directory.path().to_owned();
    let mut bench = Bench::new(settings).await;
    assert!(read_late(&mut bench, support::PATIENCE).await);
    assert_eq!(bench.text("/hello").await, "hello");
    assert_eq!(files_in(directory.path()), 0);

    // One who never reads, and leaves once the worker is done with it.
    let request = Request::Http(Box::new(request(Method::GET, "/big")));
    let (job, answer) = Job::new(request, Deadline::after(support::PATIENCE));
    let outcome = within(bench.worker.execute(Box::new(job))).await;
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    drop(answer);
    assert_eq!(bench.text("/hello").await, "hello");
}

#[tokio::test]
async fn where_there_is_no_room_for_it_a_slow_reader_holds_the_worker_and_gets_everything() {
    let mut nowhere = settings("folk.php");
    nowhere.upload_dir = "/nowhere/at/all".into();
    let mut full = settings("folk.php");
    full.answer_files = 1 << 20;
    for settings in [nowhere, full] {
        let mut bench = Bench::new(settings).await;
        assert!(!read_late(&mut bench, Duration::from_millis(500)).await);
        assert_eq!(bench.text("/hello").await, "hello");
    }
}

#[tokio::test]
async fn where_there_is_no_room_for_it_a_reader_that_never_reads_is_cut_and_not_the_worker() {
    let mut settings = settings("folk.php");
    settings.answer_files = 1 << 20;
    let mut bench = Bench::new(settings).await;
    let request = Request::Http(Box::new(request(Method::GET, "/big")));
    let (job, answer) = Job::new(request, Deadline::after(support::PATIENCE));
    let outcome = within(bench.worker.execute(Box::new(job))).await;
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    let body = within(answer).await.unwrap().body.collect(1 << 30).await;
    assert!(body.is_err(), "an answer that was cut is not taken for a whole one");
    assert_eq!(bench.text("/hello").await, "hello");
}

#[tokio::test]
async fn the_room_of_an_answer_that_waited_is_given_back() {
    let mut settings = settings("folk.php");
    settings.answer_files = 21 << 20;
    let mut bench = Bench::new(settings).await;
    for _ in 0..3 {
        assert!(read_late(&mut bench, support::PATIENCE).await);
    }
}

#[tokio::test]
async fn a_reader_who_leaves_a_large_frame_costs_no_worker() {
    let mut bench = Bench::folk().await;
    let outcome = leave_after_the_first_chunk(&mut bench, "/big").await;
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    assert_eq!(bench.text("/hello").await, "hello");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_told_as_broken() {
    let mut bench = Bench::folk().await;
    let came = bench.get("/half-stream").await;
    let Ok(Err(BodyError::Failed(why))) = came.answer.as_ref().map(|whole| whole.body.clone())
    else {
        panic!("{:?}", came.answer)
    };
    assert!(why.contains("died in the middle"), "{why}");
    let Error::Died(why) = came.failure() else { panic!("not died") };
    assert!(why.contains("exited with code 4; it said: died in the middle"), "{why}");
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_stream_fails_the_body_and_keeps_the_worker() {
    let mut bench = Bench::folk().await;
    let came = bench.get("/error-stream").await;
    assert!(matches!(came.outcome, Outcome::Done), "{:?}", came.outcome);
    let body = came.answer.unwrap().body;
    assert!(
        matches!(&body, Err(BodyError::Failed(why)) if why.contains("failed half way")),
        "{body:?}"
    );
    assert_eq!(bench.text("/hello").await, "hello");
}

#[tokio::test]
async fn a_request_whose_caller_left_is_not_run() {
    let mut bench = Bench::folk().await;
    let (job, answer) = Job::new(
        Request::Http(Box::new(request(Method::GET, "/count"))),
        Deadline::after(support::PATIENCE),
    );
    drop(answer);
    assert!(matches!(bench.worker.execute(Box::new(job)).await, Outcome::Done));
    assert_eq!(bench.text("/count").await, "1");
}

#[tokio::test]
async fn a_worker_that_wants_to_stop_gives_the_request_back() {
    let mut bench = Bench::folk().await;
    let came = bench.ask(post("/stopping", "text/plain", "body")).await;
    let Outcome::NotTaken { job, why: NotTaken::Stopping } = came.outcome else {
        panic!("{:?}", came.outcome)
    };
    let Request::Http(http) = &job.request else { panic!("another request") };
    assert_eq!(http.body.as_bytes(), Some(&b"body"[..]), "it can be given to another worker");
}

#[tokio::test]
async fn a_spooled_request_that_was_not_taken_can_be_run_elsewhere() {
    let mut bench = Bench::folk().await;
    let came =
        bench.ask(post("/stopping", "text/plain", streamed(vec![vec![b'x'; 200_000]]))).await;
    let Outcome::NotTaken { mut job, .. } = came.outcome else { panic!("{:?}", came.outcome) };
    let Request::Http(http) = &mut job.request else { panic!("another request") };
    http.uri = "/length".parse().unwrap();
    let mut other = Bench::folk().await;
    let answer = other.run(job.request).await.text();
    assert_eq!(answer, format!("200000 {}", md5(&[b'x'; 200_000])));
}

#[tokio::test]
async fn memory_and_pid_are_those_of_the_process() {
    let mut bench = Bench::folk().await;
    let memory = bench.worker.control().memory().expect("Linux tells");
    assert!((1 << 20..1 << 30).contains(&memory), "{memory}");
    assert!(is_alive(bench.pid()));
    within(bench.worker.terminate(support::PATIENCE)).await;
    assert_eq!(bench.worker.control().memory(), None);
}

#[tokio::test]
async fn a_launcher_may_come_between_as_long_as_it_keeps_the_pid() {
    let mut launched: ProcessSettings = settings("folk.php");
    let words = ["/bin/sh", "-c", "export LAUNCHED=yes; exec \"$0\" \"$@\""];
    launched.launcher = Some(words.map(str::to_owned).to_vec());
    let mut bench = Bench::new(launched).await;
    assert_eq!(bench.get("/environment").await.json()["LAUNCHED"], "yes");
}

#[tokio::test]
async fn dropping_a_worker_kills_it_with_everything_it_started() {
    let mut bench = Bench::folk().await;
    let child: u32 = bench.text("/child").await.parse().unwrap();
    let pid = bench.pid();
    assert!(is_alive(child));
    drop(bench);
    gone(pid).await;
    gone(child).await;
}
