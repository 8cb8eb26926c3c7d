//! Waiting for something to become true, with an end to it.

use std::time::Duration;

use tokio::time::Instant;

/// Longer than anything here takes; a story that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long until the next look.
const STEP: Duration = Duration::from_millis(3);

/// Looks until there is something to see. `what` names what was waited for in vain.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        pause(STEP);
    }
}

/// Lets time pass, where time is what the story is about.
#[expect(clippy::disallowed_methods, reason = "the stories run in plain threads")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
