//! The suite that every runtime passes.
//!
//! A runtime is set up to run the application in `php/conformance.php` ([`SCRIPT`]), or another one
//! that does the same on the same paths, and handed to [`conformance_tests!`](crate::conformance_tests),
//! which makes a test of each check here:
//!
//! ```text
//! folk_testkit::conformance_tests!(|| MyRuntime::new(settings_for(SCRIPT)));
//! ```
//!
//! | path | what the application does |
//! |---|---|
//! | `/hello` | answers `hello` |
//! | `/served` | answers how many HTTP requests this worker was given |
//! | `/request` | JSON of what it knows about the request |
//! | `/echo` | answers the body |
//! | `/form` | JSON of the fields and files of a form |
//! | `/headers` | 418 with two cookies and a header that is not text |
//! | `/stream` | `one,` `two,` `three`, each sent on its own |
//! | `/endless` | a stream that never ends by itself |
//! | `/large` | 8 MiB |
//! | `/exception` | throws `the application failed` |
//! | `/exit`, `/fatal`, `/die` | ends its process: by `exit`, by running out of memory, by SIGKILL |
//! | `/print` | prints, and then answers `the answer` |
//! | `/hang` | makes the file that the header `x-mark` names, and sleeps |
//!
//! The method `sum` adds numbers, `refuse` throws `not that`; a task is answered with `name:payload`.

use std::time::Duration;

use folk_api::bytes::Bytes;
use folk_api::http::{HeaderMap, HeaderValue, Method, StatusCode};
use folk_api::runtime::{Exit, ExitKind, NotTaken};
use folk_api::serde_json::{Value, from_slice, json};
use folk_api::{
    Body, BodyError, Deadline, Error, HttpRequest, Job, MethodCall, Outcome, Request, Runtime,
    Task, Worker, WorkerSpec,
};

/// The application, as PHP source. `FOLK_AUTOLOAD` in its environment names the autoloader of
/// folk/sdk.
pub const SCRIPT: &str = include_str!("../php/conformance.php");

/// Longer than anything here takes: a check that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a test of every check. The argument is a function (it may be a closure without captures)
/// that makes a fresh runtime.
#[macro_export]
macro_rules! conformance_tests {
    ($make:expr) => {
        $crate::conformance_tests!(@each $make;
            answers_one_request_after_the_other
            tells_the_application_about_the_request
            carries_bodies_of_every_size_both_ways
            carries_status_and_headers_byte_for_byte
            parses_forms_and_removes_uploads_afterwards
            calls_methods
            runs_tasks
            streams_part_by_part
            stops_a_stream_that_nobody_reads
            keeps_output_out_of_the_answer
            keeps_the_worker_after_an_exception
            does_not_run_a_request_whose_caller_left
            tells_of_an_exit
            tells_of_a_fatal_error_with_phps_message
            tells_of_a_death_by_signal
            gives_back_a_request_for_a_dead_worker
            notices_a_death_without_traffic
            kills_a_worker_while_it_runs_a_request
            terminates_within_the_grace
            kills_the_process_of_a_dropped_worker
            survives_a_worker_that_is_dropped_while_it_boots
        );
    };
    (@each $make:expr; $($check:ident)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                let runtime = ($make)();
                $crate::conformance::$check(&runtime).await;
            }
        )*
    };
}

/// A worker under test.
struct Subject<'a> {
    runtime: &'a dyn Runtime,
    worker: Box<dyn Worker>,
}

/// What came of a request.
#[derive(Debug)]
struct Came {
    answer: Result<Whole, Error>,
    outcome: Outcome,
}

/// A response with its whole body.
#[derive(Debug)]
struct Whole {
    status: StatusCode,
    headers: HeaderMap,
    body: Result<Bytes, BodyError>,
}

/// Answers come in the order of the requests, from the same booted application.
pub async fn answers_one_request_after_the_other(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    assert_eq!(subject.get("/hello").await.text(), "hello");
    for served in 2..50 {
        assert_eq!(subject.get("/served").await.text(), served.to_string());
    }
}

/// Method, target, repeated headers, addresses and id arrive.
pub async fn tells_the_application_about_the_request(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let mut request = http(Method::PATCH, "/request?a=1&b=%20");
    request.headers.append("x-many", HeaderValue::from_static("1"));
    request.headers.append("x-many", HeaderValue::from_static("2"));
    request.remote = ([192, 0, 2, 7], 4711).into();
    request.secure = true;
    request.id = folk_api::RequestId::new("id-1");
    let told = subject.ask(request).await.json();
    assert_eq!(told["method"], "PATCH");
    assert_eq!(told["target"], "/request?a=1&b=%20");
    assert_eq!(told["headers"]["x-many"], json!(["1", "2"]));
    assert_eq!(told["remote"], "192.0.2.7");
    assert_eq!(told["secure"], true);
    assert_eq!(told["id"], "id-1");
}

