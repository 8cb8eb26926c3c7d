//! Workers of the fixtures beside these tests, and what is asked of them.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use folk_api::{
    Body, BodyError, BootError, Deadline, Error, HttpRequest, Job, Outcome, Request, Response,
    Runtime, Worker, WorkerSpec,
};
use folk_runtime_php::process::{ProcessRuntime, ProcessSettings, php_command};
use http::{HeaderMap, Method, StatusCode};

/// Longer than anything here takes; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Settings for a script of the fixtures.
pub fn settings(script: &str) -> ProcessSettings {
    ProcessSettings::new(php_command("php", Path::new(script)), fixtures())
}

/// Settings for a script of the fixtures that takes an argument.
pub fn settings_with(script: &str, argument: &str) -> ProcessSettings {
    let mut settings = settings(script);
    settings.command.push(argument.to_owned());
    settings
}

pub fn spec() -> WorkerSpec {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    WorkerSpec { pool: "test".into(), slot: 3, generation: 2, serial }
}

/// A runtime and one worker of it.
pub struct Bench {
    pub runtime: ProcessRuntime,
    pub worker: Box<dyn Worker>,
}

/// What came of a request.
#[derive(Debug)]
pub struct Came {
    pub answer: Result<Whole, Error>,
    pub outcome: Outcome,
}

/// A response with its whole body.
#[derive(Debug)]
pub struct Whole {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Result<Bytes, BodyError>,
}

impl Bench {
    pub async fn new(settings: ProcessSettings) -> Self {
        Self::try_new(settings).await.expect("the fixture must boot")
    }

    pub async fn try_new(settings: ProcessSettings) -> Result<Self, BootError> {
        let runtime = ProcessRuntime::new(settings)?;
        let mut worker = runtime.spawn(&spec()).await?;
        within(worker.ready()).await?;
        Ok(Self { runtime, worker })
    }

    /// A worker that speaks the folk dialect.
    pub async fn folk() -> Self {
        Self::new(settings("folk.php")).await
    }

    pub async fn get(&mut self, target: &str) -> Came {
        self.ask(request(Method::GET, target)).await
    }

    pub async fn ask(&mut self, request: HttpRequest) -> Came {
        self.run(Request::Http(Box::new(request))).await
    }

    pub async fn run(&mut self, request: Request) -> Came {
        let request = match self.runtime.needs_preparation(&request) {
            true => self.runtime.prepare(request).await.expect("it can be prepared"),
            false => request,
        };
        let (job, answer) = Job::new(request, Deadline::after(PATIENCE));
        let execute = self.worker.execute(Box::new(job));
        let read = async {
            match answer.await {
                Ok(response) => Ok(whole(response).await),
                Err(error) => Err(error),
            }
        };
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

    /// The body of a 200 as text; everything else fails the test.
    pub async fn text(&mut self, target: &str) -> String {
        self.get(target).await.text()
    }

    pub fn pid(&self) -> u32 {
        self.worker.control().pid().expect("a process has a pid")
    }
}

impl Came {
    pub fn text(self) -> String {
        assert!(matches!(self.outcome, Outcome::Done), "{:?}", self.outcome);
        let whole = self.answer.expect("it was answered");
        assert_eq!(whole.status, StatusCode::OK);
        String::from_utf8(whole.body.expect("the body is whole").to_vec()).expect("it is text")
    }

    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.text()).expect("it is JSON")
    }

    pub fn failure(self) -> Error {
        match self.outcome {
            Outcome::Failed(error) => error,
            other => panic!("{other:?}, and {:?}", self.answer),
        }
    }
}

pub async fn whole(response: Response) -> Whole {
    let Response { status, headers, body } = response;
    Whole { status, headers, body: body.collect(1 << 30).await }
}

pub fn request(method: Method, target: &str) -> HttpRequest {
    let mut request = HttpRequest::new(method, target.parse().expect("a target"));
    request.authority = "example.test".into();
    request
}

pub fn post(target: &str, content_type: &str, body: impl Into<Body>) -> HttpRequest {
    let mut request = request(Method::POST, target);
    request.headers.insert("content-type", content_type.parse().expect("a content type"));
    request.body = body.into();
    request
}

/// A body that comes in chunks, its length not known before.
pub fn streamed(chunks: Vec<Vec<u8>>) -> Body {
    let (mut tx, body) = Body::channel(1, None);
    tokio::spawn(async move {
        for chunk in chunks {
            if tx.send(Bytes::from(chunk)).await.is_err() {
                return;
            }
        }
        let _gone = tx.finish().await;
    });
    body
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it must not hang")
}

/// Waits until no process of this pid is left.
pub async fn gone(pid: u32) {
    until(|| !is_alive(pid)).await;
}

/// Waits until the process is stopped: the signal for it is only sent when `kill` returns.
pub async fn stopped(pid: u32) {
    until(|| state(pid) == Some('T')).await;
}

/// Whether the process runs. A zombie does not: whoever is its parent just has not looked yet.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

pub async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
