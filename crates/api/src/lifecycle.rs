//! The phases every part of the server goes through, as a value that can be awaited.

use tokio::sync::watch;

/// Where the server is in its life. Phases only ever move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Plugins bind and register; pools boot their first workers.
    Booting,
    /// Requests are taken.
    Serving,
    /// No new requests; what runs is finished.
    Draining,
    /// The grace is over or nothing runs any more: whatever is left is cut.
    Stopping,
}

/// A view of the current [`Phase`]; clones see the same server.
#[derive(Debug, Clone)]
pub struct Lifecycle(watch::Receiver<Phase>);

impl Lifecycle {
    /// A lifecycle and the sender that moves it.
    pub fn channel() -> (watch::Sender<Phase>, Self) {
        let (tx, rx) = watch::channel(Phase::Booting);
        (tx, Self(rx))
    }

    /// The phase right now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the server is in `phase` or a later one. Whoever moved the phases being gone
    /// counts as [`Phase::Stopping`].
    pub async fn reached(&self, phase: Phase) {
        let mut rx = self.0.clone();
        // An error means that the sender is gone, and with it the server.
        let _gone = rx.wait_for(|now| *now >= phase).await;
    }

    /// Waits until the server takes no more work.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until whatever is left is cut.
    pub async fn stopping(&self) {
        self.reached(Phase::Stopping).await;
    }
}
