//! What a slot does next: a pure function of what happened and of the time.
//!
//! [`SlotMachine`] owns no process, no clock and no socket. The supervisor tells it what happened
//! ([`Event`]), carries out what it answers ([`Action`]), in order, and wakes it at
//! [`SlotMachine::wake_at`]. Every race is thereby a unit test, and thousands of random schedules
//! can be replayed from a seed.
//!
//! A slot holds at most two workers: the *current* one, which takes requests, and a *successor*,
//! which boots beside it and takes over once it is ready. The current worker moves through:
//!
//! ```text
//!            Offer            Assigned              deadline             kill_at
//! (booted) ────────▶ Idle ──────────────▶ Busy ──────────────▶ Stopping ─────────▶ Killed
//!                     ▲   Finished          │  Finished: retired  │  Broken: discarded │
//!                     └─────────────────────┘                     └────────────────────┘
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::action::{Action, Actions, Event};
use super::backoff::Backoff;
use super::exit::Reason;
use super::recycle::{Expiry, RecycleLimits};

/// How long things may take in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotLimits {
    /// When a worker is replaced on purpose.
    pub(crate) recycle: RecycleLimits,
    /// Between the soft stop and the kill.
    pub(crate) soft_timeout_grace: Duration,
    /// Between the kill and giving up on the runtime's own account of it.
    pub(crate) kill_grace: Duration,
    /// A worker that ends before it took a request, younger than this and without having served,
    /// counts as a failed boot, so that a script which ends at once is not started in a tight loop.
    pub(crate) settle: Duration,
}

/// Where the slot is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Running,
    Draining,
    Ended,
}

/// The worker that takes requests.
#[derive(Debug, Clone)]
struct Current {
    generation: u64,
    born: Instant,
    jobs: u64,
    recyclable: bool,
    expiry: Expiry,
    state: CurrentState,
    /// Set once it is to be replaced; it goes on serving until its successor is ready.
    retiring: Option<Reason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CurrentState {
    Idle { since: Instant },
    Busy { deadline: Instant },
    Stopping { kill_at: Instant, why: Reason },
    Killed { give_up_at: Instant, why: Reason },
}

/// The worker that is to take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boot {
    None,
    Running { generation: u64 },
    Ready { generation: u64, recyclable: bool },
    Backoff { until: Instant },
}

/// The state of a slot. See the module.
#[derive(Debug, Clone)]
pub(crate) struct SlotMachine {
    limits: SlotLimits,
    backoff: Backoff,
    mode: Mode,
    generation: u64,
    current: Option<Current>,
    boot: Boot,
    rng: fastrand::Rng,
}

/// What a slot looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// No worker takes requests; one is being booted.
    Booting,
    /// A worker waits for requests.
    Idle,
    /// A worker runs a request.
    Busy,
    /// A worker ran into its deadline and is being stopped.
    Stopping,
    /// The last boots failed; the next one waits.
    Failing,
    /// The slot has ended.
    Ended,
}

impl SlotState {
    /// All of them, for metrics.
    pub const ALL: [Self; 6] =
        [Self::Booting, Self::Idle, Self::Busy, Self::Stopping, Self::Failing, Self::Ended];

    /// The word for it in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::Failing => "failing",
            Self::Ended => "ended",
        }
    }
}

impl SlotMachine {
    /// A slot that has not begun. `rng` decides jitter alone.
    pub(crate) fn new(limits: SlotLimits, generation: u64, rng: fastrand::Rng) -> Self {
        Self {
            limits,
            backoff: Backoff::new(),
            mode: Mode::Running,
            generation,
            current: None,
            boot: Boot::None,
            rng,
        }
    }

    /// What to do about `event`, in order. Illegal events are ignored and say so in the log; they
    /// are faults of the supervisor.
    pub(crate) fn handle(&mut self, event: &Event, now: Instant) -> Actions {
        let mut actions = Actions::default();
        if self.mode == Mode::Ended {
            return actions;
        }
        match event {
            Event::Start => self.ensure_boot(now, &mut actions),
            Event::Booted { recyclable } => self.booted(*recyclable, now, &mut actions),
            Event::BootFailed => self.boot_failed(now, &mut actions),
            Event::Assigned { deadline } => self.assigned(*deadline),
            Event::Finished { wants_stop, memory } => {
                self.finished(*wants_stop, *memory, now, &mut actions);
            }
            Event::Skipped => self.skipped(now, &mut actions),
            Event::NotTaken(reason) => self.not_taken(*reason, now, &mut actions),
            Event::Broken(reason) => self.broken(*reason, now, &mut actions),
            Event::Withdrawn => self.withdrawn(now, &mut actions),
            Event::Cancelled => self.cancelled(now, &mut actions),
            Event::CannotStopSoftly => self.kill(now, &mut actions),
            Event::Reload { generation } => self.reload(*generation, now, &mut actions),
            Event::Recycle(reason) => self.mark(*reason, now, &mut actions),
            Event::Drain => self.drain(&mut actions),
            Event::Stop => self.stop(&mut actions),
            Event::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    /// When [`Event::Tick`] is due next. Ticks that come earlier do no harm.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let boot = match self.boot {
            Boot::Backoff { until } => Some(until),
            Boot::None | Boot::Running { .. } | Boot::Ready { .. } => None,
        };
        let current = self.current.as_ref().and_then(|current| match current.state {
            CurrentState::Idle { since } if current.retiring.is_none() && current.recyclable => {
                current.expiry.idle_deadline(since)
            }
            CurrentState::Idle { .. } => None,
            CurrentState::Busy { deadline } => Some(deadline),
            CurrentState::Stopping { kill_at, .. } => Some(kill_at),
            CurrentState::Killed { give_up_at, .. } => Some(give_up_at),
        });
        boot.into_iter().chain(current).min()
    }

