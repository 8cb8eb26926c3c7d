//! One worker: its connection, its process, and the one request it runs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use folk_api::runtime::{Exit, ExitKind, NotTaken};
use folk_api::{BootError, Error, Job, Outcome, Worker, WorkerControl};
use folk_goridge::flags;

use super::answer::{self, BrokenOff, Taken};
use super::backlog::Backlog;
use super::monitor::Process;
use super::outgoing::{Payload, Unsent, body_of, encode, send};
use super::spawn::{Door, Started};
use super::wire::{Broken, Idle, Wire};
use super::{ProcessSettings, afterthought, handshake};

/// How long the end of a process that closed its connection is waited for, to tell how it ended.
const EXIT_PATIENCE: Duration = Duration::from_millis(200);
/// How long a killed process may take to be gone. Only one that hangs in the kernel takes longer.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How long the request to end may take to be written.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
/// A request beyond this many bytes may itself be what a worker fails over, by its memory limit.
const HEAVY: u64 = 1024 * 1024;
/// A send buffer that grew beyond this is given back after the request, in bytes.
const KEPT_BUFFER: usize = 256 * 1024;

/// What a worker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Folk,
    RoadRunner,
}

/// A worker of the process runtime.
pub(crate) struct ProcessWorker {
    settings: Arc<ProcessSettings>,
    backlog: Arc<Backlog>,
    process: Arc<Process>,
    state: State,
    outbox: BytesMut,
    /// The number of the last request, as its frame and its answer have it.
    tag: u8,
    /// How it ended, once that was found on the connection rather than by the process.
    fate: Option<Exit>,
}

enum State {
    /// Not met yet.
    Booting(Option<Door>),
    Ready {
        wire: Wire,
        dialect: Dialect,
        busy: bool,
    },
}

impl ProcessWorker {
    pub(crate) fn new(
        settings: Arc<ProcessSettings>,
        backlog: Arc<Backlog>,
        started: Started,
    ) -> Self {
        Self {
            settings,
            backlog,
            process: started.process,
            state: State::Booting(Some(started.door)),
            outbox: BytesMut::new(),
            tag: 0,
            fate: None,
        }
    }
}

impl Drop for ProcessWorker {
    fn drop(&mut self) {
        self.process.kill();
    }
}

#[async_trait]
impl Worker for ProcessWorker {
    fn control(&self) -> Arc<dyn WorkerControl> {
        Arc::clone(&self.process) as _
    }

    async fn ready(&mut self) -> Result<(), BootError> {
        let State::Booting(door) = &mut self.state else { return Ok(()) };
        let Some(door) = door.take() else {
            return Err(BootError::new("the wait for this worker was given up before"));
        };
        let (wire, dialect) = handshake::meet(door, &self.process, &self.settings).await?;
        self.state = State::Ready { wire, dialect, busy: false };
        Ok(())
    }

    async fn execute(&mut self, mut job: Box<Job>) -> Outcome {
        if job.reply.is_abandoned() {
            return Outcome::Done;
        }
        if let Some(exit) = self.found_dead().await {
            return Outcome::NotTaken { job, why: NotTaken::Died(exit) };
        }
        let State::Ready { wire, dialect, busy } = &mut self.state else {
            return Outcome::Failed(Error::Runtime(
                "a worker that was not ready got a request".into(),
            ));
        };
        *busy = true;
        let codec = self.settings.codec;
        let tag = match dialect {
            // Never zero, which is what a frame has that knows of no tags.
            Dialect::Folk => self.tag % u8::MAX + 1,
            Dialect::RoadRunner => 0,
        };
        self.tag = tag;
        let encoding = match encode(&job.request, *dialect, codec, tag, &mut self.outbox) {
            Ok(encoding) => encoding,
            Err(error) => {
                *busy = false;
                job.reply.send(Err(error));
                return Outcome::Done;
            }
        };
        let sent = send(wire, &self.outbox, body_of(&job.request)).await;
        if self.outbox.capacity() > KEPT_BUFFER {
            self.outbox = BytesMut::new();
        }
        if let Err(unsent) = sent {
            return self.not_delivered(job, unsent).await;
        }
        let taken = answer::receive(wire, &mut job, encoding, tag, &self.backlog).await;
        if let (Ok(Taken::Answered { server_error: true }), Dialect::RoadRunner) =
            (&taken, *dialect)
            && let Err(why) = afterthought::hear_out(wire, &self.process).await
        {
            return Outcome::Failed(why);
        }
        match taken {
            Ok(Taken::Answered { .. }) if wire.has_leftovers() => {
                Outcome::Failed(Error::Protocol("it answered more than it was asked".into()))
            }
            Ok(Taken::Answered { .. }) => {
                *busy = false;
                Outcome::Done
            }
            Ok(Taken::Stopping) => {
                *busy = false;
                Outcome::NotTaken { job, why: NotTaken::Stopping }
            }
            Err(broken) => self.broke_off(job, broken).await,
        }
    }

    async fn died(&mut self) -> Exit {
        if let Some(exit) = &self.fate {
            return exit.clone();
        }
        let process = Arc::clone(&self.process);
        let State::Ready { wire, .. } = &mut self.state else {
            return process.obituary(process.exited().await);
        };
        let shown = tokio::select! {
            kind = process.exited() => return process.obituary(kind),
            shown = wire.stirred() => shown,
        };
        self.condemn(shown).await
    }

