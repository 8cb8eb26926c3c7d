//! What a pool counts. All handles are looked up when it starts.

use std::sync::Arc;
use std::time::Duration;

use folk_api::Error;
use folk_api::metrics::{Counter, Gauge, Histogram, MetricSpec, MetricsRegistry};

use crate::slot::{Reason, SlotState};

/// Upper bounds for boot times, in seconds: 1.5 ms for a fork, seconds for a framework.
const BOOT_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Upper bounds for waits in the queue, in seconds: from one short request to the queue timeout.
const WAIT_BUCKETS: [f64; 11] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The outcomes of requests as labels: `ok`, and those of [`Error::label`].
const OUTCOMES: [&str; 14] = [
    "ok",
    "busy",
    "boot_failed",
    "timeout",
    "not_taken",
    "died",
    "application",
    "protocol",
    "runtime",
    "bad_request",
    "body",
    "storage",
    "client_gone",
    "shutting_down",
];

pub(crate) struct PoolMetrics {
    outcomes: Vec<(&'static str, Arc<dyn Counter>)>,
    gone: Vec<(Reason, Arc<dyn Counter>)>,
    boot_failures: Arc<dyn Counter>,
    boot_seconds: Arc<dyn Histogram>,
    queue_wait: Arc<dyn Histogram>,
    /// How many requests wait.
    pub(crate) queued: Arc<dyn Gauge>,
    /// Slots by what they do.
    slots: Vec<(SlotState, Arc<dyn Gauge>)>,
}

impl PoolMetrics {
    pub(crate) fn new(
        pool: &str,
        slots: usize,
        registry: &dyn MetricsRegistry,
    ) -> anyhow::Result<Self> {
        let counter = |name, help, label: Option<(&'static str, &str)>| {
            let labels: Vec<_> = [("pool", pool)].into_iter().chain(label).collect();
            registry.counter(MetricSpec { name, help, labels: &labels })
        };
        let by_outcome = |outcome: &'static str| {
            let help = "Requests by how they ended";
            let counter = counter("folk_pool_requests", help, Some(("outcome", outcome)))?;
            anyhow::Ok((outcome, counter))
        };
        let by_reason = |reason: Reason| {
            let help = "Workers that left their slot, by reason";
            let label = ("reason", reason.label());
            anyhow::Ok((reason, counter("folk_pool_workers_gone", help, Some(label))?))
        };
        let by_state = |state: SlotState| {
            let labels = [("pool", pool), ("state", state.label())];
            let help = "Slots by what they do";
            let spec = MetricSpec { name: "folk_pool_slots", help, labels: &labels };
            anyhow::Ok((state, registry.gauge(spec)?))
        };
        let labels = [("pool", pool)];
        let spec = |name, help| MetricSpec { name, help, labels: &labels };
        let metrics = Self {
            outcomes: OUTCOMES.into_iter().map(by_outcome).collect::<Result<_, _>>()?,
            gone: Reason::ALL.into_iter().map(by_reason).collect::<Result<_, _>>()?,
            boot_failures: counter("folk_pool_boot_failures", "Boots that failed", None)?,
            boot_seconds: registry.histogram(
                spec("folk_pool_boot_seconds", "Time from spawn to ready"),
                &BOOT_BUCKETS,
            )?,
            queue_wait: registry.histogram(
                spec("folk_pool_queue_wait_seconds", "How long requests waited that had to"),
                &WAIT_BUCKETS,
            )?,
            queued: registry.gauge(spec("folk_pool_queued", "Requests that wait for a worker"))?,
            slots: SlotState::ALL.into_iter().map(by_state).collect::<Result<_, _>>()?,
        };
        metrics.slot_moved(None, SlotState::Booting, slots as f64);
        Ok(metrics)
    }

    /// Notes how long a request stood in the queue.
    pub(crate) fn waited(&self, time: Duration) {
        self.queue_wait.observe(time.as_secs_f64());
    }

    /// Notes how a request ended.
    pub(crate) fn answered(&self, outcome: Result<(), &Error>) {
        let label = outcome.err().map_or("ok", Error::label);
        // "ok" is first, so that the common case is one comparison.
        if let Some((_, counter)) = self.outcomes.iter().find(|(outcome, _)| *outcome == label) {
            counter.add(1);
        }
    }

    /// Notes what slots do now instead.
    pub(crate) fn slot_moved(&self, from: Option<SlotState>, to: SlotState, slots: f64) {
        for (state, gauge) in &self.slots {
            if Some(*state) == from {
                gauge.add(-slots);
            }
            if *state == to {
                gauge.add(slots);
            }
        }
    }

    pub(crate) fn worker_ready(&self, boot: Duration) {
        self.boot_seconds.observe(boot.as_secs_f64());
    }

    pub(crate) fn boot_failed(&self) {
        self.boot_failures.add(1);
    }

    pub(crate) fn worker_gone(&self, reason: Reason) {
        if let Some((_, counter)) = self.gone.iter().find(|(gone, _)| *gone == reason) {
            counter.add(1);
        }
    }
}
