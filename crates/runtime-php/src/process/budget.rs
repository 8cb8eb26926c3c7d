//! What requests may hold of something scarce, all together: memory for forms, disk for answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use folk_api::Error;
use folk_api::error::BusyReason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted as one, in bytes.
const UNIT: u64 = 1024;
/// When a request that found nothing left should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// So many bytes for all requests of a runtime.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    bytes: u64,
    said: Arc<AtomicBool>,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX);
        let units = Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS)));
        Self { units, bytes, said: Arc::default() }
    }

    /// The share of one request, empty as yet.
    pub(crate) fn share(&self) -> Share {
        Share { budget: self.clone(), held: None, bytes: 0 }
    }
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    held: Option<OwnedSemaphorePermit>,
    bytes: u64,
}

impl Share {
    /// Takes `more` bytes, unless that is more than there is left.
    pub(crate) fn try_add(&mut self, more: u64) -> bool {
        let bytes = self.bytes.saturating_add(more);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) as u64;
        let missing = bytes.div_ceil(UNIT).saturating_sub(held);
        if missing > 0 {
            let Ok(missing) = u32::try_from(missing) else { return false };
            let units = Arc::clone(&self.budget.units);
            let Ok(taken) = units.try_acquire_many_owned(missing) else { return false };
            match &mut self.held {
                Some(held) => held.merge(taken),
                None => self.held = Some(taken),
            }
        }
        self.bytes = bytes;
        true
    }

    /// The same for what a request needs before it gets to a worker.
    ///
    /// # Errors
    ///
    /// There is not that much left. It is for the others, so the request may come again.
    pub(crate) fn add(&mut self, more: u64) -> Result<(), Error> {
        if self.try_add(more) {
            return Ok(());
        }
        if !self.budget.said.swap(true, Ordering::Relaxed) {
            let bytes = self.budget.bytes;
            tracing::warn!(
                "bodies of waiting requests fill the {bytes} bytes of memory that are for them; \
                 more of them are refused until some are answered, and this is said once"
            );
        }
        Err(Error::Busy { reason: BusyReason::QueueFull, retry_after: RETRY_AFTER })
    }

    /// Takes what is missing to `total` bytes.
    pub(crate) fn cover(&mut self, total: usize) -> Result<(), Error> {
        self.add((total as u64).saturating_sub(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_request_holds_another_cannot_take_until_it_is_dropped() {
        let budget = Budget::new(10 * UNIT);
        let mut first = budget.share();
        for _ in 0..8 * UNIT {
            assert!(first.try_add(1), "bytes are counted, not calls");
        }
        let mut second = budget.share();
        assert!(second.try_add(2 * UNIT));
        let refused = second.add(1).unwrap_err();
        assert!(matches!(refused, Error::Busy { .. }), "{refused}");
        first.cover(8 * UNIT as usize).unwrap();
        drop(first);
        assert!(second.try_add(8 * UNIT));
        assert!(!second.try_add(u64::MAX));
    }
}
