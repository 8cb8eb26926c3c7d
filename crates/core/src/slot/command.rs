//! What others ask of a slot.

use folk_api::BootError;
use tokio::sync::oneshot;

use super::exit::Reason;

/// What others ask of a slot.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve this generation; the answer comes once a worker of it serves, or failed to boot.
    Reload {
        /// The generation.
        generation: u64,
        /// Where the outcome goes.
        done: oneshot::Sender<Result<(), BootError>>,
    },
    /// Replace the worker.
    Recycle(Reason),
    /// End once the running request is finished.
    Drain,
    /// End now.
    Stop,
}

/// Commands a slot holds before its supervisor comes to them. Reloads are serialised by the pool,
/// so more than a few at once is a fault of the sender, who is told.
pub(crate) const COMMANDS: usize = 16;
