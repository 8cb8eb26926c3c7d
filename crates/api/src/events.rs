//! What happens in the server, as values on a bus.
//!
//! Subscribers are bounded. When one falls behind, it loses its oldest *metric* events first and
//! silently; losing a *state* event is told to it ([`Received::Lagged`]) and counted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A worker is ready.
    WorkerReady {
        /// Its pool.
        pool: String,
        /// Its slot.
        slot: u32,
        /// Its process.
        pid: Option<u32>,
        /// The generation it booted from.
        generation: u64,
        /// How long it took.
        boot: Duration,
    },
    /// A worker could not be booted.
    WorkerBootFailed {
        /// Its pool.
        pool: String,
        /// Its slot.
        slot: u32,
        /// Why, in PHP's own words where there are some.
        reason: String,
        /// How often in a row.
        failures: u32,
    },
    /// A worker ended.
    WorkerGone {
        /// Its pool.
        pool: String,
        /// Its slot.
        slot: u32,
        /// Its process.
        pid: Option<u32>,
        /// A word for why: `max_jobs`, `ttl`, `timeout`, `died`, …
        reason: String,
        /// How it ended.
        exit: String,
    },
    /// A pool moved to another generation.
    PoolReloaded {
        /// The pool.
        pool: String,
        /// The generation it serves now.
        generation: u64,
    },
    /// The server moved to another phase.
    Phase {
        /// Its name: `serving`, `draining`, …
        phase: String,
    },
    /// Something a plugin has to say.
    Plugin {
        /// The plugin.
        plugin: String,
        /// What it is about: `task.completed`.
        topic: String,
        /// Whether it is a metric: one that may be lost silently.
        metric: bool,
        /// What it says.
        data: serde_json::Value,
    },
}

impl Event {
    /// Whether it is a metric, which the next one of its kind makes worthless.
    pub fn is_metric(&self) -> bool {
        matches!(self, Self::Plugin { metric: true, .. })
    }
}

/// What a subscriber gets.
#[derive(Debug, Clone)]
pub enum Received {
    /// The next event.
    Event(Arc<Event>),
    /// This many state events were lost here, because the subscriber was too slow.
    Lagged(u64),
}

/// The bus.
pub trait EventBus: Send + Sync {
    /// Tells every subscriber. Never waits.
    fn publish(&self, event: Event);

    /// A subscription that holds at most `capacity` events that were not received yet.
    fn subscribe(&self, capacity: usize) -> Box<dyn Subscription>;
}

/// One subscriber's end of the bus. Dropping it unsubscribes.
#[async_trait]
pub trait Subscription: Send {
    /// The next event, or word of a loss; `None` once the bus is gone.
    async fn receive(&mut self) -> Option<Received>;
}
