//! A pool: a named set of slots with one runtime.
//!
//! [`Pool::execute`](folk_api::Executor::execute) admits a request or refuses it, in number and in
//! time, and waits for the answer. The slots' supervisors do the rest.

pub(crate) mod dispatch;
mod metrics;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use folk_api::error::{BusyReason, TimeoutPhase};
use folk_api::events::{Event as BusEvent, EventBus};
use folk_api::health::Health;
use folk_api::metrics::MetricsRegistry;
use folk_api::{
    Answer, BootError, Deadline, Error, Executor, Job, OneLine, Request, Response, Runtime,
};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use self::dispatch::{Admission, Dispatch, Ticket};
use self::metrics::PoolMetrics;
pub use self::settings::{PoolSettings, Workers};
use crate::slot::command::{COMMANDS, Command};
use crate::slot::contain::contained;
use crate::slot::state::SlotLimits;
use crate::slot::status::{SlotInfo, SlotStatus};
use crate::slot::supervisor::Supervisor;
use crate::slot::{Reason, SlotState};

/// A named set of slots with one runtime. Dropping it ends its workers at once; see
/// [`drain`](Pool::drain) and [`stop`](Pool::stop) for the orderly way.
pub struct Pool {
    shared: Arc<PoolShared>,
    supervisors: Mutex<JoinSet<()>>,
    /// One reload at a time.
    reloading: Mutex<()>,
}

/// How long the client may take for a body that a worker needs whole, all parts together; a listener
/// bounds the wait for each. A gigabyte at 2.5 Mbit/s.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long the slots may take to end at once.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What a pool and its supervisors share.
pub(crate) struct PoolShared {
    pub(crate) name: String,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) slot_limits: SlotLimits,
    pub(crate) boot_timeout: Duration,
    pub(crate) terminate_grace: Duration,
    pub(crate) cancel_abandoned: bool,
    pub(crate) metrics: PoolMetrics,
    pub(crate) events: Arc<dyn EventBus>,
    exec_timeout: Duration,
    queue_timeout: Duration,
    generation: AtomicU64,
    last_generation: AtomicU64,
    serial: AtomicU64,
    statuses: Vec<Arc<SlotStatus>>,
    commands: OnceLock<Vec<mpsc::Sender<Command>>>,
    /// How the pool's start stands.
    start: watch::Sender<Start>,
}

/// How the first boot of a pool stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    Booting,
    /// At least one worker was ready.
    Ready,
    /// No slot could boot, and none ever could before.
    Failed(String),
}

impl Pool {
    /// A pool that has not begun; requests wait until [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// The metrics could not be registered.
    pub fn new(
        settings: &PoolSettings,
        runtime: Arc<dyn Runtime>,
        metrics: &dyn MetricsRegistry,
        events: Arc<dyn EventBus>,
    ) -> anyhow::Result<Arc<Self>> {
        let slots = settings.workers.slots();
        let metrics = PoolMetrics::new(&settings.name, slots, metrics)?;
        let depth = Arc::clone(&metrics.queued);
        Ok(Arc::new(Self {
            shared: Arc::new(PoolShared {
                name: settings.name.clone(),
                runtime,
                dispatch: Arc::new(Dispatch::new(slots, settings.queue_max, depth)),
                slot_limits: settings.slot_limits(),
                boot_timeout: settings.boot_timeout,
                terminate_grace: settings.terminate_grace,
                cancel_abandoned: settings.cancel_abandoned,
                metrics,
                events,
                exec_timeout: settings.exec_timeout,
                queue_timeout: settings.queue_timeout,
                generation: AtomicU64::new(1),
                last_generation: AtomicU64::new(1),
                serial: AtomicU64::new(0),
                statuses: (0..slots).map(|_| Arc::new(SlotStatus::new())).collect(),
                commands: OnceLock::new(),
                start: watch::channel(Start::Booting).0,
            }),
            supervisors: Mutex::new(JoinSet::new()),
            reloading: Mutex::new(()),
        }))
    }