/// Bodies of every size arrive and return, known before or streamed.
pub async fn carries_bodies_of_every_size_both_ways(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    for size in [0, 1, 4096, 64 << 10, (64 << 10) + 1, 3 << 20] {
        let body: Vec<u8> = (0..size).map(|index: usize| (index % 251) as u8).collect();
        let mut whole = http(Method::POST, "/echo");
        whole.body = Body::full(body.clone());
        assert_eq!(subject.ask(whole).await.bytes(), body, "{size} bytes in memory");
        let mut streamed = http(Method::POST, "/echo");
        streamed.body = chunked(body.chunks(10_000));
        assert_eq!(subject.ask(streamed).await.bytes(), body, "{size} bytes streamed");
    }
    assert_eq!(subject.get("/large").await.bytes().len(), 8 << 20);
}

/// Statuses, repeated headers and values that are not text survive.
pub async fn carries_status_and_headers_byte_for_byte(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let whole = subject.get("/headers").await.whole();
    assert_eq!(whole.status, StatusCode::IM_A_TEAPOT);
    let cookies: Vec<_> = whole.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(whole.headers["x-raw"].as_bytes(), b"\xff\xe9");
}

/// Forms become PHP's arrays, and uploads files that are gone after the request.
pub async fn parses_forms_and_removes_uploads_afterwards(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let mut form = http(Method::POST, "/form");
    form.headers
        .insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    form.body = Body::full("a[]=1&a[x]=2&b.c=%C3%A9");
    let told = subject.ask(form).await.json();
    assert_eq!(told["fields"], json!({"a": {"0": "1", "x": "2"}, "b_c": "é"}));

    let mut upload = http(Method::POST, "/form");
    upload
        .headers
        .insert("content-type", HeaderValue::from_static("multipart/form-data; boundary=B"));
    upload.body = Body::full(
        "--B\r\nContent-Disposition: form-data; name=\"v\"\r\n\r\n1\r\n\
         --B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\ncontent\r\n\
         --B--\r\n",
    );
    let told = subject.ask(upload).await.json();
    assert_eq!(told["fields"], json!({"v": "1"}));
    assert_eq!(told["files"], json!({"f": ["a.txt", "content"]}));
}

/// Methods answer, and fail without harm to the worker.
pub async fn calls_methods(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    assert_eq!(subject.call("sum", "[1,2,3]").await.bytes(), "6");
    for method in ["refuse", "unknown"] {
        let came = subject.call(method, "[]").await;
        assert!(matches!(came.outcome, Outcome::Done), "{:?}", came.outcome);
        assert!(matches!(came.answer, Err(Error::Application { .. })), "{:?}", came.answer);
    }
    assert_eq!(subject.call("sum", "[4]").await.bytes(), "4");
}

/// Tasks are run.
pub async fn runs_tasks(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let task = Task {
        id: "t-1".into(),
        name: "mail".into(),
        queue: "default".into(),
        attempt: 1,
        headers: Default::default(),
        payload: Bytes::from_static(b"payload"),
    };
    let came = subject.run(Request::Task(Box::new(task))).await;
    assert_eq!(came.bytes(), "mail:payload");
}

/// A stream arrives whole, and the worker takes the next request.
pub async fn streams_part_by_part(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    assert_eq!(subject.get("/stream").await.text(), "one,two,three");
    assert_eq!(subject.get("/hello").await.text(), "hello");
}

/// A reader who leaves ends the stream, not the worker.
pub async fn stops_a_stream_that_nobody_reads(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    for target in ["/endless", "/large"] {
        let (job, answer) = job(http(Method::GET, target));
        let leave = async {
            let mut response = answer.await.expect("it is answered");
            let first = response.body.next().await;
            assert!(matches!(first, Some(Ok(_))), "{first:?}");
        };
        let execute = subject.worker.execute(job);
        let outcome = within(async { tokio::join!(execute, leave).0 }).await;
        assert!(matches!(outcome, Outcome::Done), "{target}: {outcome:?}");
        assert_eq!(subject.get("/hello").await.text(), "hello");
    }
}

/// What is printed is not part of the answer.
pub async fn keeps_output_out_of_the_answer(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    assert_eq!(subject.get("/print").await.text(), "the answer");
    assert_eq!(subject.get("/hello").await.text(), "hello");
}

