//! The handle of a worker, made safe to call.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use folk_api::WorkerControl;

/// A worker's [`WorkerControl`] whose panics end at the call: a fault of a runtime must not end
/// the slot's supervisor. What panics counts as what the runtime cannot do.
#[derive(Clone)]
pub(crate) struct Control(Arc<dyn WorkerControl>);

impl Control {
    pub(crate) fn new(control: Arc<dyn WorkerControl>) -> Self {
        Self(control)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.contained("pid", |control| control.pid()).flatten()
    }

    pub(crate) fn soft_stop(&self) -> bool {
        self.contained("soft_stop", |control| control.soft_stop()).unwrap_or(false)
    }

    pub(crate) fn kill(&self) {
        self.contained("kill", |control| control.kill());
    }

    pub(crate) fn memory(&self) -> Option<u64> {
        self.contained("memory", |control| control.memory()).flatten()
    }

    fn contained<T>(&self, what: &str, call: impl FnOnce(&dyn WorkerControl) -> T) -> Option<T> {
        let called = catch_unwind(AssertUnwindSafe(|| call(&*self.0)));
        if called.is_err() {
            tracing::error!(target: "folk::pool", what, "the runtime panicked");
        }
        called.ok()
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Control")
    }
}
