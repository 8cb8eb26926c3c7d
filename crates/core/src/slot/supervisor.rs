//! The one task that holds a slot's worker and carries out what the slot machine decides.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use folk_api::error::TimeoutPhase;
use folk_api::events::Event as BusEvent;
use folk_api::runtime::{ExitKind, NotTaken};
use folk_api::{BootError, Error, Exit, Job, Outcome, Reply, Worker, WorkerSpec};
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use super::control::Control;
use super::exit::Reason;
use super::state::{Action, Event, SlotMachine};
use super::status::SlotStatus;
use crate::pool::PoolShared;
use crate::pool::dispatch::{Dispatch, Offered};

/// What others ask of a slot.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve this generation; the answer comes once a worker of it serves, or failed to boot.
    Reload {
        /// The generation.
        generation: u64,
        /// Where the outcome goes.
        done: oneshot::Sender<Result<(), BootError>>,
    },
    /// Replace the worker.
    Recycle(Reason),
    /// End once the running request is finished.
    Drain,
    /// End now.
    Stop,
}

/// Commands a slot holds before its supervisor comes to them. Reloads are serialised by the pool,
/// so more than a few at once is a fault of the sender, who is told.
pub(crate) const COMMANDS: usize = 16;

/// A worker is looked at for its memory at most this often: reading it costs system calls.
const MEMORY_CHECK_EVERY: Duration = Duration::from_secs(1);

/// Beyond its own grace, how long the runtime may take to end a worker.
const TERMINATE_MARGIN: Duration = Duration::from_secs(5);

/// How often a request may go to another worker because one died before it took it.
const HANDOVERS_AFTER_DEATH: u32 = 1;

/// How often it may because one asked to be stopped instead, or had ended by itself in order.
/// Nothing went wrong then; the bound only keeps workers that never do anything else from passing
/// it around for ever.
const HANDOVERS_AFTER_STOP: u32 = 16;

/// A worker that takes requests, or soon will.
struct Held {
    worker: Box<dyn Worker>,
    control: Control,
    recyclable: bool,
    pid: Option<u32>,
    generation: u64,
    boot: Duration,
}

type BootFuture = Pin<Box<dyn Future<Output = Result<Held, BootError>> + Send>>;

/// See the module.
pub(crate) struct Supervisor {
    /// The worker that takes requests. Apart from the desk, so that the one can run a request
    /// while the other handles events.
    current: Option<Held>,
    desk: Desk,
}

/// Everything of the supervisor but the current worker.
struct Desk {
    slot: usize,
    pool: Arc<PoolShared>,
    status: Arc<SlotStatus>,
    machine: SlotMachine,
    commands: mpsc::Receiver<Command>,
    /// The worker that is being booted.
    boot: Option<BootFuture>,
    /// The worker that is booted and waits for its turn. Its death shows when it is given one.
    successor: Option<Held>,
    /// Workers on their way out; each has a bounded time for it.
    retiring: JoinSet<()>,
    /// Ends that time at once.
    cut: watch::Sender<bool>,
    /// Moved only when something is due earlier than it is armed for, so that a busy slot never
    /// touches the timer wheel.
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// What the machine decided about the current worker, until it is carried out.
    steps: VecDeque<Step>,
    /// Handles of the current worker and of the request it runs.
    control: Option<Control>,
    running: Option<Reply>,
    /// A request that came instead of a place in the rotation.
    next: Option<Box<Job>>,
    /// Who waits to hear of a reload.
    reload: Option<(u64, oneshot::Sender<Result<(), BootError>>)>,
    memory_checked: Instant,
    ended: bool,
}

/// What is to be done to the current worker.
#[derive(Debug, Clone, Copy)]
enum Step {
    Retire(Reason),
    Discard(Reason),
    Promote,
    Offer,
}

/// What can happen beside a running request or the wait for one.
enum Happening {
    Command(Command),
    Booted(Result<Held, BootError>),
    /// A retired worker is gone.
    Gone,
    Tick,
}