/// An exception is an error for its caller and nothing to the worker.
pub async fn keeps_the_worker_after_an_exception(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let pid = subject.pid();
    let came = subject.get("/exception").await;
    assert!(matches!(came.outcome, Outcome::Done), "{:?}", came.outcome);
    match came.answer {
        Ok(whole) => assert!(whole.status.is_server_error(), "{whole:?}"),
        Err(Error::Application { message, .. }) => {
            assert!(message.contains("the application failed"), "{message}");
        }
        Err(other) => panic!("{other}"),
    }
    assert_eq!(subject.get("/served").await.text(), "2");
    assert_eq!(subject.pid(), pid);
}

/// A request that nobody waits for any more is not started.
pub async fn does_not_run_a_request_whose_caller_left(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let (job, answer) = job(http(Method::GET, "/hello"));
    drop(answer);
    let outcome = within(subject.worker.execute(job)).await;
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    assert_eq!(subject.get("/served").await.text(), "1");
}

/// `exit` in a request is an error for its caller, and the worker is gone.
pub async fn tells_of_an_exit(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let came = subject.get("/exit").await;
    let _text = came.error_of_a_dying_worker();
    let exit = within(subject.worker.died()).await;
    assert_eq!(exit.kind, ExitKind::Code(3), "{exit}");
}

/// A fatal error reaches the caller with PHP's own message, and the worker is gone.
pub async fn tells_of_a_fatal_error_with_phps_message(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let text = subject.get("/fatal").await.error_of_a_dying_worker();
    assert!(text.contains("Allowed memory size"), "{text}");
    let exit = within(subject.worker.died()).await;
    assert_eq!(exit.kind, ExitKind::Code(255), "{exit}");
}

/// A worker killed in a request fails that request, and says by which signal.
pub async fn tells_of_a_death_by_signal(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let came = subject.get("/die").await;
    let Outcome::Failed(Error::Died(text)) = &came.outcome else { panic!("{:?}", came.outcome) };
    assert!(text.contains("signal 9"), "{text}");
    let exit = within(subject.worker.died()).await;
    assert_eq!(exit.kind, ExitKind::Signal(9), "{exit}");
}

/// A worker found dead gives the request back as it came.
pub async fn gives_back_a_request_for_a_dead_worker(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    subject.worker.control().kill();
    let mut request = http(Method::POST, "/echo");
    request.body = Body::full("body");
    let came = subject.ask(request).await;
    let Outcome::NotTaken { job, why: NotTaken::Died(_) } = came.outcome else {
        panic!("{:?}", came.outcome)
    };
    let mut other = Subject::boot(runtime).await;
    assert_eq!(other.run(job.request).await.text(), "body");
}

/// The death of an idle worker is noticed at once.
pub async fn notices_a_death_without_traffic(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let control = subject.worker.control();
    let kill = async { control.kill() };
    let (exit, ()) = within(async { tokio::join!(subject.worker.died(), kill) }).await;
    assert_eq!(exit.kind, ExitKind::Signal(9), "{exit}");
}

/// A running request can be ended by force from beside it.
pub async fn kills_a_worker_while_it_runs_a_request(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    let control = subject.worker.control();
    let mark = std::env::temp_dir().join(format!("folk-conformance-{}", subject.pid()));
    let mut request = http(Method::GET, "/hang");
    let name = HeaderValue::from_str(&mark.to_string_lossy()).expect("a header's value");
    request.headers.insert("x-mark", name);
    let kill = async {
        until(|| mark.exists()).await;
        control.kill();
    };
    let (came, ()) = tokio::join!(subject.ask(request), kill);
    let _gone = std::fs::remove_file(&mark);
    assert!(matches!(came.outcome, Outcome::Failed(Error::Died(_))), "{:?}", came.outcome);
}

/// An idle worker ends by itself when it is asked to; ending it again is fine.
pub async fn terminates_within_the_grace(runtime: &dyn Runtime) {
    let mut subject = Subject::boot(runtime).await;
    assert_eq!(subject.get("/hello").await.text(), "hello");
    let pid = subject.pid();
    let Exit { kind, last_words } = within(subject.worker.terminate(PATIENCE)).await;
    assert_eq!(kind, ExitKind::Code(0), "{last_words}");
    gone(pid).await;
    assert_eq!(within(subject.worker.terminate(PATIENCE)).await.kind, kind);
}

/// No process outlives its worker.
pub async fn kills_the_process_of_a_dropped_worker(runtime: &dyn Runtime) {
    let subject = Subject::boot(runtime).await;
    let pid = subject.pid();
    drop(subject);
    gone(pid).await;
}

