//! What a slot machine is told, and what it answers.

use tokio::time::Instant;

use super::exit::Reason;

/// What happened to a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The slot begins.
    Start,
    /// The worker that was being booted is ready.
    Booted {
        /// Whether it may be replaced.
        recyclable: bool,
    },
    /// The worker that was being booted will not be.
    BootFailed,
    /// The current worker was given a request.
    Assigned {
        /// By when the request must be answered.
        deadline: Instant,
    },
    /// The current worker finished its request and is well.
    Finished {
        /// It asked to be replaced.
        wants_stop: bool,
        /// Its resident memory in bytes, where it was looked at.
        memory: Option<u64>,
    },
    /// The request that came was not started: its caller left, or its deadline passed on the way.
    Skipped,
    /// The current worker did not take its request: it asked to be stopped, or was dead already.
    NotTaken(Reason),
    /// The current worker is of no use any more.
    Broken(Reason),
    /// The idle slot is out of the rotation, as [`Action::Withdraw`] asked for.
    Withdrawn,
    /// The caller of the running request left, and the pool is to cancel then.
    Cancelled,
    /// The current worker cannot be stopped softly.
    CannotStopSoftly,
    /// The slot is to serve this generation.
    Reload {
        /// The generation, which may be an earlier one again when a reload was given up.
        generation: u64,
    },
    /// The current worker is to be replaced.
    Recycle(Reason),
    /// The slot is to end once its request is finished.
    Drain,
    /// The slot is to end now.
    Stop,
    /// Time passed.
    Tick,
}

/// What the supervisor does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Boot a worker of this generation.
    Spawn {
        /// The generation to boot from.
        generation: u64,
    },
    /// Give up the worker that is being booted, or waits booted as successor.
    CancelBoot,
    /// The booted worker becomes the current one.
    Promote,
    /// Put the slot into the rotation, or take the next queued request.
    Offer,
    /// Take the slot out of the rotation; [`Event::Withdrawn`] says that it worked. If it did not,
    /// a request is on its way and comes as [`Event::Assigned`].
    Withdraw,
    /// Let the current worker go: ask, wait, kill.
    Retire(Reason),
    /// Be rid of the current worker at once.
    Discard(Reason),
    /// Answer the running request: its deadline passed.
    AnswerTimeout,
    /// Ask the running request to end.
    SoftStop,
    /// Kill the current worker; it reports back as [`Event::Broken`].
    Kill,
    /// The slot has ended.
    End,
}

/// The few actions of one event, without an allocation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Actions {
    items: [Option<Action>; Self::MOST],
    len: usize,
}

impl Actions {
    /// No event asks for more: a deadline (answer, stop) or a hand-over (retire, promote, spawn,
    /// offer).
    const MOST: usize = 6;

    pub(crate) fn push(&mut self, action: Action) {
        debug_assert!(self.len < Self::MOST, "{self:?} and {action:?}");
        if let Some(slot) = self.items.get_mut(self.len) {
            *slot = Some(action);
            self.len += 1;
        }
    }
}

impl IntoIterator for Actions {
    type Item = Action;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Action>, { Self::MOST }>>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter().flatten()
    }
}
