//! When a worker is replaced on purpose.

use std::time::Duration;

use tokio::time::Instant;

use super::exit::Reason;

/// The limits of a pool's workers. Zero means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RecycleLimits {
    pub(crate) max_jobs: u64,
    pub(crate) ttl: Duration,
    pub(crate) idle_ttl: Duration,
    pub(crate) max_memory: u64,
}

/// One worker's own limits: those of the pool, each lowered by up to a tenth, so that workers
/// booted together are not replaced together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiry {
    max_jobs: Option<u64>,
    dies_at: Option<Instant>,
    idle_ttl: Option<Duration>,
    max_memory: Option<u64>,
}

impl Expiry {
    pub(crate) fn new(limits: &RecycleLimits, now: Instant, rng: &mut fastrand::Rng) -> Self {
        let mut lowered = || 1.0 - 0.1 * rng.f64();
        let max_jobs = (limits.max_jobs as f64 * lowered()).ceil() as u64;
        let ttl = limits.ttl.mul_f64(lowered());
        let idle_ttl = limits.idle_ttl.mul_f64(lowered());
        Self {
            max_jobs: (limits.max_jobs > 0).then_some(max_jobs.max(1)),
            dies_at: (!limits.ttl.is_zero()).then(|| now + ttl),
            idle_ttl: (!limits.idle_ttl.is_zero()).then_some(idle_ttl),
            // Memory needs no jitter: no two workers grow alike.
            max_memory: (limits.max_memory > 0).then_some(limits.max_memory),
        }
    }

    /// Whether the worker is due after having finished its `jobs`th request.
    pub(crate) fn after_job(&self, jobs: u64, memory: Option<u64>, now: Instant) -> Option<Reason> {
        if let (Some(limit), Some(memory)) = (self.max_memory, memory)
            && memory > limit
        {
            return Some(Reason::MaxMemory);
        }
        if self.max_jobs.is_some_and(|limit| jobs >= limit) {
            return Some(Reason::MaxJobs);
        }
        self.dies_at.is_some_and(|at| at <= now).then_some(Reason::Ttl)
    }

    /// Whether a worker that is idle since `since` is due.
    pub(crate) fn while_idle(&self, since: Instant, now: Instant) -> Option<Reason> {
        if self.dies_at.is_some_and(|at| at <= now) {
            return Some(Reason::Ttl);
        }
        self.idle_ttl.is_some_and(|ttl| since + ttl <= now).then_some(Reason::IdleTtl)
    }

    /// When [`while_idle`](Self::while_idle) will first say so.
    pub(crate) fn idle_deadline(&self, since: Instant) -> Option<Instant> {
        self.dies_at.into_iter().chain(self.idle_ttl.map(|ttl| since + ttl)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_no_limit() {
        let now = Instant::now();
        let expiry = Expiry::new(&RecycleLimits::default(), now, &mut fastrand::Rng::with_seed(1));
        let later = now + Duration::from_secs(86_400 * 30);
        assert_eq!(expiry.after_job(u64::MAX, Some(u64::MAX), later), None);
        assert_eq!(expiry.while_idle(now, later), None);
        assert_eq!(expiry.idle_deadline(now), None);
    }

    #[test]
    fn workers_booted_together_are_not_due_together() {
        let now = Instant::now();
        let limits = RecycleLimits {
            max_jobs: 1000,
            ttl: Duration::from_secs(3600),
            ..RecycleLimits::default()
        };
        let mut rng = fastrand::Rng::with_seed(2);
        let fleet: Vec<_> = (0..16).map(|_| Expiry::new(&limits, now, &mut rng)).collect();
        let jobs: std::collections::BTreeSet<_> = fleet.iter().map(|e| e.max_jobs).collect();
        let ends: std::collections::BTreeSet<_> = fleet.iter().map(|e| e.dies_at).collect();
        assert!(jobs.len() > 8 && ends.len() > 8, "{jobs:?}");
        assert!(jobs.iter().flatten().all(|jobs| (900..=1000).contains(jobs)), "{jobs:?}");
    }
}
