//! How long to wait after boots that failed in a row.

use std::time::Duration;

/// Exponential backoff with jitter, and a count that tells when to stop hoping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);
    /// This many failures in a row make the slot count as failing, visibly: three tries take about
    /// half a second.
    const TRIPPED: u32 = 3;

    pub(crate) fn new() -> Self {
        Self { failures: 0 }
    }

    /// Notes a failure; how long to wait now: 100 ms doubling to 30 s, minus up to half.
    pub(crate) fn failed(&mut self, rng: &mut fastrand::Rng) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doublings = (self.failures - 1).min(16);
        let wait = (Self::FIRST * (1 << doublings)).min(Self::LONGEST);
        wait.mul_f64(1.0 - 0.5 * rng.f64())
    }

    /// Counts as many failures as it takes.
    pub(crate) fn trip(&mut self) {
        self.failures = self.failures.max(Self::TRIPPED);
    }

    /// Notes that a worker of this slot worked. While a successor is tried, that says nothing about
    /// boots: the failures count on.
    pub(crate) fn worked(&mut self, boots_nothing: bool) {
        if boots_nothing {
            self.succeeded();
        }
    }

    /// Notes a success.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn is_tripped(&self) -> bool {
        self.failures >= Self::TRIPPED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_thirty_seconds_and_are_never_equal() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..12).map(|_| backoff.failed(&mut rng)).collect();
        for (index, wait) in waits.iter().enumerate() {
            let full = (Duration::from_millis(100) * (1 << index)).min(Duration::from_secs(30));
            assert!(*wait <= full && *wait >= full / 2, "wait {index} is {wait:?}");
        }
        assert!(backoff.is_tripped());
        backoff.succeeded();
        assert!(!backoff.is_tripped());
        assert!(backoff.failed(&mut rng) <= Duration::from_millis(100));
    }
}
