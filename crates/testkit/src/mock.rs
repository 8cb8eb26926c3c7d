//! A runtime whose workers are stepped by hand, as a pair: the thing and its handle.
//!
//! ```text
//! let (runtime, mut handle) = MockRuntime::new();
//! // ... start a pool with `runtime` ...
//! let mut worker = handle.spawned().await;   // a worker waits to become ready
//! worker.ready();
//! let run = worker.running().await;          // it was given a request
//! run.answer("hello");
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use folk_api::runtime::{ExitKind, NotTaken};
use folk_api::{
    Body, BootError, Error, Exit, Job, Outcome, Reply, Request, Response, Runtime, Worker,
    WorkerControl, WorkerSpec,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Makes mock workers; see the module.
pub struct MockRuntime {
    spawned: mpsc::UnboundedSender<MockWorkerHandle>,
    soft_stop: bool,
    recyclable: bool,
    /// What `spawn` itself answers, for the next spawns.
    script: Arc<Mutex<Vec<SpawnScript>>>,
    pids: AtomicU32,
    spawns: Arc<AtomicU32>,
}

/// What a call of `spawn` does instead of making a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpawnScript {
    /// It fails with this text.
    Fail(String),
    /// It panics.
    Panic,
    /// It never returns.
    Hang,
}

/// The other end of a [`MockRuntime`].
pub struct MockHandle {
    spawned: mpsc::UnboundedReceiver<MockWorkerHandle>,
    script: Arc<Mutex<Vec<SpawnScript>>>,
    spawns: Arc<AtomicU32>,
}

/// The other end of one mock worker.
#[derive(Debug)]
pub struct MockWorkerHandle {
    /// Which worker this is.
    pub spec: WorkerSpec,
    /// Its made-up process id.
    pub pid: u32,
    ready: Option<oneshot::Sender<Result<(), BootError>>>,
    runs: mpsc::UnboundedReceiver<MockRun>,
    exit: watch::Sender<Option<Exit>>,
    ended: watch::Receiver<Ended>,
    memory: Arc<Mutex<Option<u64>>>,
    hang_terminate: Arc<AtomicBool>,
}

/// How the server ended a mock worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It lives.
    No,
    /// It was asked to, with a grace.
    Asked,
    /// It was killed.
    Killed,
    /// It was dropped.
    Dropped,
}

/// A request a mock worker runs. Dropping it makes `execute` panic, as a faulty runtime would.
#[derive(Debug)]
pub struct MockRun {
    /// The request and its reply; taken by those of the methods below that need it.
    pub job: Option<Box<Job>>,
    outcome: oneshot::Sender<Outcome>,
    soft_stopped: watch::Receiver<bool>,
}

impl MockRuntime {
    /// A runtime and its handle. Workers cannot be stopped softly.
    pub fn new() -> (Arc<Self>, MockHandle) {
        Self::with(false, true)
    }

    /// A runtime whose workers can be stopped softly, or may not be recycled.
    pub fn with(soft_stop: bool, recyclable: bool) -> (Arc<Self>, MockHandle) {
        let (sender, spawned) = mpsc::unbounded_channel();
        let script = Arc::<Mutex<Vec<SpawnScript>>>::default();
        let spawns = Arc::new(AtomicU32::new(0));
        let runtime = Self {
            spawned: sender,
            soft_stop,
            recyclable,
            script: Arc::clone(&script),
            pids: AtomicU32::new(1000),
            spawns: Arc::clone(&spawns),
        };
        (Arc::new(runtime), MockHandle { spawned, script, spawns })
    }

    /// A runtime whose workers are ready at once and answer every request with its own body or
    /// payload.
    pub fn echo() -> Arc<Self> {
        let (runtime, mut handle) = Self::new();
        tokio::spawn(async move {
            while let Some(mut worker) = handle.spawned.recv().await {
                worker.ready();
                tokio::spawn(async move {
                    while let Some(run) = worker.runs.recv().await {
                        run.echo();
                    }
                });
            }
        });
        runtime
    }
}

impl MockHandle {
    /// The next worker that was spawned.
    pub async fn spawned(&mut self) -> MockWorkerHandle {
        within("a spawn", async { self.spawned.recv().await.expect("the runtime is there") }).await
    }

    /// A worker that was spawned already, if there is one.
    pub fn try_spawned(&mut self) -> Option<MockWorkerHandle> {
        self.spawned.try_recv().ok()
    }

    /// What the next spawns do instead of making a worker, in order.
    pub fn script(&self, steps: impl IntoIterator<Item = SpawnScript>) {
        lock(&self.script).extend(steps);
    }

    /// How often a spawn was asked for.
    pub fn spawns(&self) -> u32 {
        self.spawns.load(Ordering::SeqCst)
    }
}

impl MockWorkerHandle {
    /// Lets the worker become ready.
    pub fn ready(&mut self) {
        self.finish_boot(Ok(()));
    }

