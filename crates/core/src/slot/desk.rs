//! What lies on a supervisor's desk: everything but the worker that runs requests.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use folk_api::error::TimeoutPhase;
use folk_api::events::Event as BusEvent;
use folk_api::runtime::{ExitKind, NotTaken};
use folk_api::{BootError, Error, Exit, Job, OneLine, Outcome, Reply, WorkerSpec};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

use super::action::{Action, Event};
use super::boot::{BootFuture, Held, boot};
use super::command::Command;
use super::control::Control;
use super::exit::Reason;
use super::farewell::Farewells;
use super::state::SlotMachine;
use super::status::SlotStatus;
use crate::pool::PoolShared;
use crate::pool::dispatch::{Dispatch, Offered};

/// A worker is looked at for its memory at most this often: reading it costs system calls.
const MEMORY_CHECK_EVERY: Duration = Duration::from_secs(1);

/// How often a request may go to another worker because one died before it took it.
const HANDOVERS_AFTER_DEATH: u32 = 1;

/// How often it may because one asked to be stopped instead, or had ended by itself in order.
/// Nothing went wrong then; the bound only keeps workers that never do anything else from passing
/// it around for ever.
const HANDOVERS_AFTER_STOP: u32 = 16;

/// Everything of the supervisor but the current worker.
pub(crate) struct Desk {
    pub(crate) slot: usize,
    pub(crate) pool: Arc<PoolShared>,
    status: Arc<SlotStatus>,
    pub(crate) machine: SlotMachine,
    commands: mpsc::Receiver<Command>,
    /// The worker that is being booted.
    boot: Option<BootFuture>,
    /// The worker that is booted and waits for its turn. Its death shows when it is given one.
    pub(crate) successor: Option<Held>,
    /// Workers on their way out.
    pub(crate) farewells: Farewells,
    /// Moved only when something is due earlier than it is armed for, so that a busy slot never
    /// touches the timer wheel.
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// What the machine decided about the current worker, until it is carried out.
    pub(crate) steps: VecDeque<Step>,
    /// Handles of the current worker and of the request it runs.
    control: Option<Control>,
    pub(crate) running: Option<Reply>,
    /// A request that came instead of a place in the rotation.
    pub(crate) next: Option<Box<Job>>,
    /// Who waits to hear of a reload.
    reload: Option<(u64, oneshot::Sender<Result<(), BootError>>)>,
    memory_checked: Instant,
    pub(crate) ended: bool,
}

/// What is to be done to the current worker.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Retire(Reason),
    Discard(Reason),
    Promote,
    Offer,
}

/// What can happen beside a running request or the wait for one.
pub(crate) enum Happening {
    Command(Command),
    Booted(Result<Held, BootError>),
    /// A retired worker is gone.
    Gone,
    Tick,
}

impl Desk {
    /// An empty desk.
    pub(crate) fn new(
        slot: usize,
        pool: Arc<PoolShared>,
        status: Arc<SlotStatus>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let machine = SlotMachine::new(pool.slot_limits, pool.generation(), fastrand::Rng::new());
        let now = Instant::now();
        Self {
            slot,
            pool,
            status,
            machine,
            commands,
            boot: None,
            successor: None,
            farewells: Farewells::default(),
            timer: Box::pin(tokio::time::sleep_until(now)),
            armed: None,
            steps: VecDeque::with_capacity(4),
            control: None,
            running: None,
            next: None,
            reload: None,
            memory_checked: now,
            ended: false,
        }
    }

    /// The desk of the next supervisor, after a panic of this one's: nothing is left on it, and
    /// whoever waits for this slot is answered.
    pub(crate) fn cleared(self) -> Self {
        let assigned = self.pool.dispatch.leave(self.slot);
        for job in assigned.into_iter().chain(self.next) {
            job.reply.send(Err(Error::Runtime("the slot's supervisor panicked".to_owned())));
        }
        if let Some(reply) = self.running {
            reply.send(Err(Error::Runtime("the slot's supervisor panicked".to_owned())));
        }
        let desk = Self::new(self.slot, self.pool, self.status, self.commands);
        desk.record();
        desk
    }

