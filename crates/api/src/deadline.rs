//! The one absolute point in time by which a request is answered.

use std::time::Duration;

use tokio::time::Instant;

/// The moment by which a request is answered, set once, at admission.
///
/// Absolute, so that waiting in a queue, preparing a body and running PHP all draw on the same
/// allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The longest allowance there is: no wait is without an end.
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

    /// A deadline `timeout` from now; at most a year away.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout.min(Self::FAR))
    }

    /// A deadline at `instant`.
    pub fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The moment itself.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// What is left of it; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.0 <= Instant::now()
    }

    /// The earlier of two.
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }
}