impl Supervisor {
    pub(crate) fn new(
        slot: usize,
        pool: Arc<PoolShared>,
        status: Arc<SlotStatus>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let machine = SlotMachine::new(pool.slot_limits, pool.generation(), fastrand::Rng::new());
        let now = Instant::now();
        Self {
            current: None,
            desk: Desk {
                slot,
                pool,
                status,
                machine,
                commands,
                boot: None,
                successor: None,
                retiring: JoinSet::new(),
                cut: watch::channel(false).0,
                timer: Box::pin(tokio::time::sleep_until(now)),
                armed: None,
                steps: VecDeque::with_capacity(4),
                control: None,
                running: None,
                next: None,
                reload: None,
                memory_checked: now,
                ended: false,
            },
        }
    }

    /// Runs the slot until it ends.
    pub(crate) async fn run(mut self) {
        self.desk.handle(&Event::Start);
        while !self.desk.ended {
            if let Some(job) = self.desk.next.take() {
                self.serve(job).await;
            } else if self.current.is_some() {
                self.wait_idle().await;
            } else {
                let happening = self.desk.next_happening().await;
                self.desk.happen(happening);
            }
            self.carry_out();
        }
        self.desk.leave().await;
    }

    /// Waits for a request, watching the worker meanwhile.
    async fn wait_idle(&mut self) {
        let Some(held) = &mut self.current else { return };
        let slot = self.desk.slot;
        let pool = Arc::clone(&self.desk.pool);
        tokio::select! {
            biased;
            job = std::future::poll_fn(|cx| pool.dispatch.poll_assigned(slot, cx)) => {
                self.desk.next = Some(job);
            }
            died = contained(held.worker.died()) => {
                let (reason, exit) = match died {
                    Ok(exit) if exit.kind == ExitKind::Garbage => (Reason::Protocol, exit),
                    Ok(exit) => (Reason::Died, exit),
                    Err(panic) => (Reason::Runtime, Exit { kind: ExitKind::Unknown, last_words: panic }),
                };
                self.desk.idle_death(reason, &exit);
            }
            happening = self.desk.next_happening() => self.desk.happen(happening),
        }
    }

    /// Has the current worker run one request.
    async fn serve(&mut self, job: Box<Job>) {
        let Some(held) = &mut self.current else {
            // Cannot happen: only a slot with a worker is offered. The request is not lost even so.
            return self.desk.pool.put_back(job);
        };
        let desk = &mut self.desk;
        if job.reply.is_abandoned() {
            // Its caller left before it was started.
            return desk.handle(&Event::Skipped);
        }
        if job.deadline.passed() {
            // No worker is to be killed for what can only come too late.
            job.reply.send(Err(Error::Timeout(TimeoutPhase::Queued)));
            return desk.handle(&Event::Skipped);
        }
        desk.handle(&Event::Assigned { deadline: job.deadline.instant() });
        let watched = desk.pool.cancel_abandoned.then(|| job.reply.clone());
        desk.running = Some(job.reply.clone());
        let outcome = {
            let run = contained(held.worker.execute(job));
            tokio::pin!(run);
            let mut cancelled = false;
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut run => break Some(outcome),
                    happening = desk.next_happening() => desk.happen(happening),
                    () = abandoned(watched.as_ref()), if !cancelled => {
                        cancelled = true;
                        desk.handle(&Event::Cancelled);
                    }
                }
                if !desk.steps.is_empty() {
                    // The worker is to go although its request is not over: the slot is stopped,
                    // or the runtime does not let go of a worker that was killed.
                    break None;
                }
            }
        };
        let reply = desk.running.take();
        match outcome {
            Some(outcome) => desk.ran(outcome, reply.as_ref()),
            None => {
                if let Some(reply) = reply {
                    // Does nothing where the deadline answered it already.
                    reply.send(Err(Error::ShuttingDown));
                }
            }
        }
    }

    /// Does to the current worker what the machine decided, in order.
    fn carry_out(&mut self) {
        while let Some(step) = self.desk.steps.pop_front() {
            match step {
                Step::Retire(reason) => {
                    let grace = self.desk.pool.terminate_grace;
                    self.desk.vacated();
                    self.desk.let_go(self.current.take(), reason, grace);
                }
                Step::Discard(reason) => {
                    self.desk.vacated();
                    self.desk.let_go(self.current.take(), reason, Duration::ZERO);
                }
                Step::Promote => {
                    self.current = self.desk.successor.take();
                    self.desk.promoted(self.current.as_ref());
                }
                Step::Offer => self.desk.offer(),
            }
        }
    }
}