    /// Lets its boot fail.
    pub fn fail_boot(&mut self, message: &str) {
        self.finish_boot(Err(BootError::new(message)));
    }

    fn finish_boot(&mut self, outcome: Result<(), BootError>) {
        let ready = self.ready.take().expect("the boot is not finished yet");
        // The supervisor may have given it up.
        let _given_up = ready.send(outcome);
    }

    /// The next request it is given.
    pub async fn running(&mut self) -> MockRun {
        let slot = self.spec.slot;
        let run = self.runs.recv();
        within(&format!("a request for slot {slot}"), run).await.expect("the worker is there")
    }

    /// A request it was given already, if there is one.
    pub fn try_running(&mut self) -> Option<MockRun> {
        self.runs.try_recv().ok()
    }

    /// Lets it die on its own.
    pub fn die(&self, words: &str) {
        let exit = Exit { kind: ExitKind::Signal(9), last_words: words.to_owned() };
        self.exit.send_replace(Some(exit));
    }

    /// Makes it speak out of turn.
    pub fn babble(&self) {
        let exit = Exit { kind: ExitKind::Garbage, last_words: "hello?".to_owned() };
        self.exit.send_replace(Some(exit));
    }

    /// Sets its resident memory in bytes.
    pub fn set_memory(&self, bytes: u64) {
        *lock(&self.memory) = Some(bytes);
    }

    /// Makes it ignore being ended.
    pub fn hang_in_terminate(&self) {
        self.hang_terminate.store(true, Ordering::SeqCst);
    }

    /// Waits until the server ends it, and says how.
    pub async fn ended(&mut self) -> Ended {
        let mut ended = self.ended.clone();
        let ended = within("its end", ended.wait_for(|ended| *ended != Ended::No)).await;
        ended.map_or(Ended::Dropped, |ended| *ended)
    }

    /// Whether the server has ended it.
    pub fn is_ended(&self) -> bool {
        *self.ended.borrow() != Ended::No
    }
}

impl MockRun {
    /// The name of the method that was called.
    pub fn method(&self) -> String {
        match self.job.as_ref().map(|job| &job.request) {
            Some(Request::Method(call)) => call.method.clone(),
            other => panic!("not a method call: {other:?}"),
        }
    }

    /// Where its answer goes.
    pub fn reply(&self) -> Reply {
        self.job.as_ref().expect("the job was not taken").reply.clone()
    }

    /// Answers with a text; the worker goes on.
    pub fn answer(self, text: &'static str) {
        self.reply().send(Ok(Response::ok(Body::full(text))));
        self.end(Outcome::Done);
    }

    /// Answers with what it was called with; the worker goes on.
    pub fn echo(mut self) {
        let job = self.job.take().expect("the job was not taken");
        let body = match job.request {
            Request::Method(call) => Body::full(call.payload),
            Request::Task(task) => Body::full(task.payload),
            Request::Http(http) => http.body,
        };
        job.reply.send(Ok(Response::ok(body)));
        self.end(Outcome::Done);
    }

    /// Answers and asks to be replaced.
    pub fn answer_and_stop(self, text: &'static str) {
        self.reply().send(Ok(Response::ok(Body::full(text))));
        self.end(Outcome::DoneAndStop);
    }

    /// Gives the request back untouched.
    pub fn not_taken(mut self, why: NotTaken) {
        let job = self.job.take().expect("the job was not taken");
        self.end(Outcome::NotTaken { job, why });
    }

    /// The worker is of no use any more.
    pub fn fail(self, error: Error) {
        self.end(Outcome::Failed(error));
    }

    /// Ends `execute` without an answer having been given here.
    pub fn end(self, outcome: Outcome) {
        // The supervisor may have given the worker up.
        let _given_up = self.outcome.send(outcome);
    }

    /// Waits until the server asks the request to end.
    pub async fn soft_stopped(&mut self) {
        let stopped = self.soft_stopped.wait_for(|stopped| *stopped);
        within("the soft stop", stopped).await.expect("the worker is there");
    }
}

