//! What the transport of a connection and the requests on it tell each other.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use crate::head_copy::HeadCopy;
use crate::interim::Interim;

/// The state of one connection that both its transport and its requests see.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Wakes the connection's task, which is the same task for its whole life.
    task: OnceLock<Waker>,
    /// No further request is wanted on this connection.
    draining: AtomicBool,
    /// Requests whose answer is not complete yet.
    in_flight: AtomicU32,
    /// Requests there were; a changed number tells the transport that a new wait begins.
    begun: AtomicU64,
    /// Some of what the client sent is left unread on purpose; see `ConnectionIo::poll_shutdown`.
    unread: AtomicBool,
    /// 1xx responses on their way.
    pub(crate) interim: Interim,
    head: Mutex<HeadCopy>,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes note of the task that drives the connection.
    pub(crate) fn set_task(&self, waker: &Waker) {
        // Set before: by an earlier poll of the same task, so it is the same.
        let _same = self.task.set(waker.clone());
    }

    /// Has the connection's task look around.
    pub(crate) fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// Asks the connection to end after what is in flight.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// A request begins; the number is its own on this connection.
    pub(crate) fn begin(&self) -> u64 {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// A request's answer is complete, or given up.
    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Something the client sent will not be read.
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// What was received of the latest head.
    pub(crate) fn head(&self) -> MutexGuard<'_, HeadCopy> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