    /// Lets every slot boot its worker. [`Self::ready`] waits for the first. Once.
    pub async fn start(&self) {
        let mut supervisors = self.supervisors.lock().await;
        let (senders, receivers): (Vec<_>, Vec<_>) =
            self.shared.statuses.iter().map(|_| mpsc::channel(COMMANDS)).unzip();
        if self.shared.commands.set(senders).is_err() {
            return;
        }
        for (slot, (status, commands)) in self.shared.statuses.iter().zip(receivers).enumerate() {
            let (shared, status) = (Arc::clone(&self.shared), Arc::clone(status));
            supervisors.spawn(Supervisor::new(slot, shared, status, commands).keep());
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Waits until a worker is ready.
    ///
    /// # Errors
    ///
    /// No slot could boot one; the text is PHP's own. The slots go on trying.
    pub async fn ready(&self) -> Result<(), BootError> {
        let mut start = self.shared.start.subscribe();
        match start.wait_for(|start| *start != Start::Booting).await.as_deref() {
            Ok(Start::Failed(reason)) => Err(BootError::new(reason.clone())),
            Ok(Start::Ready | Start::Booting) => Ok(()),
            Err(_) => Err(BootError::new("the pool is gone")),
        }
    }

    /// Moves to new code: boots a worker of the next generation in one slot first, and the others
    /// after it one by one, each new worker ready before the old one retires.
    ///
    /// # Errors
    ///
    /// The first worker of the new generation could not be booted: the old generation goes on
    /// serving, untouched.
    pub async fn reload(&self) -> Result<u64, BootError> {
        let _one_at_a_time = self.reloading.lock().await;
        let old = self.shared.generation();
        // A number is never used again, also after a reload that failed: what a runtime has made of
        // it must not be taken for the next one.
        let new = self.shared.last_generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.reload_runtime(new).await?;
        self.shared.generation.store(new, Ordering::Release);
        for slot in 0..self.shared.statuses.len() {
            if let Err(error) = self.reload_slot(slot, new).await {
                if self.shared.dispatch.is_draining() {
                    return Err(BootError::new("the pool ended meanwhile"));
                }
                if slot == 0 {
                    self.shared.generation.store(old, Ordering::Release);
                    let (done, _nobody) = oneshot::channel();
                    self.command(slot, Command::Reload { generation: old, done }).await;
                    return Err(error);
                }
                // The new code boots, as another slot showed; this slot goes on trying.
                tracing::warn!(target: "folk::pool", pool = self.name(), slot, error = %OneLine(&error), "a slot lags behind the reload");
            }
        }
        self.shared
            .events
            .publish(BusEvent::PoolReloaded { pool: self.name().to_owned(), generation: new });
        Ok(new)
    }

    async fn reload_slot(&self, slot: usize, generation: u64) -> Result<(), BootError> {
        let (done, outcome) = oneshot::channel();
        self.command(slot, Command::Reload { generation, done }).await;
        outcome.await.unwrap_or_else(|_| Err(BootError::new("the slot ended meanwhile")))
    }

    /// Takes no more requests, finishes those that were admitted, ends the workers. Ends by itself
    /// only when they do: bound it, and [`stop`](Self::stop) after.
    pub async fn drain(&self) {
        self.shared.dispatch.drain();
        self.shared.dispatch.drained().await;
        self.shared.tell_slots(|| Command::Drain).await;
        let mut supervisors = self.supervisors.lock().await;
        while let Some(ended) = supervisors.join_next().await {
            log_panic(&self.shared.name, ended);
        }
        self.refuse_queued();
    }

    /// Ends the workers now, whatever they do. What still waits or runs is answered with
    /// [`Error::ShuttingDown`].
    pub async fn stop(&self) {
        self.shared.dispatch.drain();
        self.refuse_queued();
        let ending = async {
            self.shared.tell_slots(|| Command::Stop).await;
            let mut supervisors = self.supervisors.lock().await;
            while let Some(ended) = supervisors.join_next().await {
                log_panic(&self.shared.name, ended);
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, ending).await.is_err() {
            // Whoever drains meanwhile holds it; the slots are as good as ended then.
            if let Ok(mut supervisors) = self.supervisors.try_lock() {
                supervisors.abort_all();
            }
            for slot in 0..self.shared.statuses.len() {
                if let Some(job) = self.shared.dispatch.leave(slot) {
                    job.reply.send(Err(Error::ShuttingDown));
                }
            }
        }
        // What a worker did not take came back meanwhile.
        self.refuse_queued();
    }

    fn refuse_queued(&self) {
        for job in self.shared.dispatch.abandon_queue() {
            job.reply.send(Err(Error::ShuttingDown));
        }
    }

    /// Replaces the worker of a slot, the new one first. `false` when there is no such slot.
    pub async fn recycle(&self, slot: u32) -> bool {
        self.command(slot as usize, Command::Recycle(Reason::Operator)).await
    }

    async fn command(&self, slot: usize, command: Command) -> bool {
        let sender = self.shared.commands.get().and_then(|senders| senders.get(slot));
        match sender {
            Some(sender) => sender.send(command).await.is_ok(),
            None => false,
        }
    }

    /// Its slots at this moment.
    pub fn slots(&self) -> Vec<SlotInfo> {
        let info = |(slot, status): (usize, &Arc<SlotStatus>)| status.info(slot as u32);
        self.shared.statuses.iter().enumerate().map(info).collect()
    }

    /// Whether a request waits or runs.
    pub fn is_working(&self) -> bool {
        let busy = |state: SlotState| matches!(state, SlotState::Busy | SlotState::Stopping);
        self.queued() > 0 || self.shared.statuses.iter().any(|status| busy(status.lock().state))
    }

    /// Requests that wait for a slot.
    pub fn queued(&self) -> usize {
        self.shared.dispatch.queued()
    }

    /// The generation it serves, or moves to.
    pub fn generation(&self) -> u64 {
        self.shared.generation()
    }

    /// Whether it can serve.
    pub fn health(&self) -> Health {
        let up = |state: SlotState| {
            matches!(state, SlotState::Idle | SlotState::Busy | SlotState::Stopping)
        };
        let states: Vec<_> = self.shared.statuses.iter().map(|s| s.lock().state).collect();
        let ready = states.iter().filter(|state| up(**state)).count();
        if ready > 0 {
            return Health { ready: true, message: format!("{ready}/{} workers", states.len()) };
        }
        let error = self.shared.statuses.iter().find_map(|s| s.lock().last_error.clone());
        Health::unready(error.unwrap_or_else(|| "no worker is ready yet".to_owned()))
    }
}

#[async_trait]
impl Executor for Pool {
    async fn execute(&self, request: Request, deadline: Deadline) -> Result<Response, Error> {
        let shared = &self.shared;
        let left = Left(&shared.metrics);
        let answered = if shared.runtime.needs_preparation(&request) {
            let begun = Instant::now();
            match shared.prepare(request).await {
                Ok(request) => {
                    // The time the client took for its body is not the application's.
                    let deadline = Deadline::at(deadline.instant() + begun.elapsed());
                    self.admit(request, deadline).await
                }
                Err(error) => Err(error),
            }
        } else {
            self.admit(request, deadline).await
        };
        std::mem::forget(left);
        shared.metrics.answered(answered.as_ref().map(|_| ()));
        answered
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.shared.exec_timeout)
    }
}

impl Pool {
    async fn admit(&self, request: Request, deadline: Deadline) -> Result<Response, Error> {
        let shared = &self.shared;
        let (job, answer) = Job::new(request, deadline);
        match shared.dispatch.admit(Box::new(job)) {
            Admission::Assigned => answer.await,
            Admission::Queued(ticket) => shared.wait(answer, ticket, deadline).await,
            refused => Err(shared.refusal(refused)),
        }
    }
}

impl PoolShared {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn worker_ready(&self) {
        self.start.send_if_modified(|start| {
            let first = *start != Start::Ready;
            *start = Start::Ready;
            first
        });
    }

    /// A slot cannot be counted on; with the last such slot, those who wait are refused.
    pub(crate) fn slot_failing(&self, slot: usize, message: &str) {
        let was_last = self.dispatch.fail(slot, message);
        for job in was_last.refused {
            job.reply.send(Err(Error::BootFailed(message.to_owned())));
        }
        if was_last.all_failing {
            self.start.send_if_modified(|start| {
                let booting = *start == Start::Booting;
                if booting {
                    *start = Start::Failed(message.to_owned());
                }
                booting
            });
        }
    }

    async fn tell_slots(&self, command: impl Fn() -> Command) {
        for sender in self.commands.get().into_iter().flatten() {
            // A slot that is gone has ended already.
            let _ended = sender.send(command()).await;
        }
    }

    /// Tells the runtime of a new generation, within the boot timeout.
    async fn reload_runtime(&self, generation: u64) -> Result<(), BootError> {
        let telling = contained(self.runtime.reload(generation));
        match tokio::time::timeout(self.boot_timeout, telling).await {
            Ok(Ok(told)) => told,
            Ok(Err(panic)) => Err(BootError::new(format!("the runtime panicked: {panic}"))),
            Err(_elapsed) => Err(BootError::new("the runtime was not ready for it in time")),
        }
    }

    async fn prepare(&self, request: Request) -> Result<Request, Error> {
        // Not worth reading a body for, if it would be refused after.
        if let Some(refused) = self.dispatch.refuses() {
            return Err(self.refusal(refused));
        }
        let preparing = contained(self.runtime.prepare(request));
        match tokio::time::timeout(PREPARE_TIMEOUT, preparing).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(panic)) => Err(Error::Runtime(format!("it panicked: {panic}"))),
            Err(_elapsed) => Err(Error::Body(folk_api::BodyError::Timeout)),
        }
    }