/// A boot that is given up leaves no process.
pub async fn survives_a_worker_that_is_dropped_while_it_boots(runtime: &dyn Runtime) {
    let worker = runtime.spawn(&spec(0)).await.expect("it can be spawned");
    let pid = worker.control().pid();
    drop(worker);
    if let Some(pid) = pid {
        gone(pid).await;
    }
    let mut subject = Subject::boot(runtime).await;
    assert_eq!(subject.get("/hello").await.text(), "hello");
}

impl<'a> Subject<'a> {
    async fn boot(runtime: &'a dyn Runtime) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let spec = spec(SERIAL.fetch_add(1, Ordering::Relaxed));
        let mut worker = runtime.spawn(&spec).await.expect("it can be spawned");
        within(worker.ready()).await.expect("it boots");
        Self { runtime, worker }
    }

    fn pid(&self) -> u32 {
        self.worker.control().pid().expect("it has a process")
    }

    async fn get(&mut self, target: &str) -> Came {
        self.ask(http(Method::GET, target)).await
    }

    async fn ask(&mut self, request: HttpRequest) -> Came {
        self.run(Request::Http(Box::new(request))).await
    }

    async fn call(&mut self, method: &str, payload: &'static str) -> Came {
        let payload = Bytes::from_static(payload.as_bytes());
        self.run(Request::Method(MethodCall { method: method.to_owned(), payload })).await
    }

    async fn run(&mut self, mut request: Request) -> Came {
        if self.runtime.needs_preparation(&request) {
            request = self.runtime.prepare(request).await.expect("it can be prepared");
        }
        let (job, answer) = Job::new(request, Deadline::after(PATIENCE));
        let read = async {
            let response = answer.await?;
            let (status, headers) = (response.status, response.headers);
            Ok(Whole { status, headers, body: response.body.collect(1 << 30).await })
        };
        let execute = self.worker.execute(Box::new(job));
        within(async {
            tokio::pin!(execute, read);
            let mut answer = None;
            let outcome = loop {
                tokio::select! {
                    outcome = &mut execute => break outcome,
                    read = &mut read, if answer.is_none() => answer = Some(read),
                }
            };
            let answer = match (answer, &outcome) {
                (Some(answer), _) => answer,
                // The request lives on in the outcome, and its reply with it.
                (None, Outcome::NotTaken { .. }) => Err(Error::NotTaken("given back".into())),
                (None, _) => read.await,
            };
            Came { answer, outcome }
        })
        .await
    }
}

impl Came {
    #[track_caller]
    fn whole(self) -> Whole {
        assert!(matches!(self.outcome, Outcome::Done), "{:?}, {:?}", self.outcome, self.answer);
        self.answer.expect("it is answered")
    }

    #[track_caller]
    fn bytes(self) -> Bytes {
        let whole = self.whole();
        assert_eq!(whole.status, StatusCode::OK);
        whole.body.expect("the body is whole")
    }

    #[track_caller]
    fn text(self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("it is text")
    }

    #[track_caller]
    fn json(self) -> Value {
        from_slice(&self.bytes()).expect("it is JSON")
    }

    /// The error of a request under which the process ended: either the application could still
    /// say so, or the runtime found it dead.
    #[track_caller]
    fn error_of_a_dying_worker(self) -> String {
        match (self.outcome, self.answer) {
            (Outcome::Failed(Error::Died(text)), _) => text,
            (Outcome::Done | Outcome::DoneAndStop, Err(Error::Application { message, .. })) => {
                message
            }
            other => panic!("{other:?}"),
        }
    }
}

fn spec(serial: u64) -> WorkerSpec {
    WorkerSpec { pool: "conformance".into(), slot: 0, generation: 1, serial }
}

fn http(method: Method, target: &str) -> HttpRequest {
    let mut request = HttpRequest::new(method, target.parse().expect("a target"));
    request.authority = "conformance.test".into();
    request
}

fn job(request: HttpRequest) -> (Box<Job>, folk_api::Answer) {
    let (job, answer) = Job::new(Request::Http(Box::new(request)), Deadline::after(PATIENCE));
    (Box::new(job), answer)
}

/// A body whose length is not known before.
fn chunked<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Body {
    let chunks: Vec<_> = chunks.map(Bytes::copy_from_slice).collect();
    let (mut tx, body) = Body::channel(1, None);
    tokio::spawn(async move {
        for chunk in chunks {
            if tx.send(chunk).await.is_err() {
                return;
            }
        }
        let _gone = tx.finish().await;
    });
    body
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it must not hang")
}

/// Waits until no process of this pid runs.
async fn gone(pid: u32) {
    let path = format!("/proc/{pid}/stat");
    // A zombie does not run: whoever is its parent just has not looked yet.
    let runs = || {
        std::fs::read_to_string(&path)
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
    };
    until(|| !runs()).await;
}

async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
