//! Thousands of random schedules against the slot machine, each replayable from its seed.
//!
//! The world here plays supervisor, runtime and pool at once and checks after every step what must
//! never be true. A failing schedule prints its seed and its last events.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::action::{Action, Event};
use super::exit::Reason;
use super::recycle::RecycleLimits;
use super::state::{SlotLimits, SlotMachine};

/// Schedules per run. Each takes some 400 steps.
const SCHEDULES: u64 = 3000;
const STEPS: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Life {
    /// In the rotation, or on its way into it.
    Offered,
    /// A request is on its way to it.
    Assigned,
    Busy,
    /// Its request ran into its deadline, or its caller left; it must never get another.
    Late,
    /// Out of the rotation.
    Withdrawn,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    generation: u64,
    recyclable: bool,
    life: Life,
    deadline: Instant,
    killed: bool,
    /// It ran into a deadline or was cancelled once.
    spoiled: bool,
}

struct World {
    seed: u64,
    rng: fastrand::Rng,
    now: Instant,
    machine: SlotMachine,
    soft_stop: bool,
    recyclable: bool,
    boot_fails: f64,
    /// The runtime never lets go of a worker that was killed.
    wedged: bool,
    wanted_generation: u64,
    booting: Option<u64>,
    successor: Option<u64>,
    current: Option<Current>,
    answered_timeouts: usize,
    draining: bool,
    ended: bool,
    diary: VecDeque<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let secs = Duration::from_secs;
        let limits = SlotLimits {
            recycle: RecycleLimits {
                max_jobs: rng.choice([0, 1, 3, 20]).unwrap_or(0),
                ttl: rng.choice([secs(0), secs(5), secs(60)]).unwrap_or_default(),
                idle_ttl: rng.choice([secs(0), secs(2)]).unwrap_or_default(),
                max_memory: rng.choice([0, 100]).unwrap_or(0),
            },
            soft_timeout_grace: secs(2),
            kill_grace: secs(1),
            settle: secs(5),
        };
        let machine = SlotMachine::new(limits, 1, fastrand::Rng::with_seed(seed ^ 1));
        Self {
            seed,
            now: Instant::now(),
            machine,
            soft_stop: rng.bool(),
            recyclable: rng.f64() < 0.9,
            boot_fails: rng.choice([0.0, 0.1, 0.5]).unwrap_or(0.0),
            wedged: rng.f64() < 0.2,
            rng,
            wanted_generation: 1,
            booting: None,
            successor: None,
            current: None,
            answered_timeouts: 0,
            draining: false,
            ended: false,
            diary: VecDeque::new(),
        }
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{what}\nseed {}, current {:?}\n{:#?}", self.seed, self.current, self.diary);
    }

    fn check(&self, holds: bool, what: &str) {
        if !holds {
            self.fail(what);
        }
    }

    fn note(&mut self, line: String) {
        if self.diary.len() == 40 {
            self.diary.pop_front();
        }
        self.diary.push_back(line);
    }

