//! The metrics registry, on `prometheus-client`.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use folk_api::metrics::{Counter, Gauge, Histogram, MetricSpec, MetricsRegistry};
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::{counter, gauge, histogram};
use prometheus_client::registry::Registry;

type Labels = Vec<(String, String)>;
type PromGauge = gauge::Gauge<f64, AtomicU64>;

/// All metrics of the server.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    registry: Registry,
    families: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    label_names: Vec<&'static str>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Counter(Family<Labels, counter::Counter>),
    Gauge(Family<Labels, PromGauge>),
    Histogram(Family<Labels, histogram::Histogram, Buckets>),
}

#[derive(Debug, Clone)]
struct Buckets(Vec<f64>);

impl MetricConstructor<histogram::Histogram> for Buckets {
    fn new_metric(&self) -> histogram::Histogram {
        histogram::Histogram::new(self.0.iter().copied())
    }
}

impl Metrics {
    /// All of them in the Prometheus text format (OpenMetrics 1.0).
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &inner.registry)?;
        Ok(text)
    }

    fn family(&self, spec: &MetricSpec<'_>, make: impl FnOnce() -> Kind) -> anyhow::Result<Kind> {
        check_name(spec.name)?;
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { registry, families } = &mut *inner;
        let label_names: Vec<_> = spec.labels.iter().map(|(name, _)| *name).collect();
        if let Some(known) = families.get(spec.name) {
            anyhow::ensure!(
                known.label_names == label_names,
                "metric {} has the labels {:?} already, not {label_names:?}",
                spec.name,
                known.label_names
            );
            return Ok(known.kind.clone());
        }
        let kind = make();
        match kind.clone() {
            Kind::Counter(family) => registry.register(spec.name, spec.help, family),
            Kind::Gauge(family) => registry.register(spec.name, spec.help, family),
            Kind::Histogram(family) => registry.register(spec.name, spec.help, family),
        }
        families.insert(spec.name.to_owned(), Known { label_names, kind: kind.clone() });
        Ok(kind)
    }
}

impl MetricsRegistry for Metrics {
    fn counter(&self, spec: MetricSpec<'_>) -> anyhow::Result<Arc<dyn Counter>> {
        match self.family(&spec, || Kind::Counter(Family::default()))? {
            Kind::Counter(family) => {
                Ok(Arc::new(CounterHandle(family.get_or_create_owned(&labels(&spec)))))
            }
            Kind::Gauge(_) | Kind::Histogram(_) => Err(other_kind(spec.name)),
        }
    }

    fn gauge(&self, spec: MetricSpec<'_>) -> anyhow::Result<Arc<dyn Gauge>> {
        match self.family(&spec, || Kind::Gauge(Family::default()))? {
            Kind::Gauge(family) => {
                Ok(Arc::new(GaugeHandle(family.get_or_create_owned(&labels(&spec)))))
            }
            Kind::Counter(_) | Kind::Histogram(_) => Err(other_kind(spec.name)),
        }
    }

    fn histogram(
        &self,
        spec: MetricSpec<'_>,
        buckets: &[f64],
    ) -> anyhow::Result<Arc<dyn Histogram>> {
        let make = || Kind::Histogram(Family::new_with_constructor(Buckets(buckets.to_vec())));
        match self.family(&spec, make)? {
            Kind::Histogram(family) => {
                Ok(Arc::new(HistogramHandle(family.get_or_create_owned(&labels(&spec)))))
            }
            Kind::Counter(_) | Kind::Gauge(_) => Err(other_kind(spec.name)),
        }
    }
}

fn labels(spec: &MetricSpec<'_>) -> Labels {
    spec.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let mut bytes = name.bytes();
    let head = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let tail = bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    anyhow::ensure!(head && tail, "{name:?} is not a metric name: use letters, digits and _");
    Ok(())
}

fn other_kind(name: &str) -> anyhow::Error {
    anyhow::anyhow!("metric {name} is in use as another kind of metric")
}

struct CounterHandle(counter::Counter);

impl Counter for CounterHandle {
    fn add(&self, by: u64) {
        self.0.inc_by(by);
    }
}

struct GaugeHandle(PromGauge);

impl Gauge for GaugeHandle {
    fn set(&self, value: f64) {
        self.0.set(value);
    }

    fn add(&self, by: f64) {
        self.0.inc_by(by);
    }
}

struct HistogramHandle(histogram::Histogram);

impl Histogram for HistogramHandle {
    fn observe(&self, value: f64) {
        self.0.observe(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec<'a>(name: &'a str, labels: &'a [(&'static str, &'a str)]) -> MetricSpec<'a> {
        MetricSpec { name, help: "help", labels }
    }

    #[test]
    fn asking_twice_gives_the_same_metric() {
        let metrics = Metrics::default();
        metrics.counter(spec("folk_x", &[("pool", "a")])).unwrap().add(1);
        metrics.counter(spec("folk_x", &[("pool", "a")])).unwrap().add(2);
        assert!(metrics.render().unwrap().contains("folk_x_total{pool=\"a\"} 3"));
    }

    #[test]
    fn a_name_in_use_for_something_else_is_refused() {
        let metrics = Metrics::default();
        metrics.counter(spec("folk_x", &[("pool", "a")])).unwrap();
        assert!(metrics.gauge(spec("folk_x", &[("pool", "a")])).is_err());
        assert!(metrics.counter(spec("folk_x", &[("queue", "a")])).is_err());
        assert!(metrics.counter(spec("not a name", &[])).is_err());
    }
}
