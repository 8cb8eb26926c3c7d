//! The boot of a worker, and the worker that comes of it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use folk_api::{BootError, Worker, WorkerSpec};
use tokio::time::Instant;

use super::contain::{contained, panic_text};
use super::control::Control;
use crate::pool::PoolShared;

/// Beyond its own grace, how long the runtime may take to end a worker.
pub(crate) const TERMINATE_MARGIN: Duration = Duration::from_secs(5);

/// A worker that takes requests, or soon will.
pub(crate) struct Held {
    pub(crate) worker: Box<dyn Worker>,
    pub(crate) control: Control,
    pub(crate) recyclable: bool,
    pub(crate) pid: Option<u32>,
    pub(crate) generation: u64,
    pub(crate) boot: Duration,
}

pub(crate) type BootFuture = Pin<Box<dyn Future<Output = Result<Held, BootError>> + Send>>;

/// Boots a worker within the boot timeout.
pub(crate) async fn boot(pool: Arc<PoolShared>, spec: WorkerSpec) -> Result<Held, BootError> {
    let started = Instant::now();
    let deadline = started + pool.boot_timeout;
    let late = || {
        let timeout = folk_api::units::HumanDuration(pool.boot_timeout);
        format!("was not ready within {timeout}; raise boot_timeout if it needs longer")
    };
    let spawning = contained(pool.runtime.spawn(&spec));
    let mut worker = match tokio::time::timeout_at(deadline, spawning).await {
        Ok(spawned) => spawned.map_err(runtime_panicked)??,
        Err(_elapsed) => return Err(BootError::new(format!("the worker {}", late()))),
    };
    let readying = tokio::time::timeout_at(deadline, contained(worker.ready())).await;
    match readying {
        Ok(ready) => ready.map_err(runtime_panicked)??,
        Err(_elapsed) => {
            let ending = contained(worker.terminate(Duration::ZERO));
            let words = match tokio::time::timeout(TERMINATE_MARGIN, ending).await {
                Ok(Ok(exit)) if !exit.last_words.trim().is_empty() => {
                    format!("; it said: {}", exit.last_words.trim())
                }
                _ => String::new(),
            };
            return Err(BootError::new(format!("the worker {}{words}", late())));
        }
    }
    let looked = catch_unwind(AssertUnwindSafe(|| (worker.control(), worker.is_recyclable())));
    let (control, recyclable) = looked.map_err(|panic| runtime_panicked(panic_text(&*panic)))?;
    let control = Control::new(control);
    let (pid, generation) = (control.pid(), spec.generation);
    Ok(Held { worker, control, recyclable, pid, generation, boot: started.elapsed() })
}

fn runtime_panicked(message: impl std::fmt::Display) -> BootError {
    BootError::new(format!("the runtime panicked: {message}"))
}
