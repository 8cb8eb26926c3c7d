//! Why a request was not answered by the application, in one table.
//!
//! | error | fault | retry elsewhere | worker |
//! |---|---|---|---|
//! | [`Busy`](Error::Busy) | load | later | untouched |
//! | [`BootFailed`](Error::BootFailed) | application | no | backoff |
//! | [`Timeout`](Error::Timeout) | application | no | replaced |
//! | [`NotTaken`](Error::NotTaken) | nobody | yes, once, any method | replaced |
//! | [`Died`](Error::Died) | application | no | replaced |
//! | [`Application`](Error::Application) | application | no | kept |
//! | [`Protocol`](Error::Protocol) | runtime | no | replaced |
//! | [`Runtime`](Error::Runtime) | runtime | no | replaced |
//! | [`BadRequest`](Error::BadRequest) | client | no | untouched |
//! | [`Body`](Error::Body) | client | no | untouched |
//! | [`Storage`](Error::Storage) | server | later | untouched |
//! | [`ClientGone`](Error::ClientGone) | client | no | untouched |
//! | [`ShuttingDown`](Error::ShuttingDown) | server | another instance | untouched |
//!
//! The HTTP plugin maps the same table to statuses; see its `respond` module.

use std::time::Duration;

use crate::body::BodyError;

/// Why a request got no answer from the application.
///
/// Messages are lowercase fragments that fit after "failed to …: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pool takes no more: its queue is full, or the request waited in it for too long.
    #[error("pool is busy: {reason}")]
    Busy {
        /// Which of the two bounds was reached.
        reason: BusyReason,
        /// When another try is sensible.
        retry_after: Duration,
    },
    /// No worker of the pool can boot; the text is PHP's own.
    #[error("no worker could boot: {0}")]
    BootFailed(String),
    /// The request's deadline passed before the application answered.
    #[error("deadline passed: {0}")]
    Timeout(TimeoutPhase),
    /// The worker died before it took the request. The pool retries this once, so a plugin sees
    /// it only when that failed as well.
    #[error("worker died before it took the request: {0}")]
    NotTaken(String),
    /// The worker died while it ran the request.
    #[error("worker died while it ran the request: {0}")]
    Died(String),
    /// The application refused or failed, and said so; the worker is fine.
    #[error("application error: {message}")]
    Application {
        /// The application's own code, when it gave one; HTTP uses it when it is a status.
        code: Option<u16>,
        /// The application's own text.
        message: String,
    },
    /// The worker broke the protocol.
    #[error("worker broke the protocol: {0}")]
    Protocol(String),
    /// The runtime itself failed: it panicked, or the system refused it something.
    #[error("runtime failed: {0}")]
    Runtime(String),
    /// The request cannot be handed to the application as it stands.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// The request's body could not be read to its end.
    #[error("request body: {0}")]
    Body(#[from] BodyError),
    /// The server could not store what the request carries.
    #[error("cannot store the request: {0}")]
    Storage(String),
    /// Nobody waits for the answer any more.
    #[error("the client went away")]
    ClientGone,
    /// The server drains and takes no new work.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Which bound of the pool's queue was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BusyReason {
    /// `queue.max` requests wait already.
    #[error("its queue is full")]
    QueueFull,
    /// The request waited for `queue.timeout`.
    #[error("no worker came free in time")]
    WaitedTooLong,
}

/// Where the deadline caught the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeoutPhase {
    /// It was still waiting for a worker.
    #[error("no worker came free before it")]
    Queued,
    /// A worker was running it; that worker is stopped and replaced.
    #[error("the application did not answer in time")]
    Running,
}

/// Whose fault an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Too much work for the workers there are.
    Load,
    /// The PHP application.
    Application,
    /// The code between the server and PHP.
    Runtime,
    /// Whoever sent the request.
    Client,
    /// The server or its machine.
    Server,
    /// Nobody: a race that the pool resolves.
    Nobody,
}

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No: it may have had effects, or it would fail again.
    Never,
    /// At once on another worker, once: nothing of it was run.
    ElsewhereOnce,
    /// Here, later.
    Later,
    /// On another instance of the service.
    OtherInstance,
}

/// What becomes of the worker that was involved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerFate {
    /// It goes on; or none was involved.
    Kept,
    /// It is stopped and another takes its slot.
    Replaced,
}

impl Error {
    /// Whose fault this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Busy { .. } => Fault::Load,
            Self::BootFailed(_)
            | Self::Timeout(TimeoutPhase::Running)
            | Self::Died(_)
            | Self::Application { .. } => Fault::Application,
            Self::Timeout(TimeoutPhase::Queued) => Fault::Load,
            Self::Protocol(_) | Self::Runtime(_) => Fault::Runtime,
            Self::BadRequest(_) | Self::Body(_) | Self::ClientGone => Fault::Client,
            Self::Storage(_) | Self::ShuttingDown => Fault::Server,
            Self::NotTaken(_) => Fault::Nobody,
        }
    }

    /// Whether the same request may be sent again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotTaken(_) => Retry::ElsewhereOnce,
            Self::Busy { .. } | Self::Storage(_) | Self::Timeout(TimeoutPhase::Queued) => {
                Retry::Later
            }
            Self::ShuttingDown => Retry::OtherInstance,
            Self::BootFailed(_)
            | Self::Timeout(TimeoutPhase::Running)
            | Self::Died(_)
            | Self::Application { .. }
            | Self::Protocol(_)
            | Self::Runtime(_)
            | Self::BadRequest(_)
            | Self::Body(_)
            | Self::ClientGone => Retry::Never,
        }
    }

    /// What becomes of the worker.
    pub fn worker(&self) -> WorkerFate {
        match self {
            Self::Timeout(TimeoutPhase::Running)
            | Self::NotTaken(_)
            | Self::Died(_)
            | Self::Protocol(_)
            | Self::Runtime(_) => WorkerFate::Replaced,
            Self::Busy { .. }
            | Self::BootFailed(_)
            | Self::Timeout(TimeoutPhase::Queued)
            | Self::Application { .. }
            | Self::BadRequest(_)
            | Self::Body(_)
            | Self::Storage(_)
            | Self::ClientGone
            | Self::ShuttingDown => WorkerFate::Kept,
        }
    }

    /// The `outcome` label of metrics and access logs: a small fixed set of words.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "busy",
            Self::BootFailed(_) => "boot_failed",
            Self::Timeout(_) => "timeout",
            Self::NotTaken(_) => "not_taken",
            Self::Died(_) => "died",
            Self::Application { .. } => "application",
            Self::Protocol(_) => "protocol",
            Self::Runtime(_) => "runtime",
            Self::BadRequest(_) => "bad_request",
            Self::Body(_) => "body",
            Self::Storage(_) => "storage",
            Self::ClientGone => "client_gone",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
