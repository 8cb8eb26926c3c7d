//! The slot machine's moves as tables: what happens, and what is to be done about it.

use std::time::Duration;

use tokio::time::Instant;

use super::action::{Action, Event};
use super::exit::Reason;
use super::recycle::RecycleLimits;
use super::state::{SlotLimits, SlotMachine, SlotState};

/// A line of a table: milliseconds since the slot began, what happens, what follows.
type Line = (u64, Event, &'static [Action]);

const SPAWN: Action = Action::Spawn { generation: 1 };
const BOOTED: Event = Event::Booted { recyclable: true };
const DONE: Event = Event::Finished { wants_stop: false, memory: None };
/// From the start to an idle worker.
const IDLE: [Line; 2] =
    [(0, Event::Start, &[SPAWN]), (0, BOOTED, &[Action::Promote, Action::Offer])];

struct Table {
    begun: Instant,
    machine: SlotMachine,
}

impl Table {
    fn new() -> Self {
        Self::with(RecycleLimits::default())
    }

    fn with(recycle: RecycleLimits) -> Self {
        let limits = SlotLimits {
            recycle,
            soft_timeout_grace: Duration::from_secs(2),
            kill_grace: Duration::from_secs(1),
            settle: Duration::from_secs(5),
        };
        let machine = SlotMachine::new(limits, 1, fastrand::Rng::with_seed(3));
        Self { begun: Instant::now(), machine }
    }

    fn at(&self, millis: u64) -> Instant {
        self.begun + Duration::from_millis(millis)
    }

    /// A request comes that is to be answered at `deadline`.
    fn assigned(&self, deadline: u64) -> Event {
        Event::Assigned { deadline: self.at(deadline) }
    }

    fn run(&mut self, lines: &[Line]) -> &mut Self {
        for (number, (millis, event, expected)) in lines.iter().enumerate() {
            let now = self.at(*millis);
            let actions: Vec<_> = self.machine.handle(event, now).into_iter().collect();
            assert_eq!(actions, *expected, "line {number}: {event:?} at {millis} ms");
        }
        self
    }

    #[track_caller]
    fn is(&self, state: SlotState) -> &Self {
        assert_eq!(self.machine.state(), state);
        self
    }

    #[track_caller]
    fn wakes_at(&self, millis: u64) {
        assert_eq!(self.machine.wake_at(), Some(self.at(millis)));
    }
}

#[test]
fn a_request_makes_the_slot_busy_and_its_end_offers_it_again() {
    let mut table = Table::new();
    let assigned = table.assigned(1000);
    table.run(&IDLE).is(SlotState::Idle);
    table.run(&[(10, assigned, &[])]).is(SlotState::Busy).wakes_at(1000);
    table.run(&[(20, DONE, &[Action::Offer])]).is(SlotState::Idle);
    assert_eq!((table.machine.jobs(), table.machine.wake_at()), (1, None));
}

#[test]
fn a_deadline_is_answered_then_asked_then_killed_then_given_up() {
    let mut table = Table::new();
    let assigned = table.assigned(1000);
    table.run(&IDLE).run(&[
        (10, assigned, &[]),
        (999, Event::Tick, &[]),
        (1000, Event::Tick, &[Action::AnswerTimeout, Action::SoftStop]),
        (1001, Event::Tick, &[]),
    ]);
    table.is(SlotState::Stopping).wakes_at(3000);
    table.run(&[(3000, Event::Tick, &[Action::Kill]), (3001, Event::Tick, &[])]);
    table.is(SlotState::Stopping).wakes_at(4000);
    table.run(&[(4000, Event::Tick, &[Action::Discard(Reason::Timeout), SPAWN])]);
    table.is(SlotState::Booting);
}

#[test]
fn where_nothing_can_be_asked_the_kill_follows_at_once() {
    let mut table = Table::new();
    let assigned = table.assigned(1000);
    table.run(&IDLE).run(&[
        (10, assigned, &[]),
        (1000, Event::Tick, &[Action::AnswerTimeout, Action::SoftStop]),
        (1000, Event::CannotStopSoftly, &[Action::Kill]),
        (1000, Event::CannotStopSoftly, &[]),
        (1002, Event::Broken(Reason::Died), &[Action::Discard(Reason::Timeout), SPAWN]),
    ]);
}

#[test]
fn whatever_a_late_worker_says_it_is_replaced_for_being_late() {
    let gone: &[(Event, &[Action])] = &[
        (DONE, &[Action::Retire(Reason::Timeout), SPAWN]),
        (
            Event::Finished { wants_stop: true, memory: None },
            &[Action::Retire(Reason::Timeout), SPAWN],
        ),
        (Event::Broken(Reason::Protocol), &[Action::Discard(Reason::Timeout), SPAWN]),
        (Event::NotTaken(Reason::Asked), &[Action::Discard(Reason::Timeout), SPAWN]),
    ];
    for (event, actions) in gone {
        let mut table = Table::new();
        let assigned = table.assigned(1000);
        table.run(&IDLE).run(&[
            (10, assigned, &[]),
            (1000, Event::Tick, &[Action::AnswerTimeout, Action::SoftStop]),
            (1500, event.clone(), actions),
        ]);
    }
}

#[test]
fn a_caller_who_leaves_stops_a_running_request_once_and_an_idle_worker_never() {
    let mut table = Table::new();
    let assigned = table.assigned(60_000);
    table.run(&IDLE).run(&[
        (5, Event::Cancelled, &[]),
        (10, assigned, &[]),
        (20, Event::Cancelled, &[Action::SoftStop]),
        (30, Event::Cancelled, &[]),
        (2020, Event::Tick, &[Action::Kill]),
        (2021, Event::Broken(Reason::Died), &[Action::Discard(Reason::Cancelled), SPAWN]),
    ]);
}

#[test]
fn a_worker_that_ends_is_replaced_at_once_unless_it_never_did_anything() {
    let settled = 6000;
    let table: &[(u64, bool, Event, Action, bool)] = &[
        // After, served before, what happens, how it goes, and whether its successor may come now.
        (10, false, Event::Broken(Reason::Died), Action::Discard(Reason::Died), false),
        (10, false, Event::Broken(Reason::Protocol), Action::Discard(Reason::Protocol), false),
        (10, true, Event::Broken(Reason::Died), Action::Discard(Reason::Died), true),
        (settled, false, Event::Broken(Reason::Died), Action::Discard(Reason::Died), true),
        (10, false, Event::NotTaken(Reason::Died), Action::Discard(Reason::Died), false),
        (10, false, Event::NotTaken(Reason::Asked), Action::Retire(Reason::Asked), false),
        (10, true, Event::NotTaken(Reason::Asked), Action::Retire(Reason::Asked), true),
        (settled, false, Event::NotTaken(Reason::Asked), Action::Retire(Reason::Asked), true),
    ];
    for (at, served, event, how, at_once) in table {
        let mut table = Table::new();
        let assigned = table.assigned(60_000);
        table.run(&IDLE);
        if *served {
            table.run(&[(1, assigned.clone(), &[]), (2, DONE, &[Action::Offer])]);
        }
        if matches!(event, Event::NotTaken(_)) {
            table.run(&[(3, assigned, &[])]);
        }
        let now = table.at(*at);
        let actions: Vec<_> = table.machine.handle(event, now).into_iter().collect();
        let expected = if *at_once { vec![*how, SPAWN] } else { vec![*how] };
        assert_eq!(actions, expected, "{event:?} after {at} ms, served: {served}");
        let waits = table.machine.wake_at();
        assert_eq!(waits.is_none(), *at_once, "{event:?} after {at} ms: {waits:?}");
    }
}

#[test]
fn a_worker_that_dies_while_it_runs_a_request_is_replaced_at_once() {
    let mut table = Table::new();
    let assigned = table.assigned(1000);
    table.run(&IDLE).run(&[
        (10, assigned, &[]),
        (20, Event::Broken(Reason::Died), &[Action::Discard(Reason::Died), SPAWN]),
    ]);
}

#[test]
fn a_successor_takes_over_from_an_idle_worker_once_that_is_out_of_the_rotation() {
    let hand_over: &[Action] = &[Action::Retire(Reason::Operator), Action::Promote, Action::Offer];
    let mut table = Table::new();
    table.run(&IDLE).run(&[
        (10, Event::Recycle(Reason::Operator), &[SPAWN]),
        (20, Event::Recycle(Reason::Operator), &[]),
        (30, BOOTED, &[Action::Withdraw]),
        (30, Event::Withdrawn, hand_over),
    ]);
    table.is(SlotState::Idle);
}

#[test]
fn a_successor_waits_for_a_request_that_was_quicker() {
    let hand_over: &[Action] = &[Action::Retire(Reason::Operator), Action::Promote, Action::Offer];
    let mut table = Table::new();
    let assigned = table.assigned(60_000);
    table.run(&IDLE).run(&[
        (10, Event::Recycle(Reason::Operator), &[SPAWN]),
        (20, BOOTED, &[Action::Withdraw]),
        (20, assigned, &[]),
        (900, DONE, hand_over),
    ]);
}

/// The request that was quicker than the withdrawal had nobody waiting for it any more: without a
/// word of that the successor would wait for the next one.
#[test]
fn a_request_that_is_skipped_does_not_hold_up_the_successor_or_the_drain() {
    let hand_over: &[Action] = &[Action::Retire(Reason::Operator), Action::Promote, Action::Offer];
    Table::new().run(&IDLE).run(&[
        (10, Event::Recycle(Reason::Operator), &[SPAWN]),
        (20, BOOTED, &[Action::Withdraw]),
        (20, Event::Skipped, hand_over),
        (30, Event::Skipped, &[Action::Offer]),
    ]);
    Table::new().run(&IDLE).run(&[
        (10, Event::Drain, &[Action::Withdraw]),
        (10, Event::Skipped, &[Action::Retire(Reason::Shutdown), Action::End]),
    ]);
}

#[test]
fn each_limit_has_its_reason_and_zero_is_none() {
    let secs = Duration::from_secs;
    let none = RecycleLimits::default();
    let finished = |memory| Event::Finished { wants_stop: false, memory: Some(memory) };
    let successor_first: &[Action] = &[SPAWN, Action::Offer];
    let table: &[(RecycleLimits, u64, u64, &[Action])] = &[
        // Limits, when it finished, its memory then, what follows.
        (none, 3_600_000, u64::MAX, &[Action::Offer]),
        (RecycleLimits { max_jobs: 1, ..none }, 10, 1, successor_first),
        (RecycleLimits { ttl: secs(10), ..none }, 10_000, 1, successor_first),
        (RecycleLimits { ttl: secs(10), ..none }, 8_999, 1, &[Action::Offer]),
        (RecycleLimits { max_memory: 5, ..none }, 10, 5, &[Action::Offer]),
        (
            RecycleLimits { max_memory: 5, ..none },
            10,
            6,
            &[Action::Retire(Reason::MaxMemory), SPAWN],
        ),
    ];
    for (limits, at, memory, expected) in table {
        let mut table = Table::with(*limits);
        let assigned = table.assigned(7_200_000);
        table.run(&IDLE).run(&[(1, assigned, &[]), (*at, finished(*memory), expected)]);
    }
}

#[test]
fn a_worker_that_may_not_be_replaced_is_left_alone_by_all_but_its_own_end() {
    let secs = Duration::from_secs;
    let mut table =
        Table::with(RecycleLimits { max_jobs: 1, ttl: secs(1), idle_ttl: secs(1), max_memory: 1 });
    let assigned = table.assigned(60_000);
    table.run(&[
        (0, Event::Start, &[SPAWN]),
        (0, Event::Booted { recyclable: false }, &[Action::Promote, Action::Offer]),
        (5000, Event::Tick, &[]),
        (5000, Event::Reload { generation: 2 }, &[]),
        (5000, Event::Recycle(Reason::Operator), &[]),
        (5000, assigned, &[]),
        (6000, Event::Finished { wants_stop: false, memory: Some(9) }, &[Action::Offer]),
    ]);
    assert_eq!(table.machine.wake_at(), None);
    const NEXT: Action = Action::Spawn { generation: 2 };
    table.run(&[(7000, Event::Broken(Reason::Died), &[Action::Discard(Reason::Died), NEXT])]);
}

#[test]
fn a_reload_boots_the_new_beside_the_old_and_can_be_taken_back() {
    const NEW: Action = Action::Spawn { generation: 2 };
    const NEWER: Action = Action::Spawn { generation: 3 };
    let hand_over: &[Action] = &[Action::Retire(Reason::Reload), Action::Promote, Action::Offer];
    let mut table = Table::new();
    table.run(&IDLE).run(&[
        (10, Event::Reload { generation: 2 }, &[NEW]),
        (20, Event::BootFailed, &[]),
        (20, Event::Reload { generation: 1 }, &[]),
        (60_000, Event::Tick, &[]),
    ]);
    table.is(SlotState::Idle);
    assert_eq!(table.machine.wake_at(), None, "the broken code is not tried again");
    table.run(&[
        (61_000, Event::Reload { generation: 2 }, &[NEW]),
        (61_100, Event::Reload { generation: 3 }, &[Action::CancelBoot, NEWER]),
        (61_200, BOOTED, &[Action::Withdraw]),
        (61_200, Event::Withdrawn, hand_over),
    ]);
    assert_eq!(table.machine.serving_generation(), Some(3));
}

#[test]
fn boots_that_fail_wait_longer_each_time_and_the_third_makes_the_slot_failing() {
    let mut table = Table::new();
    table.run(&[(0, Event::Start, &[SPAWN])]);
    let mut now = table.begun;
    let mut waits = Vec::new();
    for failure in 1..=6 {
        assert!(table.machine.handle(&Event::BootFailed, now).into_iter().next().is_none());
        let expected = if failure < 3 { SlotState::Booting } else { SlotState::Failing };
        table.is(expected);
        let next = table.machine.wake_at().unwrap();
        waits.push(next - now);
        now = next;
        assert_eq!(table.machine.handle(&Event::Tick, now).into_iter().next(), Some(SPAWN));
    }
    // Each is at least half of its double; two steps on, jitter no longer hides the growth.
    assert!(waits.windows(3).all(|three| three[2] > three[0]), "{waits:?}");
    table.machine.handle(&BOOTED, now);
    table.is(SlotState::Idle);
}

#[test]
fn a_drain_lets_the_running_request_finish_and_a_stop_does_not() {
    let mut table = Table::new();
    let assigned = table.assigned(60_000);
    table.run(&IDLE).run(&[
        (10, assigned, &[]),
        (20, Event::Drain, &[]),
        (30, Event::Recycle(Reason::Operator), &[]),
        (40, DONE, &[Action::Retire(Reason::Shutdown), Action::End]),
    ]);
    table.is(SlotState::Ended);
    table.run(&[(50, Event::Tick, &[]), (50, Event::Reload { generation: 2 }, &[])]);

    let mut table = Table::new();
    let assigned = table.assigned(60_000);
    table.run(&IDLE).run(&[
        (10, assigned, &[]),
        (20, Event::Recycle(Reason::Operator), &[SPAWN]),
        (30, Event::Stop, &[Action::CancelBoot, Action::Discard(Reason::Shutdown), Action::End]),
    ]);
}

#[test]
fn what_the_old_worker_can_do_says_nothing_about_boots_that_fail() {
    let mut table = Table::new();
    table.run(&IDLE).run(&[(10, Event::Recycle(Reason::Operator), &[SPAWN])]);
    for failure in 1..=5 {
        let now = table.at(failure * 100_000);
        table.machine.handle(&Event::BootFailed, now);
        let assigned = Event::Assigned { deadline: now + Duration::from_secs(60) };
        table.machine.handle(&assigned, now);
        table.machine.handle(&DONE, now);
        assert_eq!(table.machine.failures(), failure as u32);
        table.machine.handle(&Event::Tick, now + Duration::from_secs(60));
    }
    assert!(!table.machine.is_failing(), "a worker serves");
}