    /// Waits in the queue for a slot, and then for the answer.
    async fn wait(
        &self,
        mut answer: Answer,
        ticket: Ticket,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        // Whoever leaves takes the request out of the queue at once.
        let place = Place { dispatch: &self.dispatch, ticket };
        let entered = Instant::now();
        let patience = deadline.earlier(Deadline::at(entered + self.queue_timeout));
        if let Ok(answered) = tokio::time::timeout_at(patience.instant(), &mut answer).await {
            return answered;
        }
        if self.dispatch.withdraw_request(place.ticket).is_none() {
            // A slot has it; its supervisor watches the deadline from here on.
            return answer.await;
        }
        Err(if patience == deadline {
            Error::Timeout(TimeoutPhase::Queued)
        } else {
            self.busy(BusyReason::WaitedTooLong)
        })
    }

    fn refusal(&self, refused: Admission) -> Error {
        match refused {
            Admission::Draining => Error::ShuttingDown,
            Admission::Failing(reason) => Error::BootFailed(reason),
            Admission::Full | Admission::Assigned | Admission::Queued(_) => {
                self.busy(BusyReason::QueueFull)
            }
        }
    }

    fn busy(&self, reason: BusyReason) -> Error {
        // By then every request that waits now has been served or refused.
        let retry_after = self.queue_timeout.max(Duration::from_secs(1));
        Error::Busy { reason, retry_after }
    }
}

/// Counts a request whose caller left: whoever stays forgets it.
struct Left<'a>(&'a PoolMetrics);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.answered(Err(&Error::ClientGone));
    }
}

/// A place in the queue, given up when its holder leaves.
struct Place<'a> {
    dispatch: &'a Dispatch,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        drop(self.dispatch.withdraw_request(self.ticket));
    }
}

fn log_panic(pool: &str, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(target: "folk::pool", pool, %error, "a slot's supervisor panicked");
    }
}
