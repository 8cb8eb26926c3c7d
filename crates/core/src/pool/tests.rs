//! The pool as plugins see it, with workers stepped by hand, on a clock that stands still unless
//! everybody waits for it.

mod admission;
mod boots;
mod callers;
mod deadlines;
mod deaths;
mod lessons_requests;
mod lessons_workers;
mod recycling;
mod reloads;
mod shutdown;
mod status;
mod stress;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use folk_api::{Deadline, Error, Executor, MethodCall, Request};
use folk_testkit::mock::{MockHandle, MockRuntime, MockWorkerHandle, within};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Pool, PoolSettings};
use crate::events::Bus;
use crate::metrics::Metrics;
use crate::slot::SlotState;

/// A request on its way; aborting it is how its caller leaves.
type Call = JoinHandle<Result<String, Error>>;

/// A pool on a mock runtime.
struct Bench {
    pool: Arc<Pool>,
    handle: MockHandle,
    metrics: Arc<Metrics>,
    bus: Arc<Bus>,
}

/// So many workers, and nothing that replaces them on purpose.
fn calm(workers: usize) -> PoolSettings {
    PoolSettings {
        max_jobs: 0,
        ttl: Duration::ZERO,
        idle_ttl: Duration::ZERO,
        max_memory: 0,
        ..PoolSettings::new("test", workers)
    }
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Lets everything happen that can without further ado. The paused clock moves by a millisecond.
async fn quiet() {
    tokio::time::sleep(millis(1)).await;
}

/// The answer to a request.
async fn answer(call: Call) -> Result<String, Error> {
    within("an answer", call).await.unwrap()
}

/// Polls a future once, so that nothing else happens meanwhile.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await
}

/// Answers every request with its own name, until it is ended.
fn echoes(worker: MockWorkerHandle) -> JoinHandle<()> {
    tokio::spawn(worker.echo_all())
}

impl Bench {
    /// A pool that has begun; none of its workers is ready.
    async fn start(settings: &PoolSettings) -> Self {
        Self::start_with(settings, MockRuntime::new()).await
    }

    async fn start_with(settings: &PoolSettings, mock: (Arc<MockRuntime>, MockHandle)) -> Self {
        let (runtime, handle) = mock;
        let (metrics, bus) = (Arc::<Metrics>::default(), Bus::new());
        let pool = Pool::new(settings, runtime, &*metrics, Arc::clone(&bus) as _).unwrap();
        pool.start().await;
        Self { pool, handle, metrics, bus }
    }

    /// A pool all of whose workers are idle; they are in the order of their slots.
    async fn booted(settings: &PoolSettings) -> (Self, Vec<MockWorkerHandle>) {
        Self::booted_with(settings, MockRuntime::new()).await
    }

    async fn booted_with(
        settings: &PoolSettings,
        mock: (Arc<MockRuntime>, MockHandle),
    ) -> (Self, Vec<MockWorkerHandle>) {
        let mut bench = Self::start_with(settings, mock).await;
        let mut workers = Vec::new();
        for _ in 0..settings.workers.max {
            workers.push(bench.next_ready().await);
        }
        workers.sort_by_key(|worker| worker.spec.slot);
        (bench, workers)
    }

    /// The next worker that is spawned, idle.
    async fn next_ready(&mut self) -> MockWorkerHandle {
        let mut worker = self.handle.spawned().await;
        worker.ready();
        quiet().await;
        worker
    }

    /// Calls a method; its payload is its name.
    fn call(&self, name: &str) -> Call {
        self.call_by(name, self.pool.deadline())
    }

    fn call_by(&self, name: &str, deadline: Deadline) -> Call {
        let payload = Bytes::from(name.to_owned());
        let request = Request::Method(MethodCall { method: name.to_owned(), payload });
        let pool = Arc::clone(&self.pool);
        tokio::spawn(async move {
            let response = pool.execute(request, deadline).await?;
            let bytes = response.into_bytes(1 << 20).await?;
            Ok(String::from_utf8(bytes.to_vec()).unwrap())
        })
    }

    /// Calls a method that any idle worker would answer, and has `worker` answer it.
    async fn served_by(&self, worker: &mut MockWorkerHandle) {
        let call = self.call("hello");
        worker.running().await.answer("world");
        assert_eq!(answer(call).await, Ok("world".to_owned()));
        quiet().await;
    }

    fn state(&self, slot: usize) -> SlotState {
        self.pool.slots()[slot].state
    }

    /// Workers that take requests now.
    fn serving(&self) -> usize {
        let serves = |state| matches!(state, SlotState::Idle | SlotState::Busy);
        self.pool.slots().iter().filter(|slot| serves(slot.state)).count()
    }

    /// The value of a metric, named with its labels as the text format has it.
    fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    /// Workers that left their slots for this reason.
    fn gone(&self, reason: &str) -> f64 {
        self.metric(&format!("folk_pool_workers_gone_total{{pool=\"test\",reason=\"{reason}\"}}"))
    }
}
