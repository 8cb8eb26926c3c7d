//! Numbers of the plugin, looked up once.

use std::sync::Arc;
use std::time::Duration;

use folk_api::metrics::{Counter, Gauge, Histogram, MetricSpec, MetricsRegistry};

/// How a request can end, and with which classes of status: the label values there are.
const OUTCOMES: [(&str, &[usize]); 15] = [
    ("ok", &[2, 3, 4, 5]),
    // The client left before the end.
    ("client_gone", &[2, 3, 4, 5]),
    // The application failed in the middle of its answer.
    ("truncated", &[2, 3, 4, 5]),
    ("application", &[4, 5]),
    ("busy", &[5]),
    ("boot_failed", &[5]),
    ("timeout", &[5]),
    ("not_taken", &[5]),
    ("died", &[5]),
    ("protocol", &[5]),
    ("runtime", &[5]),
    ("bad_request", &[4]),
    ("body", &[4]),
    ("storage", &[5]),
    ("shutting_down", &[5]),
];

/// Upper bounds in seconds: from what a warm worker needs to what a browser waits.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Handles of the plugin's metrics.
pub(crate) struct Metrics {
    /// By outcome and class of status.
    requests: Vec<[Option<Arc<dyn Counter>>; 6]>,
    duration: Arc<dyn Histogram>,
    pub(crate) connections: Arc<dyn Gauge>,
    /// Connections refused because there were too many.
    pub(crate) refused: Arc<dyn Counter>,
    /// Connections whose request could not even be parsed.
    pub(crate) malformed: Arc<dyn Counter>,
    pub(crate) log_lines_lost: Arc<dyn Counter>,
}

impl Metrics {
    pub(crate) fn register(registry: &dyn MetricsRegistry) -> anyhow::Result<Self> {
        let mut requests = Vec::with_capacity(OUTCOMES.len());
        for (outcome, classes) in OUTCOMES {
            let mut row: [Option<Arc<dyn Counter>>; 6] = Default::default();
            for class in classes {
                row[*class] = Some(registry.counter(MetricSpec {
                    name: "folk_http_requests",
                    help: "HTTP requests that ended, by class of status and outcome",
                    labels: &[("status", &format!("{class}xx")), ("outcome", outcome)],
                })?);
            }
            requests.push(row);
        }
        let spec = |name, help| MetricSpec { name, help, labels: &[] };
        Ok(Self {
            requests,
            duration: registry.histogram(
                spec(
                    "folk_http_request_duration_seconds",
                    "Time from the head of a request to the end of its answer",
                ),
                &BUCKETS,
            )?,
            connections: registry.gauge(spec("folk_http_connections", "Open connections"))?,
            refused: registry.counter(spec(
                "folk_http_refused_connections",
                "Connections refused because limits.max_connections was reached",
            ))?,
            malformed: registry.counter(spec(
                "folk_http_malformed_requests",
                "Requests refused because they were not HTTP or their head was too large",
            ))?,
            log_lines_lost: registry.counter(spec(
                "folk_http_access_log_lost_lines",
                "Lines of the access log lost because its reader was too slow",
            ))?,
        })
    }

    /// A request ended.
    pub(crate) fn ended(&self, status: u16, outcome: &str, took: Duration) {
        let row = OUTCOMES.iter().position(|(name, _)| *name == outcome).unwrap_or(0);
        let class = usize::from(status / 100).min(5);
        if let Some(counter) = self.requests.get(row).and_then(|row| row[class].as_ref()) {
            counter.add(1);
        }
        self.duration.observe(took.as_secs_f64());
    }
}
