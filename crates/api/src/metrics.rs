//! Numbers for operators. Handles are looked up once, at boot, and are cheap to move after.

use std::sync::Arc;

/// Counts up.
pub trait Counter: Send + Sync {
    /// Adds `by`.
    fn add(&self, by: u64);
}

/// Goes up and down.
pub trait Gauge: Send + Sync {
    /// Sets it.
    fn set(&self, value: f64);
    /// Adds `by`, which may be negative.
    fn add(&self, by: f64);
}

/// Sorts observations into buckets.
pub trait Histogram: Send + Sync {
    /// Notes one observation.
    fn observe(&self, value: f64);
}

/// What is measured, and how.
#[derive(Debug, Clone, Copy)]
pub struct MetricSpec<'a> {
    /// Its name as Prometheus has it, with its unit: `folk_http_request_duration_seconds`.
    /// Counters without the `_total` that the text format adds.
    pub name: &'a str,
    /// What it says, in a sentence without a full stop.
    pub help: &'a str,
    /// The names and values of its labels. Values come from small fixed sets only.
    pub labels: &'a [(&'static str, &'a str)],
}

/// Where parts get their metrics, at boot. Asking twice for the same name and labels gives the
/// same metric.
pub trait MetricsRegistry: Send + Sync {
    /// A counter.
    ///
    /// # Errors
    ///
    /// The name is not one Prometheus takes, or is in use for another kind of metric or with other
    /// label names; likewise below.
    fn counter(&self, spec: MetricSpec<'_>) -> anyhow::Result<Arc<dyn Counter>>;

    /// A gauge.
    fn gauge(&self, spec: MetricSpec<'_>) -> anyhow::Result<Arc<dyn Gauge>>;

    /// A histogram with these upper bounds, ascending.
    fn histogram(
        &self,
        spec: MetricSpec<'_>,
        buckets: &[f64],
    ) -> anyhow::Result<Arc<dyn Histogram>>;
}
