//! What a pool is told.

use std::time::Duration;

use crate::slot::recycle::RecycleLimits;
use crate::slot::state::SlotLimits;

/// How many workers a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// At least so many.
    pub min: usize,
    /// At most so many.
    pub max: usize,
}

impl Workers {
    /// So many, always.
    pub fn fixed(count: usize) -> Self {
        Self { min: count, max: count }
    }

    /// The slots to have. A pool has all it may have; growing and shrinking between the bounds
    /// comes with its own signal.
    pub(crate) fn slots(self) -> usize {
        self.max.max(1)
    }
}

/// The settings of a pool. The keys of `[pools.NAME]` and their defaults are in
/// [`crate::config::pool`].
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Its name.
    pub name: String,
    /// How many workers.
    pub workers: Workers,
    /// How long a worker may take to become ready.
    pub boot_timeout: Duration,
    /// How long a request may take, from admission on.
    pub exec_timeout: Duration,
    /// Between the soft stop of a late request and the kill of its worker.
    pub soft_timeout_grace: Duration,
    /// How long a worker may take to end when it is asked to.
    pub terminate_grace: Duration,
    /// Requests after which a worker is replaced; 0 for no limit.
    pub max_jobs: u64,
    /// Age at which a worker is replaced; zero for no limit.
    pub ttl: Duration,
    /// Time without a request after which a worker is replaced; zero for no limit.
    pub idle_ttl: Duration,
    /// Resident memory in bytes above which a worker is replaced; 0 for no limit.
    pub max_memory: u64,
    /// Requests that may wait for a worker.
    pub queue_max: usize,
    /// How long one may wait.
    pub queue_timeout: Duration,
    /// Whether a running request is stopped when its caller leaves; otherwise it is finished.
    pub cancel_abandoned: bool,
}

impl PoolSettings {
    /// A pool of so many workers with the default limits.
    pub fn new(name: impl Into<String>, workers: usize) -> Self {
        Self {
            name: name.into(),
            workers: Workers::fixed(workers),
            boot_timeout: Duration::from_secs(30),
            exec_timeout: Duration::from_secs(30),
            soft_timeout_grace: Duration::from_secs(2),
            terminate_grace: Duration::from_secs(10),
            max_jobs: 1000,
            ttl: Duration::from_secs(3600),
            idle_ttl: Duration::ZERO,
            max_memory: 256 << 20,
            queue_max: 1024,
            queue_timeout: Duration::from_secs(5),
            cancel_abandoned: false,
        }
    }

    pub(crate) fn slot_limits(&self) -> SlotLimits {
        SlotLimits {
            recycle: RecycleLimits {
                max_jobs: self.max_jobs,
                ttl: self.ttl,
                idle_ttl: self.idle_ttl,
                max_memory: self.max_memory,
            },
            soft_timeout_grace: self.soft_timeout_grace,
            kill_grace: Duration::from_secs(2),
            settle: Duration::from_secs(5),
        }
    }
}
