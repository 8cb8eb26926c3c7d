//! What a folk plugin or a folk runtime is written against.
//!
//! This crate holds values and traits and does no I/O: no tokio runtime, no sockets. A plugin
//! depends on it alone and reaches PHP through [`Executor`]; a runtime implements [`Runtime`] and
//! [`Worker`] and is driven by the pool.
//!
//! ```text
//! plugin ── Executor::execute(Request, Deadline) ──▶ pool ── Worker::execute(Job) ──▶ PHP
//!        ◀──────────── Response (streaming body) ◀──────────── Job::reply ◀──────────
//! ```
//!
//! Where to start: [`plugin`] for plugin authors, [`runtime`] for runtime authors, [`error`] for
//! the table that says whose fault an error is, whether it may be retried, and what becomes of the
//! worker.

pub mod body;
pub mod config;
pub mod deadline;
pub mod error;
pub mod events;
pub mod executor;
pub mod health;
pub mod job;
pub mod lifecycle;
pub mod metrics;
pub mod one_line;
pub mod plugin;
pub mod request;
pub mod response;
pub mod rpc;
pub mod runtime;
pub mod units;

pub use body::{Body, BodyError, BodySender};
pub use deadline::Deadline;
pub use error::Error;
pub use executor::Executor;
pub use job::{Answer, Job, Reply};
pub use one_line::OneLine;
pub use plugin::Plugin;
pub use request::{HttpRequest, MethodCall, Request, RequestId, Task};
pub use response::Response;
pub use runtime::{BootError, Exit, Outcome, Runtime, Worker, WorkerControl, WorkerSpec};

/// The version of this crate, which is the version of the plugin contract.
pub const FOLK_API_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What plugin authors write implementations with, so that they need not name these crates.
pub use {anyhow, async_trait::async_trait, bytes, http, http_body, serde, serde_json};
