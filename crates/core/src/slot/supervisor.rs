//! The one task that holds a slot's worker and carries out what the slot machine decides.

use std::sync::Arc;
use std::time::Duration;

use folk_api::error::TimeoutPhase;
use folk_api::runtime::ExitKind;
use folk_api::{Error, Exit, Job, Reply};
use tokio::sync::mpsc;

use super::action::Event;
use super::boot::Held;
use super::command::Command;
use super::contain::contained;
use super::desk::{Desk, Step};
use super::exit::Reason;
use super::status::SlotStatus;
use crate::pool::PoolShared;

/// How long a slot rests after a panic of its supervisor.
const REBIRTH: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Supervisor {
    /// The worker that takes requests. Apart from the desk, so that the one can run a request
    /// while the other handles events.
    current: Option<Held>,
    desk: Desk,
}

impl Supervisor {
    pub(crate) fn new(
        slot: usize,
        pool: Arc<PoolShared>,
        status: Arc<SlotStatus>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self { current: None, desk: Desk::new(slot, pool, status, commands) }
    }

    /// Keeps the slot until it ends, whatever happens to its supervisor: after a panic, which is a
    /// fault of ours, another takes its place.
    pub(crate) async fn keep(mut self) {
        while let Err(panic) = contained(self.run()).await {
            tracing::error!(
                target: "folk::pool",
                pool = %self.desk.pool.name, slot = self.desk.slot, panic,
                "a slot's supervisor panicked; another takes its place"
            );
            // The worker goes with it, and so does the request it ran.
            self.current = None;
            self.desk = self.desk.cleared();
            if self.desk.pool.dispatch.is_draining() {
                return;
            }
            // Jittered, should it happen to all of them at once.
            tokio::time::sleep(REBIRTH.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    /// Runs the slot until it ends.
    async fn run(&mut self) {
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
                desk.announce_failing();
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

async fn abandoned(reply: Option<&Reply>) {
    match reply {
        Some(reply) => reply.abandoned().await,
        None => std::future::pending().await,
    }
}