    fn tell(&mut self, event: &Event) {
        self.note(format!("{event:?}"));
        let actions: Vec<_> = self.machine.handle(event, self.now).into_iter().collect();
        for action in actions {
            self.note(format!("    {action:?}"));
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        self.check(!self.ended, "acted after its end");
        match action {
            Action::Spawn { generation } => {
                self.check(!self.draining, "spawned while draining");
                self.check(self.booting.is_none() && self.successor.is_none(), "two boots at once");
                self.check(generation == self.wanted_generation, "booted old code");
                self.booting = Some(generation);
            }
            Action::CancelBoot => {
                let had = self.booting.take().is_some() | self.successor.take().is_some();
                self.check(had, "cancelled a boot that is not there");
            }
            Action::Promote => {
                self.check(self.current.is_none(), "promoted over a current worker");
                let Some(generation) = self.successor.take() else { self.fail("promoted nobody") };
                self.current = Some(Current {
                    generation,
                    recyclable: self.recyclable,
                    life: Life::Withdrawn,
                    deadline: self.now,
                    killed: false,
                    spoiled: false,
                });
            }
            Action::Offer => match &mut self.current {
                Some(current) if current.life == Life::Withdrawn && !current.spoiled => {
                    current.life = Life::Offered;
                }
                _ => self.fail("offered what is not free, or was late before"),
            },
            Action::Withdraw => match &mut self.current {
                // Now and then a request is quicker.
                Some(current) if current.life == Life::Offered => {
                    if self.rng.f64() < 0.3 {
                        current.life = Life::Assigned;
                    } else {
                        current.life = Life::Withdrawn;
                        self.tell(&Event::Withdrawn);
                    }
                }
                Some(current) if current.life == Life::Assigned => {}
                _ => self.fail("withdrew what is not offered"),
            },
            Action::Retire(reason) => {
                let Some(current) = self.current.take() else { self.fail("retired nobody") };
                self.check(current.life == Life::Withdrawn, "retired a worker that is in use");
                let forced = matches!(
                    reason,
                    Reason::Asked | Reason::Shutdown | Reason::Timeout | Reason::Cancelled
                );
                self.check(forced || current.recyclable, "recycled what may not be recycled");
                let successor_first = !forced && reason != Reason::MaxMemory;
                self.check(
                    !successor_first || self.successor.is_some(),
                    "let go of a worker before its successor was ready",
                );
            }
            Action::Discard(_) => {
                let had = self.current.take().is_some();
                self.check(had, "discarded nobody");
            }
            Action::AnswerTimeout => {
                let now = self.now;
                match &mut self.current {
                    Some(current) if current.life == Life::Busy && current.deadline <= now => {
                        current.life = Life::Late;
                        current.spoiled = true;
                        self.answered_timeouts += 1;
                    }
                    _ => self.fail("answered a timeout that is none"),
                }
            }
            Action::SoftStop => {
                if let Some(current) = &mut self.current {
                    current.life = Life::Late;
                    current.spoiled = true;
                }
                if !self.soft_stop {
                    self.tell(&Event::CannotStopSoftly);
                }
            }
            Action::Kill => match &mut self.current {
                Some(current) if current.life == Life::Late => current.killed = true,
                _ => self.fail("killed a worker that is not late"),
            },
            Action::End => {
                self.ended = true;
                self.check(self.current.is_none(), "ended with a worker");
                self.check(self.booting.is_none() && self.successor.is_none(), "ended with a boot");
            }
        }
    }

    /// The current worker is through with its request: what the supervisor does before it tells.
    fn withdraw_current(&mut self) {
        if let Some(current) = &mut self.current {
            current.life = Life::Withdrawn;
        }
    }

    fn step(&mut self) {
        let life = self.current.map(|current| current.life);
        match self.rng.u32(0..100) {
            0..30 => self.work(),
            30..45 => self.progress_boot(),
            45..75 => {
                let millis = self.rng.choice([1, 10, 100, 1000, 5000]).unwrap_or(1);
                self.now += Duration::from_millis(millis);
                self.tick();
            }
            75..82 => {
                self.wanted_generation =
                    if self.rng.f64() < 0.2 { 1 } else { self.wanted_generation + 1 };
                self.tell(&Event::Reload { generation: self.wanted_generation });
            }
            82..86 if matches!(life, Some(Life::Offered)) => {
                self.withdraw_current();
                self.tell(&Event::Broken(Reason::Died));
            }
            86..90 if matches!(life, Some(Life::Busy | Life::Late)) => {
                self.withdraw_current();
                self.tell(&Event::Broken(Reason::Died));
            }
            90..93 => self.tell(&Event::Recycle(Reason::Operator)),
            93..96 if life == Some(Life::Busy) => self.tell(&Event::Cancelled),
            _ => {}
        }
    }

    fn tick(&mut self) {
        if self.machine.wake_at().is_some_and(|at| at <= self.now) {
            self.tell(&Event::Tick);
        }
    }

    fn progress_boot(&mut self) {
        let Some(generation) = self.booting.take() else { return };
        if self.rng.f64() < self.boot_fails {
            self.tell(&Event::BootFailed);
        } else {
            self.successor = Some(generation);
            self.tell(&Event::Booted { recyclable: self.recyclable });
        }
    }

    /// A request comes to an idle worker, or the running one ends.
    fn work(&mut self) {
        let deadline = self.now + Duration::from_millis(self.rng.u64(1..4000));
        let (skipped, not_taken) = (self.rng.f64() < 0.1, self.rng.f64() < 0.05);
        let Some(current) = &mut self.current else { return };
        match current.life {
            Life::Offered => current.life = Life::Assigned,
            Life::Assigned if skipped => {
                self.withdraw_current();
                self.tell(&Event::Skipped);
            }
            Life::Assigned => {
                current.life = Life::Busy;
                current.deadline = deadline;
                self.tell(&Event::Assigned { deadline });
            }
            Life::Late if current.killed && self.wedged => {}
            Life::Late if current.killed => {
                self.withdraw_current();
                self.tell(&Event::Broken(Reason::Died));
            }
            Life::Busy if not_taken => {
                let reason = if self.rng.bool() { Reason::Asked } else { Reason::Died };
                self.withdraw_current();
                self.tell(&Event::NotTaken(reason));
            }
            Life::Busy | Life::Late => {
                let wants_stop = self.rng.f64() < 0.05;
                let memory = Some(self.rng.u64(0..110));
                self.withdraw_current();
                self.tell(&Event::Finished { wants_stop, memory });
            }
            Life::Withdrawn => self.fail("a worker is neither offered nor in use"),
        }
    }

    /// Without faults from here on, the slot must come to serve the wanted generation.
    fn settle(&mut self) {
        self.boot_fails = 0.0;
        for _ in 0..400 {
            self.progress_boot();
            if self.current.is_some_and(|current| current.life != Life::Offered) {
                self.work();
            }
            let due = self.machine.wake_at().is_some_and(|at| at <= self.now);
            let waits = self.machine.wake_at().filter(|_| {
                self.current.is_none_or(|c| {
                    c.generation != self.wanted_generation || c.life != Life::Offered
                })
            });
            if due {
                self.tell(&Event::Tick);
            } else if let Some(at) = waits {
                self.now = self.now.max(at);
                self.tick();
            }
        }
        let Some(current) = self.current else {
            self.fail("no worker, and nothing that leads to one")
        };
        self.check(current.life == Life::Offered, "a free worker is not offered");
        if current.recyclable {
            self.check(current.generation == self.wanted_generation, "old code goes on serving");
        }
    }

    fn end(&mut self) {
        self.draining = true;
        if self.rng.bool() {
            self.tell(&Event::Drain);
            for _ in 0..50 {
                if self.ended {
                    break;
                }
                self.work();
                if let Some(at) = self.machine.wake_at() {
                    self.now = self.now.max(at);
                    self.tick();
                }
            }
        } else {
            self.tell(&Event::Stop);
        }
        self.check(self.ended, "the slot did not end");
        self.tell(&Event::Tick);
        self.tell(&Event::Reload { generation: 99 });
    }
}

#[tokio::test(start_paused = true)]
async fn no_random_schedule_breaks_what_must_never_be_true() {
    let first = match std::env::var("FOLK_SIMULATION_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..u64::MAX - SCHEDULES),
    };
    let mut timeouts = 0;
    for seed in first..first + SCHEDULES {
        let mut world = World::new(seed);
        world.tell(&Event::Start);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        world.end();
        timeouts += world.answered_timeouts;
    }
    assert!(timeouts > 1000, "the schedules must reach deadlines, not {timeouts}");
}
