//! Who gets in, who waits, and who is told to come back later.

use async_trait::async_trait;
use folk_api::error::{BusyReason, TimeoutPhase};
use folk_api::runtime::NotTaken;
use folk_api::{BootError, Runtime, Worker, WorkerSpec};

use super::*;

fn busy(reason: BusyReason, retry_after: Duration) -> Result<String, Error> {
    Err(Error::Busy { reason, retry_after })
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_too_long_makes_room_for_another() {
    let settings = PoolSettings { queue_max: 1, queue_timeout: millis(200), ..calm(1) };
    let (bench, mut workers) = Bench::booted(&settings).await;
    let _running = bench.call("running");
    let held = workers[0].running().await;
    let begun = Instant::now();
    let tired = bench.call("tired");
    quiet().await;
    let second = busy(BusyReason::QueueFull, secs(1));
    assert_eq!(answer(bench.call("one too many")).await, second, "in a second, not sooner");
    assert_eq!(answer(tired).await, busy(BusyReason::WaitedTooLong, secs(1)));
    assert!((millis(200)..millis(203)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let lucky = bench.call("lucky");
    quiet().await;
    held.answer("done");
    let run = workers[0].running().await;
    assert_eq!(run.method(), "lucky");
    run.answer("served");
    assert_eq!(answer(lucky).await, Ok("served".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_none_refuses_whoever_finds_no_idle_worker() {
    let (bench, mut workers) = Bench::booted(&PoolSettings { queue_max: 0, ..calm(1) }).await;
    let _running = bench.call("running");
    let held = workers[0].running().await;
    assert_eq!(answer(bench.call("x")).await, busy(BusyReason::QueueFull, secs(5)));
    held.answer("done");
    quiet().await;
    bench.served_by(&mut workers[0]).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_the_queue_is_answered_then_and_there() {
    let (bench, mut workers) = Bench::booted(&calm(1)).await;
    let _running = bench.call("running");
    let held = workers[0].running().await;
    let begun = Instant::now();
    let late = bench.call_by("late", Deadline::after(secs(2)));
    assert_eq!(answer(late).await, Err(Error::Timeout(TimeoutPhase::Queued)));
    assert!((secs(2)..secs(2) + millis(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(bench.pool.queued(), 0);
    held.answer("done");
    quiet().await;
    assert!(workers[0].try_running().is_none());
}

#[tokio::test(start_paused = true)]
async fn no_worker_is_wasted_on_a_request_whose_deadline_has_passed() {
    let (bench, mut workers) = Bench::booted(&calm(1)).await;
    let late = bench.call_by("late", Deadline::at(Instant::now()));
    assert_eq!(answer(late).await, Err(Error::Timeout(TimeoutPhase::Queued)));
    bench.served_by(&mut workers[0]).await;
    assert!(!workers[0].is_ended());
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_a_pool_that_boots_and_are_served_in_order() {
    let mut bench = Bench::start(&calm(1)).await;
    let mut calls = Vec::new();
    for name in ["first", "second", "third"] {
        calls.push(bench.call(name));
        quiet().await;
    }
    let mut worker = bench.next_ready().await;
    for (name, call) in ["first", "second", "third"].into_iter().zip(calls) {
        let run = worker.running().await;
        assert_eq!(run.method(), name);
        run.echo();
        assert_eq!(answer(call).await, Ok(name.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_back_is_answered_at_its_deadline_when_no_slot_comes_free() {
    let (bench, mut workers) = Bench::booted(&calm(2)).await;
    let _running = bench.call("running");
    let _held = workers[0].running().await;
    let begun = Instant::now();
    let returned = bench.call_by("returned", Deadline::after(secs(8)));
    workers[1].running().await.not_taken(NotTaken::Stopping);
    quiet().await;
    assert_eq!(bench.pool.queued(), 1);
    assert_eq!(answer(returned).await, Err(Error::Timeout(TimeoutPhase::Queued)));
    assert!((secs(8)..secs(8) + millis(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(bench.pool.queued(), 0);
}

/// A runtime that reads every body for ten seconds before a worker is taken.
struct Reading(Arc<MockRuntime>);

#[async_trait]
impl Runtime for Reading {
    fn name(&self) -> &'static str {
        "reading"
    }

    fn needs_preparation(&self, _request: &Request) -> bool {
        true
    }

    async fn prepare(&self, request: Request) -> Result<Request, Error> {
        tokio::time::sleep(secs(10)).await;
        Ok(request)
    }

    async fn spawn(&self, spec: &WorkerSpec) -> Result<Box<dyn Worker>, BootError> {
        self.0.spawn(spec).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_without_a_worker_off_its_deadline_and_not_at_all_when_refused() {
    let (runtime, handle) = MockRuntime::new();
    let (metrics, bus) = (Arc::<Metrics>::default(), Bus::new());
    let settings = PoolSettings { queue_max: 0, ..calm(1) };
    let reading = Arc::new(Reading(runtime));
    let pool = Pool::new(&settings, reading, &*metrics, Arc::clone(&bus) as _).unwrap();
    pool.start().await;
    let mut bench = Bench { pool, handle, metrics, bus };
    let mut worker = bench.next_ready().await;

    // Ten seconds go by for the body; the application has its three after that.
    let slow = bench.call_by("slow", Deadline::after(secs(3)));
    let run = worker.running().await;
    tokio::time::sleep(secs(2)).await;
    run.answer("in time");
    assert_eq!(answer(slow).await, Ok("in time".to_owned()));

    let read = bench.call("read");
    let run = worker.running().await;
    let begun = Instant::now();
    assert_eq!(answer(bench.call("x")).await, busy(BusyReason::QueueFull, secs(5)));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    run.answer("done");
    assert_eq!(answer(read).await, Ok("done".to_owned()));
}
