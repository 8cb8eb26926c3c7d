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
    /// What `reload` answers next, where that is an error.
    broken_reload: Arc<Mutex<Option<String>>>,
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
    broken_reload: Arc<Mutex<Option<String>>>,
    spawns: Arc<AtomicU32>,
}

/// What can be wrong with a mock worker beyond its own life.
#[derive(Debug, Default)]
struct Faults {
    hang_terminate: AtomicBool,
    panic_terminate: AtomicBool,
    panic_control: AtomicBool,
    outlive_kill: AtomicBool,
    /// What it said before it ended.
    last_words: Mutex<String>,
    memory: Mutex<Option<u64>>,
}

/// How a boot goes on.
#[derive(Debug)]
enum BootStep {
    Ready,
    Fail(BootError),
    Panic,
}

/// The other end of one mock worker.
#[derive(Debug)]
pub struct MockWorkerHandle {
    /// Which worker this is.
    pub spec: WorkerSpec,
    /// Its made-up process id.
    pub pid: u32,
    ready: Option<oneshot::Sender<BootStep>>,
    runs: mpsc::UnboundedReceiver<MockRun>,
    exit: watch::Sender<Option<Exit>>,
    panic_idle: watch::Sender<bool>,
    ended: watch::Receiver<Ended>,
    faults: Arc<Faults>,
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
        let broken_reload = Arc::<Mutex<Option<String>>>::default();
        let spawns = Arc::new(AtomicU32::new(0));
        let runtime = Self {
            spawned: sender,
            soft_stop,
            recyclable,
            script: Arc::clone(&script),
            broken_reload: Arc::clone(&broken_reload),
            pids: AtomicU32::new(1000),
            spawns: Arc::clone(&spawns),
        };
        (Arc::new(runtime), MockHandle { spawned, script, broken_reload, spawns })
    }

    /// A runtime whose workers are ready at once and answer every request with its own body or
    /// payload.
    pub fn echo() -> Arc<Self> {
        let (runtime, mut handle) = Self::new();
        tokio::spawn(async move {
            while let Some(mut worker) = handle.spawned.recv().await {
                worker.ready();
                tokio::spawn(worker.echo_all());
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

    /// Makes the next reload fail before any worker is spawned.
    pub fn fail_reload(&self, message: &str) {
        *lock(&self.broken_reload) = Some(message.to_owned());
    }

    /// How often a spawn was asked for.
    pub fn spawns(&self) -> u32 {
        self.spawns.load(Ordering::SeqCst)
    }
}

impl MockWorkerHandle {
    /// Lets the worker become ready.
    pub fn ready(&mut self) {
        self.finish_boot(BootStep::Ready);
    }

    /// Lets its boot fail.
    pub fn fail_boot(&mut self, message: &str) {
        self.finish_boot(BootStep::Fail(BootError::new(message)));
    }

    /// Lets its boot fail in a way that trying again will not cure.
    pub fn fail_boot_for_good(&mut self, message: &str) {
        self.finish_boot(BootStep::Fail(BootError::permanent(message)));
    }

    /// Makes the wait for its readiness panic.
    pub fn panic_in_boot(&mut self) {
        self.finish_boot(BootStep::Panic);
    }

    fn finish_boot(&mut self, step: BootStep) {
        let ready = self.ready.take().expect("the boot is not finished yet");
        // The supervisor may have given it up.
        let _given_up = ready.send(step);
    }

    /// The next request it is given.
    pub async fn running(&mut self) -> MockRun {
        let slot = self.spec.slot;
        let run = self.runs.recv();
        within(&format!("a request for slot {slot}"), run).await.expect("the worker is there")
    }

    /// Answers every request with what it was called with, until the worker is gone.
    pub async fn echo_all(mut self) {
        while let Some(run) = self.runs.recv().await {
            run.echo();
        }
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
        *lock(&self.faults.memory) = Some(bytes);
    }

    /// Sets what it will have said when the server ends it.
    pub fn set_last_words(&self, words: &str) {
        words.clone_into(&mut lock(&self.faults.last_words));
    }

    /// Makes it ignore being ended.
    pub fn hang_in_terminate(&self) {
        self.faults.hang_terminate.store(true, Ordering::SeqCst);
    }

    /// Makes its end panic, as a faulty runtime would.
    pub fn panic_in_terminate(&self) {
        self.faults.panic_terminate.store(true, Ordering::SeqCst);
    }

    /// Makes the wait for its death panic: now, when it is idle.
    pub fn panic_when_idle(&self) {
        self.panic_idle.send_replace(true);
    }

    /// Makes every call of its control panic.
    pub fn panic_in_control(&self) {
        self.faults.panic_control.store(true, Ordering::SeqCst);
    }

    /// Makes `execute` go on although it is killed, as a runtime would that lost its process.
    pub fn outlive_kill(&self) {
        self.faults.outlive_kill.store(true, Ordering::SeqCst);
    }

    /// Waits until the server ends it, and says how.
    pub async fn ended(&mut self) -> Ended {
        let mut ended = self.ended.clone();
        let ended = within("its end", ended.wait_for(|ended| *ended != Ended::No)).await;
        ended.map_or(Ended::Dropped, |ended| *ended)
    }

    /// Whether the server let go of it without waiting for its end.
    pub fn is_dropped(&self) -> bool {
        self.ended.has_changed().is_err()
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
        let (panic_idle, panics) = watch::channel(false);
        let faults = Arc::<Faults>::default();
        let pid = self.pids.fetch_add(1, Ordering::SeqCst);
        let control = Arc::new(MockControl {
            pid,
            soft_stop: self.soft_stop,
            soft: soft_tx,
            ended: ended_tx,
            exit: exit_tx.clone(),
            faults: Arc::clone(&faults),
        });
        let handle = MockWorkerHandle {
            spec: spec.clone(),
            pid,
            ready: Some(ready_tx),
            runs,
            exit: exit_tx,
            panic_idle,
            ended,
            faults: Arc::clone(&faults),
        };
        // The test may be over.
        let _test_over = self.spawned.send(handle);
        Ok(Box::new(MockWorker {
            control,
            ready: Some(ready),
            runs: runs_tx,
            exit,
            panics,
            faults,
            recyclable: self.recyclable,
        }))
    }

    async fn reload(&self, _generation: u64) -> Result<(), BootError> {
        lock(&self.broken_reload).take().map_or(Ok(()), |message| Err(BootError::new(message)))
    }
}

struct MockWorker {
    control: Arc<MockControl>,
    ready: Option<oneshot::Receiver<BootStep>>,
    runs: mpsc::UnboundedSender<MockRun>,
    exit: watch::Receiver<Option<Exit>>,
    panics: watch::Receiver<bool>,
    faults: Arc<Faults>,
    recyclable: bool,
}

struct MockControl {
    pid: u32,
    soft_stop: bool,
    soft: watch::Sender<bool>,
    ended: watch::Sender<Ended>,
    exit: watch::Sender<Option<Exit>>,
    faults: Arc<Faults>,
}

impl MockControl {
    fn panic_if_told(&self) {
        assert!(
            !self.faults.panic_control.load(Ordering::SeqCst),
            "the mock control panics as told"
        );
    }

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
        self.panic_if_told();
        Some(self.pid)
    }

    fn soft_stop(&self) -> bool {
        self.panic_if_told();
        self.soft.send_replace(true);
        self.soft_stop
    }

    fn kill(&self) {
        self.end(Ended::Killed);
        self.panic_if_told();
        if !self.faults.outlive_kill.load(Ordering::SeqCst) {
            let last_words = lock(&self.faults.last_words).clone();
            self.exit.send_replace(Some(Exit { kind: ExitKind::Signal(9), last_words }));
        }
    }

    fn memory(&self) -> Option<u64> {
        self.panic_if_told();
        *lock(&self.faults.memory)
    }
}

#[async_trait]
impl Worker for MockWorker {
    fn control(&self) -> Arc<dyn WorkerControl> {
        Arc::clone(&self.control) as _
    }

    async fn ready(&mut self) -> Result<(), BootError> {
        match self.ready.take() {
            Some(ready) => match ready.await {
                Ok(BootStep::Ready) => Ok(()),
                Ok(BootStep::Fail(error)) => Err(error),
                Ok(BootStep::Panic) => panic!("the mock boot panics as told"),
                Err(_) => Err(BootError::new("the test let go of it")),
            },
            None => Ok(()),
        }
    }

    async fn execute(&mut self, job: Box<Job>) -> Outcome {
        if let Some(exit) = self.exit.borrow().clone() {
            return Outcome::NotTaken { job, why: NotTaken::Died(exit) };
        }
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
        let mut panics = self.panics.clone();
        let exit = tokio::select! {
            Ok(_) = panics.wait_for(|panics| *panics) => panic!("the mock worker panics as told"),
            exit = self.exit.wait_for(Option::is_some) => exit.map(|exit| exit.clone()),
        };
        match exit {
            Ok(Some(exit)) => exit,
            _ => std::future::pending().await,
        }
    }

    async fn terminate(&mut self, grace: Duration) -> Exit {
        self.control.end(if grace.is_zero() { Ended::Killed } else { Ended::Asked });
        if self.faults.hang_terminate.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let told = self.faults.panic_terminate.load(Ordering::SeqCst);
        assert!(!told, "the mock worker panics as told");
        Exit { kind: ExitKind::Code(0), last_words: lock(&self.faults.last_words).clone() }
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
    match tokio::time::timeout(Duration::from_secs(600), Box::pin(future)).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
