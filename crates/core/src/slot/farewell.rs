//! The last steps of workers that left their slot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use folk_api::Exit;
use folk_api::events::Event as BusEvent;
use folk_api::runtime::ExitKind;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::boot::{Held, TERMINATE_MARGIN};
use super::contain::contained;
use super::exit::Reason;
use crate::pool::PoolShared;

/// Workers of one slot that may be on their way out at a time.
const MOST_LEAVING: usize = 2;

/// How long a worker with too much memory may take to end.
const FAT_GRACE: Duration = Duration::from_secs(1);

/// Workers of one slot on their way out. Each has a bounded time for it, and they are a bounded
/// number: what leaves slowly must not pile up.
pub(crate) struct Farewells {
    tasks: JoinSet<()>,
    /// Ends the time of all of them at once.
    cut: watch::Sender<bool>,
    /// Ends that of each, the oldest first.
    hurry: VecDeque<oneshot::Sender<()>>,
}

impl Default for Farewells {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), cut: watch::channel(false).0, hurry: VecDeque::new() }
    }
}

impl Farewells {
    /// Whether nobody is on the way out.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits until the next one is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        // A panic in there is a fault of ours; the worker was dropped with it, and so killed.
        let _gone = self.tasks.join_next().await;
    }

    /// Ends the time all of them have.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Whether [`cut`](Self::cut) was called.
    pub(crate) fn are_cut(&self) -> bool {
        *self.cut.borrow()
    }

    /// Sees a worker off: asks, waits for `grace`, kills.
    pub(crate) fn bid(
        &mut self,
        pool: &Arc<PoolShared>,
        slot: u32,
        held: Held,
        reason: Reason,
        grace: Duration,
    ) {
        self.hurry.retain(|leaving| !leaving.is_closed());
        if self.hurry.len() >= MOST_LEAVING
            && let Some(oldest) = self.hurry.pop_front()
        {
            let _just_gone = oldest.send(());
        }
        let (leaving, hurried) = oneshot::channel();
        self.hurry.push_back(leaving);
        let grace = match reason {
            // Its memory is what there is too little of.
            Reason::MaxMemory => grace.min(FAT_GRACE),
            _ => grace,
        };
        let farewell = Farewell { pool: Arc::clone(pool), slot, held, reason, grace };
        self.tasks.spawn(farewell.take(self.cut.subscribe(), hurried));
    }
}

/// One worker's last steps.
struct Farewell {
    pool: Arc<PoolShared>,
    slot: u32,
    held: Held,
    reason: Reason,
    grace: Duration,
}

impl Farewell {
    async fn take(self, cut: watch::Receiver<bool>, hurried: oneshot::Receiver<()>) {
        let Self { pool, slot, held, reason, grace } = self;
        let Held { mut worker, pid, .. } = held;
        let ended = {
            let ending = contained(worker.terminate(grace));
            let bounded = tokio::time::timeout(grace + TERMINATE_MARGIN, ending);
            tokio::select! {
                ended = bounded => match ended {
                    Ok(Ok(exit)) => Ok(exit),
                    Ok(Err(panic)) => Err(format!("its runtime panicked: {panic}")),
                    Err(_elapsed) => Err("its runtime did not end it in time".to_owned()),
                },
                () = was_cut(cut), if !grace.is_zero() => {
                    Err("cut: told to stop at once".to_owned())
                }
                Ok(()) = hurried, if !grace.is_zero() => {
                    Err("cut: others of this slot wait to end as well".to_owned())
                }
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