    /// The slot has ended: nothing more comes to it, and its workers go.
    pub(crate) async fn leave(&mut self) {
        let assigned = self.pool.dispatch.leave(self.slot);
        for job in assigned.into_iter().chain(self.next.take()) {
            job.reply.send(Err(Error::ShuttingDown));
        }
        while !self.farewells.is_empty() {
            tokio::select! {
                () = self.farewells.next() => {}
                command = self.commands.recv(), if !self.farewells.are_cut() => {
                    // The grace that retired workers have ends with the order to stop.
                    if matches!(command, Some(Command::Stop) | None) {
                        self.farewells.cut();
                    }
                }
            }
        }
    }

    /// The next thing that happens beside the current worker. Cancel-safe.
    pub(crate) async fn next_happening(&mut self) -> Happening {
        let boot = &mut self.boot;
        tokio::select! {
            biased;
            command = self.commands.recv() => {
                // The pool being gone means the same as being told to stop.
                Happening::Command(command.unwrap_or(Command::Stop))
            }
            booted = poll_boot(boot), if boot.is_some() => {
                Happening::Booted(booted)
            }
            () = self.farewells.next(), if !self.farewells.is_empty() => Happening::Gone,
            () = &mut self.timer, if self.armed.is_some() => Happening::Tick,
        }
    }