    async fn terminate(&mut self, grace: Duration) -> Exit {
        if let Some(kind) = self.process.exit() {
            return self.obituary(kind);
        }
        // A worker in the middle of a request would not read the request to end.
        if let State::Ready { wire, busy: false, .. } = &mut self.state
            && !grace.is_zero()
        {
            let until = tokio::time::Instant::now() + grace;
            let ask = wire.write_frame(flags::CONTROL | flags::JSON, 0, b"{\"stop\":true}");
            // One that closed its connection is about to end by itself.
            if tokio::time::timeout(STOP_PATIENCE.min(grace), ask).await.is_ok() {
                let left = until.saturating_duration_since(tokio::time::Instant::now());
                if let Some(kind) = self.process.exited_within(left).await {
                    return self.obituary(kind);
                }
            }
        }
        self.process.kill();
        let kind = self.process.exited_within(KILL_PATIENCE).await;
        if kind.is_none() {
            let pid = self.process.id();
            tracing::error!(pid, "a killed worker is not gone; it hangs in the kernel");
        }
        self.obituary(kind.unwrap_or(ExitKind::Unknown))
    }
}

impl ProcessWorker {
    /// How it ended: what was found on the connection explains more than the kill that followed.
    fn obituary(&self, kind: ExitKind) -> Exit {
        self.fate.clone().unwrap_or_else(|| self.process.obituary(kind))
    }

    /// Looks, at the cost of no system call, whether the worker can still take a request.
    async fn found_dead(&mut self) -> Option<Exit> {
        if self.process.is_doomed() {
            let kind = self.process.exited_within(EXIT_PATIENCE).await;
            return Some(self.obituary(kind.unwrap_or(ExitKind::Unknown)));
        }
        let State::Ready { wire, .. } = &mut self.state else { return None };
        match wire.peek_idle() {
            Idle::Quiet => None,
            shown => Some(self.condemn(shown).await),
        }
    }

    /// Ends a worker whose idle connection showed something.
    async fn condemn(&mut self, shown: Idle) -> Exit {
        let exit = match shown {
            Idle::Spoke(said) => {
                Exit { kind: ExitKind::Garbage, last_words: format!("on its relay: {said:?}") }
            }
            Idle::Quiet | Idle::Closed => match self.process.exited_within(EXIT_PATIENCE).await {
                Some(kind) => return self.process.obituary(kind),
                None => self.process.obituary(ExitKind::Hangup),
            },
        };
        self.process.kill();
        self.fate = Some(exit.clone());
        exit
    }

    /// The request could not be written to its end, so nothing of it was run: a worker reads a
    /// whole frame before it begins.
    async fn not_delivered(&mut self, job: Box<Job>, unsent: Unsent) -> Outcome {
        match unsent {
            Unsent::Broken(Broken::Closed { .. }) => {
                let exit = self.end().await;
                give_back(job, exit)
            }
            Unsent::Broken(broken) => Outcome::Failed(fault(broken)),
            // Half a frame is written and cannot be taken back.
            Unsent::Body(error) => Outcome::Failed(error),
        }
    }

    async fn broke_off(&mut self, job: Box<Job>, mut broken: BrokenOff) -> Outcome {
        let error = match &broken.why {
            Broken::Closed { unread } => {
                let unread = *unread && !broken.begun;
                let exit = self.end().await;
                // The system says that it closed with part of the request unread: nothing of it
                // was run, as in `not_delivered`.
                if unread {
                    return give_back(job, exit);
                }
                Error::Died(exit.to_string())
            }
            Broken::Frame(_) | Broken::Protocol(_) | Broken::System(_) => {
                let why = std::mem::replace(&mut broken.why, Broken::Closed { unread: false });
                fault(why)
            }
        };
        broken.tell(&error).await;
        Outcome::Failed(error)
    }

    /// The end of a worker that closed its connection: killed, should it not end by itself.
    async fn end(&mut self) -> Exit {
        if let Some(kind) = self.process.exited_within(EXIT_PATIENCE).await {
            return self.process.obituary(kind);
        }
        self.process.kill();
        let exit = self.process.obituary(ExitKind::Hangup);
        self.fate = Some(exit.clone());
        exit
    }
}

/// A request of which nothing was run, for another worker. One that is heavy and whose worker
/// ended in a fatal error is not passed on: it would take the next one down as well.
fn give_back(job: Box<Job>, exit: Exit) -> Outcome {
    let length = match body_of(&job.request) {
        Payload::Memory(bytes) => bytes.len() as u64,
        Payload::File(spooled) => spooled.length,
    };
    if exit.kind == ExitKind::Code(255) && length > HEAVY {
        return Outcome::Failed(Error::Died(exit.to_string()));
    }
    Outcome::NotTaken { job, why: NotTaken::Died(exit) }
}

pub(crate) fn fault(broken: Broken) -> Error {
    match broken {
        Broken::Closed { .. } => Error::Died("closed its connection".into()),
        Broken::Frame(error) => Error::Protocol(error.to_string()),
        Broken::Protocol(what) => Error::Protocol(what),
        Broken::System(what) => Error::Runtime(format!("connection to the worker: {what}")),
    }
}
