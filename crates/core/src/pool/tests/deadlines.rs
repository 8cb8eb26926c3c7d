//! Requests that run into their deadline.

use folk_api::error::TimeoutPhase;
use folk_api::{Body, Response};
use folk_testkit::mock::Ended;

use super::*;

const LATE: Result<String, Error> = Err(Error::Timeout(TimeoutPhase::Running));

fn soft() -> (Arc<MockRuntime>, MockHandle) {
    MockRuntime::with(true, true)
}

#[tokio::test(start_paused = true)]
async fn the_caller_hears_at_the_deadline_and_the_worker_is_killed_where_it_cannot_be_asked() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    let begun = Instant::now();
    let late = bench.call_by("late", Deadline::after(secs(7)));
    let _run = workers[0].running().await;
    assert_eq!(answer(late).await, LATE);
    assert!((secs(7)..secs(7) + millis(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(workers[0].ended().await, Ended::Killed);
    assert!(begun.elapsed() < secs(7) + millis(2), "no grace: {:?}", begun.elapsed());
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
    assert_eq!(bench.gone("timeout"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn the_worker_is_asked_first_where_it_can_be_and_killed_after_the_grace() {
    let (mut bench, mut workers) = Bench::booted_with(&calm(1), soft()).await;
    let begun = Instant::now();
    let late = bench.call_by("late", Deadline::after(secs(7)));
    let mut run = workers[0].running().await;
    assert_eq!(answer(late).await, LATE);
    assert!(begun.elapsed() < secs(7) + millis(2), "the caller does not wait for the grace");
    run.soft_stopped().await;
    quiet().await;
    assert_eq!(bench.state(0), SlotState::Stopping);
    assert!(!workers[0].is_ended());
    assert_eq!(workers[0].ended().await, Ended::Killed);
    assert!((secs(9)..secs(9) + millis(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_request_that_ends_in_its_grace_is_not_killed_but_its_worker_is_replaced() {
    let (mut bench, mut workers) = Bench::booted_with(&calm(1), soft()).await;
    let late = bench.call_by("late", Deadline::after(secs(1)));
    let mut run = workers[0].running().await;
    run.soft_stopped().await;
    run.answer("too late");
    assert_eq!(answer(late).await, LATE);
    assert_eq!(workers[0].ended().await, Ended::Asked);
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
    assert!(workers[0].try_running().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_does_not_let_go_of_a_killed_worker_is_given_up() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    workers[0].outlive_kill();
    workers[0].hang_in_terminate();
    let late = bench.call_by("late", Deadline::after(secs(1)));
    let run = workers[0].running().await;
    assert_eq!(answer(late).await, LATE);
    assert_eq!(workers[0].ended().await, Ended::Killed);
    let begun = Instant::now();
    let mut successor = bench.next_ready().await;
    assert!((secs(2)..secs(2) + millis(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let next = bench.call("next");
    run.answer("of the dead");
    successor.running().await.answer("of the living");
    assert_eq!(answer(next).await, Ok("of the living".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_body_is_still_coming_is_cut_at_the_deadline() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    let call = bench.call_by("stream", Deadline::after(secs(3)));
    let run = workers[0].running().await;
    let (mut sender, body) = Body::channel(1, None);
    run.reply().send(Ok(Response::ok(body)));
    sender.send(Bytes::from_static(b"half")).await.unwrap();
    let begun = Instant::now();
    assert_eq!(workers[0].ended().await, Ended::Killed);
    assert!((secs(2)..secs(3) + millis(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    // As the runtime does when its worker is killed.
    drop(sender);
    assert!(matches!(answer(call).await, Err(Error::Died(_))));
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
}

#[tokio::test(start_paused = true)]
async fn each_request_has_its_own_deadline_whatever_came_before() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    for limit in [secs(60), secs(5), secs(30)] {
        let call = bench.call_by("in time", Deadline::after(limit));
        let run = workers[0].running().await;
        tokio::time::sleep(limit - millis(10)).await;
        run.answer("done");
        assert_eq!(answer(call).await, Ok("done".to_owned()));
        quiet().await;
    }
    let begun = Instant::now();
    let late = bench.call_by("late", Deadline::after(millis(500)));
    let _run = workers[0].running().await;
    assert_eq!(answer(late).await, LATE);
    assert!((millis(500)..millis(502)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let _successor = bench.next_ready().await;
}