    /// How it looks from outside.
    pub(crate) fn state(&self) -> SlotState {
        match (&self.current, self.mode) {
            (_, Mode::Ended) => SlotState::Ended,
            (Some(current), _) => match current.state {
                CurrentState::Idle { .. } => SlotState::Idle,
                CurrentState::Busy { .. } => SlotState::Busy,
                CurrentState::Stopping { .. } | CurrentState::Killed { .. } => SlotState::Stopping,
            },
            (None, _) if self.is_failing() => SlotState::Failing,
            (None, _) => SlotState::Booting,
        }
    }

    /// Boots that failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// Whether so many boots failed in a row that the slot cannot be counted on.
    pub(crate) fn is_failing(&self) -> bool {
        self.current.is_none() && self.backoff.is_tripped()
    }

    /// Notes that further boots will fail like the last one: the slot counts as failing at once.
    /// It goes on trying, as an operator may cure what is wrong.
    pub(crate) fn give_up_hope(&mut self) {
        self.backoff.trip();
    }

    /// The generation of the worker that takes requests.
    pub(crate) fn serving_generation(&self) -> Option<u64> {
        self.current.as_ref().map(|current| current.generation)
    }

    /// Requests the current worker has finished.
    pub(crate) fn jobs(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.jobs)
    }

    fn booted(&mut self, recyclable: bool, now: Instant, actions: &mut Actions) {
        let Boot::Running { generation } = self.boot else {
            return self.illegal("booted while nothing boots");
        };
        if self.mode == Mode::Draining && self.current.is_none() {
            self.boot = Boot::None;
            actions.push(Action::CancelBoot);
            return self.end(actions);
        }
        self.boot = Boot::Ready { generation, recyclable };
        match self.current.as_ref().map(|current| current.state) {
            None => self.promote(now, actions),
            Some(CurrentState::Idle { .. }) => actions.push(Action::Withdraw),
            // Takes over once the current worker is through with its request.
            Some(_) => {}
        }
    }

    fn promote(&mut self, now: Instant, actions: &mut Actions) {
        let Boot::Ready { generation, recyclable } = self.boot else {
            return self.ensure_boot(now, actions);
        };
        self.boot = Boot::None;
        self.current = Some(Current {
            generation,
            born: now,
            jobs: 0,
            recyclable,
            expiry: Expiry::new(&self.limits.recycle, now, &mut self.rng),
            state: CurrentState::Idle { since: now },
            retiring: None,
        });
        actions.push(Action::Promote);
        // A reload that came while this one booted makes it old on arrival; it serves meanwhile.
        if generation != self.generation {
            self.mark(Reason::Reload, now, actions);
        }
        actions.push(Action::Offer);
    }

    fn boot_failed(&mut self, now: Instant, actions: &mut Actions) {
        if !matches!(self.boot, Boot::Running { .. }) {
            return self.illegal("boot failed while nothing boots");
        }
        self.boot = Boot::None;
        if self.mode == Mode::Draining {
            if self.current.is_none() {
                self.end(actions);
            }
            return;
        }
        self.boot = Boot::Backoff { until: now + self.backoff.failed(&mut self.rng) };
    }

    fn assigned(&mut self, deadline: Instant) {
        match &mut self.current {
            Some(current) if matches!(current.state, CurrentState::Idle { .. }) => {
                current.state = CurrentState::Busy { deadline };
            }
            _ => self.illegal("assigned while not idle"),
        }
    }

    fn finished(
        &mut self,
        wants_stop: bool,
        memory: Option<u64>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let Some(current) = &mut self.current else { return self.illegal("finished by nobody") };
        match current.state {
            CurrentState::Busy { .. } => {}
            CurrentState::Idle { .. } => return self.illegal("finished while idle"),
            // It ran into its deadline: whatever it says now, it gets no further request.
            CurrentState::Stopping { why, .. } | CurrentState::Killed { why, .. } => {
                return self.replace_now(Action::Retire(why), now, actions);
            }
        }
        current.jobs += 1;
        current.state = CurrentState::Idle { since: now };
        self.backoff.worked(self.boot == Boot::None);
        if wants_stop {
            return self.replace_now(Action::Retire(Reason::Asked), now, actions);
        }
        if self.mode == Mode::Draining {
            return self.replace_now(Action::Retire(Reason::Shutdown), now, actions);
        }
        let due = current.expiry.after_job(current.jobs, memory, now);
        if let (Some(reason), true) = (due, current.recyclable) {
            if reason == Reason::MaxMemory {
                // Its memory is what there is too little of: it goes before the next one comes.
                return self.replace_now(Action::Retire(reason), now, actions);
            }
            self.mark(reason, now, actions);
        }
        self.hand_over_or_offer(now, actions);
    }

    /// After a request: the successor's turn, if it waits; else the current worker's next one.
    fn hand_over_or_offer(&mut self, now: Instant, actions: &mut Actions) {
        if !matches!(self.boot, Boot::Ready { .. }) {
            return actions.push(Action::Offer);
        }
        let retiring = self.current.as_ref().and_then(|current| current.retiring);
        self.replace_now(Action::Retire(retiring.unwrap_or(Reason::Reload)), now, actions);
    }

    /// The current worker is free again without having run anything.
    fn skipped(&mut self, now: Instant, actions: &mut Actions) {
        match self.current.as_ref().map(|current| current.state) {
            Some(CurrentState::Idle { .. }) if self.mode == Mode::Draining => {
                self.replace_now(Action::Retire(Reason::Shutdown), now, actions);
            }
            Some(CurrentState::Idle { .. }) => self.hand_over_or_offer(now, actions),
            _ => self.illegal("skipped a request while not idle"),
        }
    }

    fn not_taken(&mut self, reason: Reason, now: Instant, actions: &mut Actions) {
        if let Some(current) = &mut self.current
            && matches!(current.state, CurrentState::Busy { .. })
        {
            // In truth it was idle all along.
            current.state = CurrentState::Idle { since: now };
        }
        self.broken(reason, now, actions);
    }

    fn broken(&mut self, reason: Reason, now: Instant, actions: &mut Actions) {
        let Some(current) = &self.current else { return self.illegal("broken while empty") };
        let idle = matches!(current.state, CurrentState::Idle { .. });
        let unsettled = idle && current.jobs == 0 && now < current.born + self.limits.settle;
        let reason = match current.state {
            CurrentState::Stopping { why, .. } | CurrentState::Killed { why, .. } => why,
            CurrentState::Idle { .. } | CurrentState::Busy { .. } => reason,
        };
        let how = match reason {
            Reason::Asked => Action::Retire(reason),
            _ => Action::Discard(reason),
        };
        if unsettled && self.mode == Mode::Running && !matches!(self.boot, Boot::Ready { .. }) {
            let until = now + self.backoff.failed(&mut self.rng);
            self.current = None;
            actions.push(how);
            if self.boot == Boot::None {
                self.boot = Boot::Backoff { until };
            }
            return;
        }
        if !unsettled {
            self.backoff.worked(self.boot == Boot::None);
        }
        self.replace_now(how, now, actions);
    }

    /// The current worker goes; whoever is ready or can be booted takes over.
    fn replace_now(&mut self, how: Action, now: Instant, actions: &mut Actions) {
        self.current = None;
        actions.push(how);
        if self.mode == Mode::Draining {
            return self.end(actions);
        }
        self.promote(now, actions);
    }

    fn withdrawn(&mut self, now: Instant, actions: &mut Actions) {
        let Some(current) = &self.current else { return self.illegal("withdrawn while empty") };
        if !matches!(current.state, CurrentState::Idle { .. }) {
            return self.illegal("withdrawn while busy");
        }
        if self.mode == Mode::Draining {
            return self.replace_now(Action::Retire(Reason::Shutdown), now, actions);
        }
        match (current.retiring, self.boot) {
            (Some(reason), Boot::Ready { .. }) => {
                self.replace_now(Action::Retire(reason), now, actions);
            }
            (Some(Reason::MaxMemory), _) => {
                self.replace_now(Action::Retire(Reason::MaxMemory), now, actions);
            }
            // What asked for the withdrawal is gone meanwhile.
            _ => actions.push(Action::Offer),
        }
    }

    fn reload(&mut self, generation: u64, now: Instant, actions: &mut Actions) {
        self.generation = generation;
        if self.mode != Mode::Running {
            return;
        }
        let outdated_boot = match self.boot {
            Boot::Running { generation: booting } | Boot::Ready { generation: booting, .. } => {
                booting != generation
            }
            Boot::Backoff { .. } => true,
            Boot::None => false,
        };
        if outdated_boot {
            if !matches!(self.boot, Boot::Backoff { .. }) {
                actions.push(Action::CancelBoot);
            }
            // New code deserves a try at once.
            self.boot = Boot::None;
            self.backoff.succeeded();
        }
        match &mut self.current {
            None => self.ensure_boot(now, actions),
            Some(current) if current.generation == generation => {
                // Back to the generation it serves already: nothing to replace it for.
                if current.retiring == Some(Reason::Reload) {
                    current.retiring = None;
                }
                if current.retiring.is_some() {
                    self.ensure_boot(now, actions);
                }
            }
            Some(_) => self.mark(Reason::Reload, now, actions),
        }
    }

    /// The current worker is to be replaced: its successor is booted while it goes on serving.
    fn mark(&mut self, reason: Reason, now: Instant, actions: &mut Actions) {
        if self.mode != Mode::Running {
            return;
        }
        let Some(current) = &mut self.current else { return };
        if !current.recyclable {
            return;
        }
        current.retiring.get_or_insert(reason);
        if self.boot == Boot::None {
            self.ensure_boot(now, actions);
        }
    }

    fn ensure_boot(&mut self, _now: Instant, actions: &mut Actions) {
        if self.mode == Mode::Running && self.boot == Boot::None {
            self.boot = Boot::Running { generation: self.generation };
            actions.push(Action::Spawn { generation: self.generation });
        }
    }

    fn drain(&mut self, actions: &mut Actions) {
        self.mode = Mode::Draining;
        match self.boot {
            Boot::Running { .. } | Boot::Ready { .. } => actions.push(Action::CancelBoot),
            Boot::None | Boot::Backoff { .. } => {}
        }
        self.boot = Boot::None;
        match self.current.as_ref().map(|current| current.state) {
            None => self.end(actions),
            Some(CurrentState::Idle { .. }) => actions.push(Action::Withdraw),
            Some(_) => {}
        }
    }

    fn stop(&mut self, actions: &mut Actions) {
        if matches!(self.boot, Boot::Running { .. } | Boot::Ready { .. }) {
            actions.push(Action::CancelBoot);
        }
        self.boot = Boot::None;
        if self.current.take().is_some() {
            actions.push(Action::Discard(Reason::Shutdown));
        }
        self.end(actions);
    }

    fn end(&mut self, actions: &mut Actions) {
        self.mode = Mode::Ended;
        actions.push(Action::End);
    }

    fn tick(&mut self, now: Instant, actions: &mut Actions) {
        if let Boot::Backoff { until } = self.boot
            && until <= now
        {
            self.boot = Boot::None;
            self.ensure_boot(now, actions);
        }
        let Some(current) = &mut self.current else { return };
        match current.state {
            CurrentState::Idle { since } => {
                if current.retiring.is_none()
                    && let Some(reason) = current.expiry.while_idle(since, now)
                {
                    self.mark(reason, now, actions);
                }
            }
            CurrentState::Busy { deadline } if deadline <= now => {
                let kill_at = now + self.limits.soft_timeout_grace;
                current.state = CurrentState::Stopping { kill_at, why: Reason::Timeout };
                actions.push(Action::AnswerTimeout);
                actions.push(Action::SoftStop);
            }
            CurrentState::Stopping { kill_at, .. } if kill_at <= now => self.kill(now, actions),
            CurrentState::Killed { give_up_at, why } if give_up_at <= now => {
                self.replace_now(Action::Discard(why), now, actions);
            }
            CurrentState::Busy { .. }
            | CurrentState::Stopping { .. }
            | CurrentState::Killed { .. } => {}
        }
    }

    fn kill(&mut self, now: Instant, actions: &mut Actions) {
        let give_up_at = now + self.limits.kill_grace;
        if let Some(current) = &mut self.current
            && let CurrentState::Stopping { why, .. } = current.state
        {
            current.state = CurrentState::Killed { give_up_at, why };
            actions.push(Action::Kill);
        }
    }

    fn cancelled(&mut self, now: Instant, actions: &mut Actions) {
        let kill_at = now + self.limits.soft_timeout_grace;
        if let Some(current) = &mut self.current
            && matches!(current.state, CurrentState::Busy { .. })
        {
            current.state = CurrentState::Stopping { kill_at, why: Reason::Cancelled };
            actions.push(Action::SoftStop);
        }
    }

    fn illegal(&self, what: &str) {
        debug_assert!(false, "{what}: {self:?}");
        tracing::error!(target: "folk::slot", what, state = ?self.state(), "illegal slot event");
    }
}
