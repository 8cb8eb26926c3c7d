//! Callers who leave.

use folk_api::{Body, Outcome, Response};
use folk_testkit::mock::Ended;

use super::*;

fn cancelling() -> PoolSettings {
    PoolSettings { cancel_abandoned: true, ..calm(1) }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_makes_room_at_once() {
    let (bench, mut workers) = Bench::booted(&PoolSettings { queue_max: 1, ..calm(1) }).await;
    let _running = bench.call("running");
    let held = workers[0].running().await;
    let left = bench.call("left");
    quiet().await;
    left.abort();
    quiet().await;
    assert_eq!(bench.pool.queued(), 0);
    let next = bench.call("next");
    quiet().await;
    held.answer("done");
    workers[0].running().await.answer("served");
    assert_eq!(answer(next).await, Ok("served".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_request_on_its_way_to_a_worker_is_not_started_once_its_caller_left() {
    let (bench, mut workers) = Bench::booted(&calm(1)).await;
    let call = MethodCall { method: "left".to_owned(), payload: Bytes::new() };
    {
        let mut execute =
            Box::pin(bench.pool.execute(Request::Method(call), bench.pool.deadline()));
        // Admitted; the slot's supervisor had no chance to look yet.
        assert!(is_pending(&mut execute).await);
    }
    quiet().await;
    assert!(workers[0].try_running().is_none());
    assert_eq!(bench.state(0), SlotState::Idle);
    bench.served_by(&mut workers[0]).await;
}

#[tokio::test(start_paused = true)]
async fn a_running_request_is_finished_without_its_caller() {
    let (bench, mut workers) = Bench::booted(&calm(1)).await;
    let left = bench.call("left");
    let run = workers[0].running().await;
    left.abort();
    tokio::time::sleep(secs(10)).await;
    assert_eq!(bench.state(0), SlotState::Busy);
    run.answer("nobody reads this");
    quiet().await;
    bench.served_by(&mut workers[0]).await;
    assert!(!workers[0].is_ended());
    assert_eq!(bench.pool.slots()[0].jobs, 2);
}

#[tokio::test(start_paused = true)]
async fn where_it_is_to_be_cancelled_it_is_asked_to_end_and_killed_after_the_grace() {
    let mock = MockRuntime::with(true, true);
    let (mut bench, mut workers) = Bench::booted_with(&cancelling(), mock).await;
    let left = bench.call("left");
    let mut run = workers[0].running().await;
    left.abort();
    let begun = Instant::now();
    run.soft_stopped().await;
    assert!(begun.elapsed() < millis(2));
    assert_eq!(bench.state(0), SlotState::Stopping);
    assert_eq!(workers[0].ended().await, Ended::Killed);
    assert!((secs(2)..secs(2) + millis(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
    assert_eq!(bench.gone("cancelled"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_that_ends_in_its_grace_takes_its_worker_along_in_peace() {
    let mock = MockRuntime::with(true, true);
    let (mut bench, mut workers) = Bench::booted_with(&cancelling(), mock).await;
    let left = bench.call("left");
    let mut run = workers[0].running().await;
    left.abort();
    run.soft_stopped().await;
    run.end(Outcome::Done);
    assert_eq!(workers[0].ended().await, Ended::Asked);
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_asked_it_is_killed_at_once() {
    let (mut bench, mut workers) = Bench::booted(&cancelling()).await;
    let left = bench.call("left");
    let _run = workers[0].running().await;
    left.abort();
    let begun = Instant::now();
    assert_eq!(workers[0].ended().await, Ended::Killed);
    assert!(begun.elapsed() < millis(5));
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_has_the_answer_and_goes_cancels_nothing() {
    let (bench, mut workers) = Bench::booted(&cancelling()).await;
    let call = bench.call("answered");
    let run = workers[0].running().await;
    run.reply().send(Ok(Response::ok(Body::full("early"))));
    assert_eq!(answer(call).await, Ok("early".to_owned()));
    tokio::time::sleep(secs(5)).await;
    assert_eq!(bench.state(0), SlotState::Busy);
    run.end(Outcome::Done);
    quiet().await;
    bench.served_by(&mut workers[0]).await;
    assert!(!workers[0].is_ended());
}

#[tokio::test(start_paused = true)]
async fn callers_who_leave_are_counted() {
    let (bench, mut workers) = Bench::booted(&calm(1)).await;
    let left = bench.call("left");
    let run = workers[0].running().await;
    left.abort();
    quiet().await;
    run.answer("nobody hears");
    assert_eq!(
        bench.metric("folk_pool_requests_total{pool=\"test\",outcome=\"client_gone\"}"),
        1.0
    );
}