impl Desk {
    /// The slot has ended: nothing more comes to it, and its workers go.
    async fn leave(&mut self) {
        let assigned = self.pool.dispatch.leave(self.slot);
        for job in assigned.into_iter().chain(self.next.take()) {
            job.reply.send(Err(Error::ShuttingDown));
        }
        while !self.retiring.is_empty() {
            tokio::select! {
                _ = self.retiring.join_next() => {}
                command = self.commands.recv(), if !*self.cut.borrow() => {
                    // The grace that retired workers have ends with the order to stop.
                    if matches!(command, Some(Command::Stop) | None) {
                        self.cut.send_replace(true);
                    }
                }
            }
        }
    }

    /// The next thing that happens beside the current worker. Cancel-safe.
    async fn next_happening(&mut self) -> Happening {
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
            _ = self.retiring.join_next(), if !self.retiring.is_empty() => Happening::Gone,
            () = &mut self.timer, if self.armed.is_some() => Happening::Tick,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Command(Command::Reload { generation, done }) => {
                self.reload = Some((generation, done));
                self.handle(&Event::Reload { generation });
                self.settle_reload();
            }
            Happening::Command(Command::Recycle(reason)) => self.handle(&Event::Recycle(reason)),
            Happening::Command(Command::Drain) => self.handle(&Event::Drain),
            Happening::Command(Command::Stop) => {
                self.cut.send_replace(true);
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
    fn handle(&mut self, event: &Event) {
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

    fn offer(&mut self) {
        match self.pool.dispatch.offer(self.slot) {
            Offered::Job(job) => self.next = Some(job),
            // Drained: the order to end comes from the pool, which watches the queue.
            Offered::Idle | Offered::Drained => {}
        }
    }

    /// The request is over, one way or the other.
    fn ran(&mut self, outcome: Result<Outcome, String>, reply: Option<&Reply>) {
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
    fn idle_death(&mut self, reason: Reason, exit: &Exit) {
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
        tracing::warn!(
            target: "folk::pool",
            pool = %self.pool.name, slot = self.slot, pid = self.status.lock().pid,
            reason = reason.label(), %cause,
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
            pool = %self.pool.name, slot = self.slot, failures, cause = %error,
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
    fn announce_failing(&self) {
        if self.machine.is_failing() {
            let message = self.status.lock().last_error.clone();
            self.pool
                .slot_failing(self.slot, message.as_deref().unwrap_or("no worker stays alive"));
        }
    }

    /// No worker takes requests any more; one may soon.
    fn vacated(&mut self) {
        self.control = None;
        let mut record = self.status.lock();
        record.pid = None;
        record.generation = None;
        record.ready_at = None;
        record.control = None;
    }

    /// The successor has become the current worker.
    fn promoted(&mut self, held: Option<&Held>) {
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

    /// A successor that only waits for the running request to end is as good as serving: that may
    /// take long, and the other slots need not wait for it.
    fn settle_reload_ahead(&mut self, booted: u64) {
        if self.running.is_some()
            && let Some((_, done)) = self.reload.take_if(|(wanted, _)| *wanted == booted)
        {
            let _asked = done.send(Ok(()));
        }
    }

    /// Ends a worker beside the slot's further life.
    fn let_go(&mut self, held: Option<Held>, reason: Reason, grace: Duration) {
        let Some(Held { mut worker, pid, .. }) = held else { return };
        self.pool.metrics.worker_gone(reason);
        let pool = Arc::clone(&self.pool);
        let slot = self.slot as u32;
        let cut = self.cut.subscribe();
        self.retiring.spawn(async move {
            let ended = {
                let ending = contained(worker.terminate(grace));
                let bounded = tokio::time::timeout(grace + TERMINATE_MARGIN, ending);
                tokio::select! {
                    ended = bounded => match ended {
                        Ok(Ok(exit)) => Ok(exit),
                        Ok(Err(panic)) => Err(format!("its runtime panicked: {panic}")),
                        Err(_elapsed) => Err("its runtime did not end it in time".to_owned()),
                    },
                    () = was_cut(cut), if !grace.is_zero() => Err("cut: told to stop at once".to_owned()),
                }
            };
            // Whatever is left of it, dropping it kills.
            drop(worker);
            tracing::info!(
                target: "folk::pool",
                pool = %pool.name, slot, pid, reason = reason.label(), exit = account(&ended),
                "a worker is gone"
            );
            let exit = ended.map_or_else(|why| why, |exit| exit.to_string());
            pool.events.publish(BusEvent::WorkerGone {
                pool: pool.name.clone(),
                slot,
                pid,
                reason: reason.label().to_owned(),
                exit,
            });
        });
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

/// Boots a worker within the boot timeout.
async fn boot(pool: Arc<PoolShared>, spec: WorkerSpec) -> Result<Held, BootError> {
    let started = Instant::now();
    let deadline = started + pool.boot_timeout;
    let late = || {
        let timeout = folk_api::units::HumanDuration(pool.boot_timeout);
        format!("was not ready within {timeout}; raise boot_timeout if it needs longer")
    };
    let spawning = contained(pool.runtime.spawn(&spec));
    let mut worker = match tokio::time::timeout_at(deadline, spawning).await {
        Ok(spawned) => spawned.map_err(runtime_panicked)??,
        Err(_elapsed) => return Err(BootError::new(format!("the worker {}", late()))),
    };
    let readying = tokio::time::timeout_at(deadline, contained(worker.ready())).await;
    match readying {
        Ok(ready) => ready.map_err(runtime_panicked)??,
        Err(_elapsed) => {
            let ending = contained(worker.terminate(Duration::ZERO));
            let words = match tokio::time::timeout(TERMINATE_MARGIN, ending).await {
                Ok(Ok(exit)) if !exit.last_words.trim().is_empty() => {
                    format!("; it said: {}", exit.last_words.trim())
                }
                _ => String::new(),
            };
            return Err(BootError::new(format!("the worker {}{words}", late())));
        }
    }
    let looked = catch_unwind(AssertUnwindSafe(|| (worker.control(), worker.is_recyclable())));
    let (control, recyclable) = looked.map_err(|panic| runtime_panicked(panic_text(&*panic)))?;
    let control = Control::new(control);
    let (pid, generation) = (control.pid(), spec.generation);
    Ok(Held { worker, control, recyclable, pid, generation, boot: started.elapsed() })
}

/// How often a request may go on after a worker that was gone before it took it.
fn handovers_after(exit: &Exit) -> u32 {
    match exit.kind {
        ExitKind::Code(0) => HANDOVERS_AFTER_STOP,
        _ => HANDOVERS_AFTER_DEATH,
    }
}

/// How a worker ended, for the log. What one said that ended in order stands there already.
fn account(ended: &Result<Exit, String>) -> String {
    match ended {
        Ok(Exit { kind: kind @ ExitKind::Code(0), .. }) => {
            Exit { kind: *kind, last_words: String::new() }.to_string()
        }
        Ok(exit) => exit.to_string(),
        Err(why) => why.clone(),
    }
}

async fn was_cut(mut cut: watch::Receiver<bool>) {
    if cut.wait_for(|cut| *cut).await.is_err() {
        // Nobody is left to say so.
        std::future::pending::<()>().await;
    }
}

async fn poll_boot(boot: &mut Option<BootFuture>) -> Result<Held, BootError> {
    match boot {
        Some(boot) => boot.await,
        None => std::future::pending().await,
    }
}

async fn abandoned(reply: Option<&Reply>) {
    match reply {
        Some(reply) => reply.abandoned().await,
        None => std::future::pending().await,
    }
}

fn runtime_panicked(message: impl std::fmt::Display) -> BootError {
    BootError::new(format!("the runtime panicked: {message}"))
}

/// Keeps a panic of a runtime from ending the slot; the text is what it panicked with.
async fn contained<T>(future: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| panic_text(&*panic))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
