//! How workers are made and spoken to.
//!
//! A [`Runtime`] makes [`Worker`]s; the supervisor of a slot is the only one who holds a worker.
//! The order of calls is fixed:
//!
//! ```text
//! Runtime::spawn ─▶ Worker::ready ─▶ ( Worker::execute | Worker::died )* ─▶ Worker::terminate
//! ```
//!
//! `spawn` and `ready` together have the boot timeout. While no request runs, the supervisor waits
//! in [`Worker::died`]. [`Worker::control`] works beside a running `execute`: it is how a request
//! that passed its deadline is stopped, softly first and then by force. Dropping a worker kills
//! its process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, Job, Request};

/// Makes workers of one kind for one pool.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// The runtime's name in logs and status: `process`, `embed`.
    fn name(&self) -> &'static str;

    /// Whether [`prepare`](Self::prepare) has anything to do for `request`. Called for every
    /// request, so that the common case costs nothing.
    fn needs_preparation(&self, request: &Request) -> bool {
        let _ = request;
        false
    }

    /// Makes a request ready for a worker before it competes for one: reads a body that the worker
    /// needs whole, so that a slow client holds no worker. Runs within the request's deadline.
    async fn prepare(&self, request: Request) -> Result<Request, Error> {
        Ok(request)
    }

    /// Starts a worker. It need not be able to take requests yet: [`Worker::ready`] waits for that.
    async fn spawn(&self, spec: &WorkerSpec) -> Result<Box<dyn Worker>, BootError>;

    /// Called once a generation, before its first worker is spawned.
    async fn reload(&self, generation: u64) -> Result<(), BootError> {
        let _ = generation;
        Ok(())
    }
}

/// Which worker is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSpec {
    /// The pool it is for.
    pub pool: String,
    /// The slot it is for, from 0.
    pub slot: u32,
    /// The generation it boots from, from 1.
    pub generation: u64,
    /// How many workers the pool made before; unique within it.
    pub serial: u64,
}

/// One worker: one PHP process, one request at a time.
#[async_trait]
pub trait Worker: Send {
    /// A handle that works while [`execute`](Self::execute) runs.
    fn control(&self) -> Arc<dyn WorkerControl>;

    /// Waits until it can take requests. Bounded from outside by the boot timeout.
    async fn ready(&mut self) -> Result<(), BootError>;

    /// Runs one request and answers it through `job.reply`. Returns once the worker can take the
    /// next one, which may be later than the answer: a streamed body goes on after it.
    ///
    /// Not cancel-safe: a worker whose `execute` was dropped is terminated.
    async fn execute(&mut self, job: Box<Job>) -> Outcome;

    /// Waits until the worker dies on its own. Cancel-safe; called while it is idle. A worker that
    /// speaks without being asked counts as dead.
    async fn died(&mut self) -> Exit;

    /// Asks it to end, and ends it by force after `grace`. Returns when it is gone and reaped.
    async fn terminate(&mut self, grace: Duration) -> Exit;

    /// Whether it may be replaced (max_jobs, ttl, memory, reload). One that may not is left alone
    /// by all of them, and named so in the status.
    fn is_recyclable(&self) -> bool {
        true
    }
}

/// What can be done to a worker from beside it.
pub trait WorkerControl: Send + Sync {
    /// Its process, where it has one.
    fn pid(&self) -> Option<u32>;

    /// Asks the running request to end, so that destructors and shutdown functions run. Returns
    /// whether this runtime can; where it cannot, the grace is skipped.
    fn soft_stop(&self) -> bool;

    /// Ends the worker's whole process group at once.
    fn kill(&self);

    /// Its resident memory in bytes, where that can be told.
    fn memory(&self) -> Option<u64>;
}

/// How a call of [`Worker::execute`] ended, seen from the slot.
#[derive(Debug)]
pub enum Outcome {
    /// Answered; the worker takes the next request.
    Done,
    /// Answered; the worker asked to be replaced.
    DoneAndStop,
    /// Nothing of the request was run and its body is untouched: it may go to another worker.
    /// This one is replaced.
    NotTaken {
        /// The request, as it came.
        job: Box<Job>,
        /// Why.
        why: NotTaken,
    },
    /// The worker is of no use any more. The error is the answer, unless one was given before.
    Failed(Error),
}

/// Why a worker did not take a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// It asked to be stopped instead.
    Stopping,
    /// It was dead already.
    Died(Exit),
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// What ended it.
    pub kind: ExitKind,
    /// The last lines it wrote to standard error or output; empty when it wrote none.
    pub last_words: String,
}

/// What ended a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It closed its connection and was killed for it.
    Hangup,
    /// It spoke without being asked, or nonsense, and was killed for it.
    Garbage,
    /// It is gone; how is not known.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ExitKind::Code(code) => write!(f, "exited with code {code}")?,
            ExitKind::Signal(signal) => write!(f, "killed by signal {signal}")?,
            ExitKind::Hangup => f.write_str("closed its connection")?,
            ExitKind::Garbage => f.write_str("spoke out of turn")?,
            ExitKind::Unknown => f.write_str("gone")?,
        }
        match self.last_words.trim() {
            "" => Ok(()),
            words => write!(f, "; it said: {words}"),
        }
    }
}

/// Why a worker could not be booted. The text names the cause and carries PHP's own message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BootError {
    /// Cause and, where there is one, the cure.
    pub message: String,
    /// Whether trying again can help: a missing script may appear, a wrong setting will not.
    pub permanent: bool,
}

impl BootError {
    /// A failure that may pass.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), permanent: false }
    }

    /// A failure that trying again will not cure.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), permanent: true }
    }
}