    pub(crate) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Command(Command::Reload { generation, done }) => {
                self.reload = Some((generation, done));
                self.handle(&Event::Reload { generation });
                self.settle_reload();
            }
            Happening::Command(Command::Recycle(reason)) => self.handle(&Event::Recycle(reason)),
            Happening::Command(Command::Drain) => self.handle(&Event::Drain),
            Happening::Command(Command::Stop) => {
                self.farewells.cut();
                self.handle(&Event::Stop);
            }
            Happening::Booted(booted) => self.booted(booted),
            Happening::Gone => {}
            Happening::Tick => {
                self.armed = None;
                self.handle(&Event::Tick);
            }
        }
    }

    /// Tells the machine, and carries out what does not touch the current worker.
    pub(crate) fn handle(&mut self, event: &Event) {
        for action in self.machine.handle(event, Instant::now()) {
            match action {
                Action::Spawn { generation } => self.boot = Some(self.start_boot(generation)),
                Action::CancelBoot => {
                    // Dropping the boot kills what it had started.
                    self.boot = None;
                    let successor = self.successor.take();
                    self.let_go(successor, Reason::Reload, self.pool.terminate_grace);
                }
                Action::Withdraw => {
                    if self.pool.dispatch.withdraw(self.slot) {
                        self.handle(&Event::Withdrawn);
                    }
                }
                Action::AnswerTimeout => self.answer_timeout(),
                Action::SoftStop => {
                    if !self.control.as_ref().is_some_and(|control| control.soft_stop()) {
                        self.handle(&Event::CannotStopSoftly);
                    }
                }
                Action::Kill => {
                    if let Some(control) = &self.control {
                        control.kill();
                    }
                }
                Action::End => self.ended = true,
                Action::Retire(reason) => self.steps.push_back(Step::Retire(reason)),
                Action::Discard(reason) => self.steps.push_back(Step::Discard(reason)),
                Action::Promote => self.steps.push_back(Step::Promote),
                Action::Offer => self.steps.push_back(Step::Offer),
            }
        }
        self.arm();
        self.record();
    }

    fn arm(&mut self) {
        if let Some(at) = self.machine.wake_at()
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.timer.as_mut().reset(at);
            self.armed = Some(at);
        }
    }

    fn record(&self) {
        let state = self.machine.state();
        let mut record = self.status.lock();
        record.jobs = self.machine.jobs();
        record.failures = self.machine.failures();
        if record.state != state {
            self.pool.metrics.slot_moved(Some(record.state), state, 1.0);
            record.state = state;
            record.since = Instant::now();
        }
    }

    fn answer_timeout(&self) {
        let Some(reply) = &self.running else { return };
        let pid = self.control.as_ref().and_then(|control| control.pid());
        let answered = reply.send(Err(Error::Timeout(TimeoutPhase::Running)));
        tracing::warn!(
            target: "folk::pool",
            pool = %self.pool.name, slot = self.slot, pid, in_body = !answered,
            "a request ran into its deadline; its worker is stopped"
        );
    }

    pub(crate) fn offer(&mut self) {
        match self.pool.dispatch.offer(self.slot) {
            Offered::Job(job) => {
                self.pool.metrics.waited(job.since.elapsed());
                self.next = Some(job);
            }
            // Drained: the order to end comes from the pool, which watches the queue.
            Offered::Idle | Offered::Drained => {}
        }
    }

    /// The request is over, one way or the other.
    pub(crate) fn ran(&mut self, outcome: Result<Outcome, String>, reply: Option<&Reply>) {
        let failed = |error: Error| {
            if let Some(reply) = reply {
                reply.send(Err(error));
            }
        };
        let event = match outcome {
            Ok(Outcome::Done) => {
                Event::Finished { wants_stop: false, memory: self.memory_if_due() }
            }
            Ok(Outcome::DoneAndStop) => Event::Finished { wants_stop: true, memory: None },
            Ok(Outcome::NotTaken { job, why: NotTaken::Stopping }) => {
                self.hand_elsewhere(job, HANDOVERS_AFTER_STOP, "it asked to be stopped");
                Event::NotTaken(Reason::Asked)
            }
            Ok(Outcome::NotTaken { job, why: NotTaken::Died(exit) }) => {
                self.note_death(Reason::Died, &exit);
                self.hand_elsewhere(job, handovers_after(&exit), &exit.to_string());
                self.status.lock().last_error = Some(exit.to_string());
                Event::NotTaken(Reason::Died)
            }
            Ok(Outcome::Failed(error)) => {
                let reason = match &error {
                    Error::Protocol(_) => Reason::Protocol,
                    Error::Runtime(_) => Reason::Runtime,
                    _ => Reason::Died,
                };
                self.note_death(reason, &error);
                failed(error);
                Event::Broken(reason)
            }
            Err(panic) => {
                let error = Error::Runtime(format!("it panicked: {panic}"));
                self.note_death(Reason::Runtime, &error);
                failed(error);
                Event::Broken(Reason::Runtime)
            }
        };
        self.handle(&event);
        self.announce_failing();
    }

    /// The idle worker died. A request that is on its way to it goes elsewhere.
    pub(crate) fn idle_death(&mut self, reason: Reason, exit: &Exit) {
        self.note_death(reason, exit);
        if !self.pool.dispatch.withdraw(self.slot)
            && let Some(job) = self.pool.dispatch.take_assigned(self.slot)
        {
            self.hand_elsewhere(job, handovers_after(exit), &exit.to_string());
        }
        self.status.lock().last_error = Some(exit.to_string());
        self.handle(&Event::Broken(reason));
        self.announce_failing();
    }

    /// Gives a request of which nothing was run to another worker, `limit` times at most.
    fn hand_elsewhere(&self, mut job: Box<Job>, limit: u32, why: &str) {
        job.handovers += 1;
        if job.handovers > limit {
            job.reply.send(Err(Error::NotTaken(why.to_owned())));
        } else {
            self.pool.put_back(job);
        }
    }

    fn note_death(&self, reason: Reason, cause: &dyn std::fmt::Display) {
        let pid = self.status.lock().pid;
        tracing::warn!(
            target: "folk::pool",
            pool = %self.pool.name, slot = self.slot, pid, reason = reason.label(), cause = %OneLine(cause),
            "a worker is replaced"
        );
    }

    fn memory_if_due(&mut self) -> Option<u64> {
        if self.pool.slot_limits.recycle.max_memory == 0 {
            return None;
        }
        let now = Instant::now();
        if now < self.memory_checked + MEMORY_CHECK_EVERY {
            return None;
        }
        self.memory_checked = now;
        self.control.as_ref()?.memory()
    }

    fn start_boot(&self, generation: u64) -> BootFuture {
        let spec = WorkerSpec {
            pool: self.pool.name.clone(),
            slot: u32::try_from(self.slot).unwrap_or(u32::MAX),
            generation,
            serial: self.pool.next_serial(),
        };
        Box::pin(boot(Arc::clone(&self.pool), spec))
    }

    fn booted(&mut self, booted: Result<Held, BootError>) {
        self.boot = None;
        match booted {
            Ok(held) => {
                let recyclable = held.recyclable;
                let generation = held.generation;
                self.successor = Some(held);
                self.handle(&Event::Booted { recyclable });
                self.settle_reload_ahead(generation);
            }
            Err(error) => {
                self.handle(&Event::BootFailed);
                if error.permanent {
                    self.machine.give_up_hope();
                }
                self.boot_failed(error);
            }
        }
    }

    fn boot_failed(&mut self, error: BootError) {
        let failures = self.machine.failures();
        tracing::error!(
            target: "folk::pool",
            pool = %self.pool.name, slot = self.slot, failures, cause = %OneLine(&error),
            "a worker could not be booted"
        );
        self.pool.events.publish(BusEvent::WorkerBootFailed {
            pool: self.pool.name.clone(),
            slot: self.slot as u32,
            reason: error.message.clone(),
            failures,
        });
        self.pool.metrics.boot_failed();
        self.status.lock().last_error = Some(error.message.clone());
        self.announce_failing();
        if let Some((_, done)) = self.reload.take() {
            // Whoever asked may be gone; the log has it as well.
            let _asked = done.send(Err(error));
        }
    }

    /// Once the slot cannot be counted on, says so; with the last slot to say so, all who wait
    /// are refused.
    pub(crate) fn announce_failing(&self) {
        if self.machine.is_failing() {
            let message = self.status.lock().last_error.clone();
            self.pool
                .slot_failing(self.slot, message.as_deref().unwrap_or("no worker stays alive"));
        }
    }

    /// No worker takes requests any more; one may soon.
    pub(crate) fn vacated(&mut self) {
        self.control = None;
        let mut record = self.status.lock();
        record.pid = None;
        record.generation = None;
        record.ready_at = None;
        record.control = None;
    }

    /// The successor has become the current worker.
    pub(crate) fn promoted(&mut self, held: Option<&Held>) {
        let Some(held) = held else { return };
        self.control = Some(held.control.clone());
        self.memory_checked = Instant::now();
        {
            let mut record = self.status.lock();
            record.pid = held.pid;
            record.generation = Some(held.generation);
            record.ready_at = Some(Instant::now());
            record.recyclable = held.recyclable;
            record.last_error = None;
            record.control = Some(held.control.clone());
        }
        tracing::info!(
            target: "folk::pool",
            pool = %self.pool.name, slot = self.slot, r#gen = held.generation, pid = held.pid,
            boot_ms = held.boot.as_millis() as u64,
            "a worker is ready"
        );
        self.pool.metrics.worker_ready(held.boot);
        self.pool.worker_ready();
        self.pool.events.publish(BusEvent::WorkerReady {
            pool: self.pool.name.clone(),
            slot: self.slot as u32,
            pid: held.pid,
            generation: held.generation,
            boot: held.boot,
        });
        self.settle_reload();
    }

    /// Tells whoever asked for a reload, once it is done here.
    fn settle_reload(&mut self) {
        let serving = self.machine.serving_generation();
        if let Some((wanted, done)) = self.reload.take() {
            let recyclable = self.status.lock().recyclable;
            if serving == Some(wanted) || (serving.is_some() && !recyclable) {
                let _asked = done.send(Ok(()));
            } else {
                self.reload = Some((wanted, done));
            }
        }
    }

    /// A successor that only waits for a request to end, one that runs or is on its way to the old
    /// worker, is as good as serving: that may take long, and the other slots need not wait for it.
    fn settle_reload_ahead(&mut self, booted: u64) {
        if self.successor.is_some()
            && let Some((_, done)) = self.reload.take_if(|(wanted, _)| *wanted == booted)
        {
            let _asked = done.send(Ok(()));
        }
    }

    /// Ends a worker beside the slot's further life.
    pub(crate) fn let_go(&mut self, held: Option<Held>, reason: Reason, grace: Duration) {
        let Some(held) = held else { return };
        self.pool.metrics.worker_gone(reason);
        self.farewells.bid(&self.pool, self.slot as u32, held, reason, grace);
    }
}

impl PoolShared {
    /// Takes back a request that a worker did not take. It waits for its deadline at most.
    pub(crate) fn put_back(&self, job: Box<Job>) {
        let deadline = job.deadline;
        if let Some(ticket) = self.dispatch.put_back(job) {
            let dispatch: Arc<Dispatch> = Arc::clone(&self.dispatch);
            // Its caller counts on a slot, so the deadline is watched here. Rare, and ends by itself.
            tokio::spawn(async move {
                tokio::time::sleep_until(deadline.instant()).await;
                if let Some(job) = dispatch.withdraw_request(ticket) {
                    job.reply.send(Err(Error::Timeout(TimeoutPhase::Queued)));
                }
            });
        }
    }
}

/// How often a request may go on after a worker that was gone before it took it.
fn handovers_after(exit: &Exit) -> u32 {
    match exit.kind {
        ExitKind::Code(0) => HANDOVERS_AFTER_STOP,
        _ => HANDOVERS_AFTER_DEATH,
    }
}

async fn poll_boot(boot: &mut Option<BootFuture>) -> Result<Held, BootError> {
    match boot {
        Some(boot) => boot.await,
        None => std::future::pending().await,
    }
}
