//! Workers that die, break the protocol, or do not take what they are given.

use std::sync::atomic::{AtomicBool, Ordering};

use folk_api::Exit;
use folk_api::events::{Event as BusEvent, EventBus, Subscription};
use folk_api::runtime::{ExitKind, NotTaken};
use folk_testkit::mock::Ended;

use super::*;

fn dead() -> NotTaken {
    NotTaken::Died(Exit { kind: ExitKind::Code(255), last_words: "out of luck".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_that_dies_is_replaced_without_any_traffic() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    tokio::time::sleep(secs(60)).await;
    workers[0].die("killed from outside");
    let begun = Instant::now();
    let mut successor = bench.next_ready().await;
    assert!(begun.elapsed() < millis(5), "a settled worker is replaced at once");
    assert_eq!(bench.gone("died"), 1.0);
    bench.served_by(&mut successor).await;
    assert!(workers[0].try_running().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_that_speaks_out_of_turn_is_replaced() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    bench.served_by(&mut workers[0]).await;
    workers[0].babble();
    let mut successor = bench.next_ready().await;
    assert_eq!(workers[0].ended().await, Ended::Killed);
    assert_eq!(bench.gone("protocol"), 1.0);
    bench.served_by(&mut successor).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_its_worker_died_before_taking_is_served_by_another_once() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    for worker in &mut workers {
        bench.served_by(worker).await;
    }
    let call = bench.call("lucky");
    workers[0].running().await.not_taken(dead());
    let run = workers[1].running().await;
    assert_eq!(run.method(), "lucky");
    run.answer("served");
    assert_eq!(answer(call).await, Ok("served".to_owned()));

    let mut successor = bench.next_ready().await;
    let call = bench.call("unlucky");
    workers[1].running().await.not_taken(dead());
    successor.running().await.not_taken(dead());
    let error = answer(call).await.unwrap_err();
    assert!(matches!(&error, Error::NotTaken(text) if text.contains("out of luck")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_on_its_way_to_a_worker_that_is_dead_goes_to_another() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    for worker in &mut workers {
        bench.served_by(worker).await;
    }
    workers[0].die("just now");
    let call = MethodCall { method: "x".to_owned(), payload: Bytes::new() };
    let mut execute = Box::pin(bench.pool.execute(Request::Method(call), bench.pool.deadline()));
    // Nobody has noticed yet: the request goes to the dead one.
    assert!(is_pending(&mut execute).await);
    workers[1].running().await.answer("served");
    let response = within("an answer", execute).await.unwrap();
    assert_eq!(&response.into_bytes(10).await.unwrap()[..], b"served");
    assert!(workers[0].try_running().is_none());
    let _successor = bench.next_ready().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_worker_asked_to_stop_instead_goes_to_another() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    bench.served_by(&mut workers[0]).await;
    let call = bench.call("patient");
    workers[0].running().await.not_taken(NotTaken::Stopping);
    assert_eq!(workers[0].ended().await, Ended::Asked);
    let mut successor = bench.next_ready().await;
    let run = successor.running().await;
    assert_eq!(run.method(), "patient");
    run.answer("served");
    assert_eq!(answer(call).await, Ok("served".to_owned()));
    assert_eq!(bench.gone("asked"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_asks_to_be_replaced_after_an_answer_is() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    let call = bench.call("last");
    workers[0].running().await.answer_and_stop("done");
    assert_eq!(answer(call).await, Ok("done".to_owned()));
    assert_eq!(workers[0].ended().await, Ended::Asked);
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_broke_the_protocol_is_replaced_and_the_caller_told() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    let call = bench.call("x");
    let error = Error::Protocol("a frame of 4 GiB".to_owned());
    workers[0].running().await.fail(error.clone());
    assert_eq!(answer(call).await, Err(error));
    assert_eq!(workers[0].ended().await, Ended::Killed);
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
    assert!(workers[0].try_running().is_none());
    assert_eq!(bench.gone("protocol"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_script_that_ends_right_after_its_boot_is_not_started_in_a_tight_loop() {
    let mut bench = Bench::start(&calm(1)).await;
    let mut waits = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let worker = bench.next_ready().await;
        waits.push(begun.elapsed());
        worker.die("nothing to do");
        quiet().await;
    }
    assert!(waits[4] >= millis(350), "{waits:?}");
    assert_eq!(bench.state(0), SlotState::Failing);
    let error = answer(bench.call("x")).await.unwrap_err();
    assert!(matches!(&error, Error::BootFailed(text) if text.contains("nothing to do")), "{error}");
    let mut worker = bench.next_ready().await;
    bench.served_by(&mut worker).await;
}

#[tokio::test(start_paused = true)]
async fn workers_that_take_nothing_are_not_started_in_a_tight_loop_under_traffic() {
    for why in [NotTaken::Stopping, dead()] {
        let mut bench = Bench::start(&calm(1)).await;
        let mut calls: Vec<_> = (0..100).map(|_| bench.call("x")).collect();
        let begun = Instant::now();
        for _ in 0..3 {
            let mut worker = bench.next_ready().await;
            worker.running().await.not_taken(why.clone());
            quiet().await;
        }
        assert!(begun.elapsed() >= millis(150), "{why:?}: {:?}", begun.elapsed());
        assert_eq!(bench.state(0), SlotState::Failing);
        let last = answer(calls.pop().unwrap()).await.unwrap_err();
        assert!(matches!(last, Error::BootFailed(_)), "no slot will come free: {last}");
    }
}

/// A bus that panics at the first event, as a fault of the supervisor itself would.
struct Panicky(Arc<Bus>, AtomicBool);

impl EventBus for Panicky {
    fn publish(&self, event: BusEvent) {
        assert!(self.1.swap(true, Ordering::SeqCst), "the first event is one too many");
        self.0.publish(event);
    }

    fn subscribe(&self, capacity: usize) -> Box<dyn Subscription> {
        self.0.subscribe(capacity)
    }
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_panics_is_replaced_and_its_slot_serves_again() {
    let (runtime, handle) = MockRuntime::new();
    let (metrics, bus) = (Arc::<Metrics>::default(), Bus::new());
    let panicky = Arc::new(Panicky(Arc::clone(&bus), AtomicBool::new(false)));
    let pool = Pool::new(&calm(1), runtime, &*metrics, panicky).unwrap();
    pool.start().await;
    let mut bench = Bench { pool, handle, metrics, bus };
    let waits = bench.call("waits");
    let mut first = bench.next_ready().await;
    assert_ne!(first.ended().await, Ended::No, "its worker goes with the supervisor");
    let mut second = bench.next_ready().await;
    second.running().await.answer("served");
    assert_eq!(answer(waits).await, Ok("served".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn workers_that_take_their_time_to_end_do_not_pile_up() {
    let settings = PoolSettings { max_jobs: 1, terminate_grace: secs(1000), ..calm(1) };
    let (mut bench, mut workers) = Bench::booted(&settings).await;
    for round in 0..6 {
        let worker = &mut workers[round];
        worker.hang_in_terminate();
        bench.served_by(worker).await;
        workers.push(bench.next_ready().await);
        quiet().await;
    }
    // Asked to end, and dropped once too many others were.
    let dropped = |worker: &MockWorkerHandle| worker.is_dropped();
    assert_eq!(workers.iter().filter(|worker| dropped(worker)).count(), 4);
}