#[async_trait]
impl Runtime for MockRuntime {
    fn name(&self) -> &'static str {
        "mock"
    }

    async fn spawn(&self, spec: &WorkerSpec) -> Result<Box<dyn Worker>, BootError> {
        self.spawns.fetch_add(1, Ordering::SeqCst);
        let step = {
            let mut script = lock(&self.script);
            if script.is_empty() { None } else { Some(script.remove(0)) }
        };
        match step {
            Some(SpawnScript::Fail(message)) => return Err(BootError::new(message)),
            Some(SpawnScript::Panic) => panic!("the mock runtime panics as told"),
            Some(SpawnScript::Hang) => std::future::pending().await,
            None => {}
        }
        let (ready_tx, ready) = oneshot::channel();
        let (runs_tx, runs) = mpsc::unbounded_channel();
        let (exit_tx, exit) = watch::channel(None);
        let (ended_tx, ended) = watch::channel(Ended::No);
        let (soft_tx, _) = watch::channel(false);
        let memory = Arc::default();
        let hang_terminate = Arc::new(AtomicBool::new(false));
        let pid = self.pids.fetch_add(1, Ordering::SeqCst);
        let control = Arc::new(MockControl {
            pid,
            soft_stop: self.soft_stop,
            soft: soft_tx,
            ended: ended_tx,
            exit: exit_tx.clone(),
            memory: Arc::clone(&memory),
        });
        let handle = MockWorkerHandle {
            spec: spec.clone(),
            pid,
            ready: Some(ready_tx),
            runs,
            exit: exit_tx,
            ended,
            memory,
            hang_terminate: Arc::clone(&hang_terminate),
        };
        // The test may be over.
        let _test_over = self.spawned.send(handle);
        Ok(Box::new(MockWorker {
            control,
            ready: Some(ready),
            runs: runs_tx,
            exit,
            hang_terminate,
            recyclable: self.recyclable,
        }))
    }
}

struct MockWorker {
    control: Arc<MockControl>,
    ready: Option<oneshot::Receiver<Result<(), BootError>>>,
    runs: mpsc::UnboundedSender<MockRun>,
    exit: watch::Receiver<Option<Exit>>,
    hang_terminate: Arc<AtomicBool>,
    recyclable: bool,
}

struct MockControl {
    pid: u32,
    soft_stop: bool,
    soft: watch::Sender<bool>,
    ended: watch::Sender<Ended>,
    exit: watch::Sender<Option<Exit>>,
    memory: Arc<Mutex<Option<u64>>>,
}

impl MockControl {
    fn end(&self, how: Ended) {
        self.ended.send_if_modified(|ended| {
            let first = *ended == Ended::No;
            if first {
                *ended = how;
            }
            first
        });
    }
}

impl WorkerControl for MockControl {
    fn pid(&self) -> Option<u32> {
        Some(self.pid)
    }

    fn soft_stop(&self) -> bool {
        self.soft.send_replace(true);
        self.soft_stop
    }

    fn kill(&self) {
        self.end(Ended::Killed);
        self.exit.send_replace(Some(Exit { kind: ExitKind::Signal(9), last_words: String::new() }));
    }

    fn memory(&self) -> Option<u64> {
        *lock(&self.memory)
    }
}

#[async_trait]
impl Worker for MockWorker {
    fn control(&self) -> Arc<dyn WorkerControl> {
        Arc::clone(&self.control) as _
    }

    async fn ready(&mut self) -> Result<(), BootError> {
        match self.ready.take() {
            Some(ready) => {
                ready.await.unwrap_or_else(|_| Err(BootError::new("the test let go of it")))
            }
            None => Ok(()),
        }
    }

    async fn execute(&mut self, job: Box<Job>) -> Outcome {
        let (outcome_tx, outcome) = oneshot::channel();
        self.control.soft.send_replace(false);
        let soft_stopped = self.control.soft.subscribe();
        let run = MockRun { job: Some(job), outcome: outcome_tx, soft_stopped };
        if let Err(run) = self.runs.send(run) {
            // The test let go of the worker.
            return Outcome::NotTaken {
                job: run.0.job.expect("it was just put there"),
                why: NotTaken::Died(Exit { kind: ExitKind::Unknown, last_words: String::new() }),
            };
        }
        let mut killed = self.exit.clone();
        tokio::select! {
            outcome = outcome => outcome.unwrap_or_else(|_| panic!("the mock worker panics as told")),
            exit = async { killed.wait_for(Option::is_some).await.map(|exit| exit.clone()) } => {
                let text = exit.ok().flatten().map_or_else(String::new, |exit| exit.to_string());
                Outcome::Failed(Error::Died(text))
            }
        }
    }

    async fn died(&mut self) -> Exit {
        match self.exit.wait_for(Option::is_some).await.map(|exit| exit.clone()) {
            Ok(Some(exit)) => exit,
            _ => std::future::pending().await,
        }
    }

    async fn terminate(&mut self, grace: Duration) -> Exit {
        self.control.end(if grace.is_zero() { Ended::Killed } else { Ended::Asked });
        if self.hang_terminate.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Exit { kind: ExitKind::Code(0), last_words: String::new() }
    }

    fn is_recyclable(&self) -> bool {
        self.recyclable
    }
}

impl Drop for MockWorker {
    fn drop(&mut self) {
        self.control.end(Ended::Dropped);
    }
}

/// Waits for `future`, and fails the test when that takes unreasonably long. On a paused clock it
/// costs no time.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let future: Pin<Box<dyn Future<Output = T> + '_>> = Box::pin(future);
    match tokio::time::timeout(Duration::from_secs(600), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
