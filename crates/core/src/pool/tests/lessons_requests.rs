//! What earlier pools did badly to requests, one by one.

use folk_api::error::{BusyReason, TimeoutPhase};
use folk_testkit::mock::{Ended, SpawnScript};

use super::*;

/// Lesson 1: going round by number alone gives a busy slot every Nth request.
#[tokio::test(start_paused = true)]
async fn a_busy_slot_is_passed_over_and_the_idle_take_turns() {
    let (bench, mut workers) = Bench::booted(&calm(4)).await;
    let slow = bench.call("slow");
    let held = workers[0].running().await;
    for turn in 0..30 {
        bench.served_by(&mut workers[1 + turn % 3]).await;
    }
    assert!(workers[0].try_running().is_none(), "the busy one gets nothing");
    held.answer("at last");
    assert_eq!(answer(slow).await, Ok("at last".to_owned()));
}

/// Lesson 2: permits that are held by requests parked behind one slow request stall the whole pool.
#[tokio::test(start_paused = true)]
async fn slow_requests_delay_none_that_another_idle_worker_could_take() {
    let (bench, mut workers) = Bench::booted(&calm(8)).await;
    let slow = [bench.call("slow"), bench.call("slow")];
    let held = [workers[0].running().await, workers[1].running().await];
    for worker in workers.drain(2..) {
        echoes(worker);
    }
    for round in 0..50 {
        let begun = Instant::now();
        let calls: Vec<_> = (0..6).map(|n| bench.call(&format!("{round} {n}"))).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(answer(call).await, Ok(format!("{round} {n}")));
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "none had to wait for anything");
        quiet().await;
    }
    held.into_iter().for_each(|run| run.answer("slow"));
    for call in slow {
        assert_eq!(answer(call).await, Ok("slow".to_owned()));
    }
}

/// Lesson 3: one full inbox blocks the single dispatcher, and with it every caller.
#[tokio::test(start_paused = true)]
async fn a_stuck_worker_among_many_blocks_the_admission_of_nobody() {
    let (bench, mut workers) = Bench::booted(&calm(12)).await;
    let stuck = bench.call("stuck");
    let _held = workers[0].running().await;
    let _echoes: Vec<_> = workers.drain(1..).map(echoes).collect();
    let begun = Instant::now();
    let calls: Vec<_> = (0..500).map(|n| bench.call(&n.to_string())).collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(answer(call).await, Ok(n.to_string()));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(!stuck.is_finished());
}

/// Lesson 4: a deadline that only drops the future leaves the worker running the old request, and
/// hands the next caller the old one's answer.
#[tokio::test(start_paused = true)]
async fn a_worker_that_ran_into_a_deadline_gets_no_request_and_its_late_answer_reaches_nobody() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    let late = bench.call_by("late", Deadline::after(secs(1)));
    let run = workers[0].running().await;
    assert_eq!(answer(late).await, Err(Error::Timeout(TimeoutPhase::Running)));
    let next = bench.call("next");
    run.answer("of the late request");
    assert_eq!(workers[0].ended().await, Ended::Killed);
    let mut successor = bench.next_ready().await;
    let run = successor.running().await;
    assert_eq!(run.method(), "next");
    run.answer("of the next request");
    assert_eq!(answer(next).await, Ok("of the next request".to_owned()));
    assert!(workers[0].try_running().is_none());
}

/// Lesson 5: a dead worker that is kept goes on failing its share of the requests.
#[tokio::test(start_paused = true)]
async fn a_dead_worker_costs_the_one_request_it_ran_and_no_other() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    let victim = bench.call("victim");
    let _run = workers[0].running().await;
    workers[0].die("segmentation fault");
    let error = answer(victim).await.unwrap_err();
    assert!(matches!(&error, Error::Died(text) if text.contains("segmentation fault")), "{error}");
    let _successor = echoes(bench.next_ready().await);
    let _other = echoes(workers.remove(1));
    for n in 0..20 {
        assert_eq!(answer(bench.call(&n.to_string())).await, Ok(n.to_string()));
    }
    assert_eq!(bench.metric("folk_pool_requests_total{pool=\"test\",outcome=\"died\"}"), 1.0);
}

/// Lesson 6: a panic of a runtime ends the supervisor of the slot, and nobody starts it again.
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_runtime_in_any_call_costs_no_more_than_a_worker() {
    let mut bench = Bench::start(&calm(1)).await;
    let mut worker = bench.handle.spawned().await;
    bench.handle.script([SpawnScript::Panic]);
    worker.panic_in_boot();

    let mut worker = bench.next_ready().await;
    assert_eq!(bench.handle.spawns(), 3, "one panicked in ready, one in spawn");
    let call = bench.call("execute");
    drop(worker.running().await);
    assert!(matches!(answer(call).await, Err(Error::Runtime(text)) if text.contains("panicked")));

    let mut worker = bench.next_ready().await;
    bench.served_by(&mut worker).await;
    worker.panic_when_idle();

    let worker = bench.next_ready().await;
    worker.panic_in_terminate();
    worker.panic_in_control();
    assert!(bench.pool.recycle(0).await);

    let mut worker = bench.next_ready().await;
    bench.served_by(&mut worker).await;
    worker.panic_in_control();
    let late = bench.call_by("late", Deadline::after(secs(1)));
    let _run = worker.running().await;
    assert_eq!(answer(late).await, Err(Error::Timeout(TimeoutPhase::Running)));

    // Not even its kill works; the slot gives it up.
    let mut worker = bench.next_ready().await;
    bench.served_by(&mut worker).await;
}

/// Lesson 7: without a bound on those who wait, nobody is ever told that the server is too busy.
#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_number_and_time_and_its_depth_is_a_metric() {
    let settings = PoolSettings { queue_max: 2, queue_timeout: secs(3), ..calm(1) };
    let (bench, mut workers) = Bench::booted(&settings).await;
    let _running = bench.call("running");
    let _held = workers[0].running().await;
    let waiting = [bench.call("first"), bench.call("second")];
    quiet().await;
    assert_eq!(bench.metric("folk_pool_queued{pool=\"test\"}"), 2.0);
    let busy = |reason| Error::Busy { reason, retry_after: secs(3) };
    assert_eq!(answer(bench.call("third")).await, Err(busy(BusyReason::QueueFull)));
    for call in waiting {
        assert_eq!(answer(call).await, Err(busy(BusyReason::WaitedTooLong)));
    }
    assert_eq!(bench.metric("folk_pool_queued{pool=\"test\"}"), 0.0);
}

/// Lesson 8: a deadline that begins when a worker takes the request allows any wait before.
#[tokio::test(start_paused = true)]
async fn waiting_and_running_draw_on_one_deadline() {
    let settings = PoolSettings { exec_timeout: secs(10), queue_timeout: secs(30), ..calm(1) };
    let (bench, mut workers) = Bench::booted(&settings).await;
    let first = bench.call_by("first", Deadline::after(secs(60)));
    let held = workers[0].running().await;
    let begun = Instant::now();
    let second = bench.call("second");
    tokio::time::sleep(secs(8)).await;
    held.answer("done");
    assert_eq!(answer(first).await, Ok("done".to_owned()));
    let _run = workers[0].running().await;
    assert_eq!(answer(second).await, Err(Error::Timeout(TimeoutPhase::Running)));
    let taken = begun.elapsed();
    assert!(taken >= secs(10) && taken < secs(10) + millis(5), "{taken:?}");
}

/// Lesson 9: work for a caller who left is done all the same, and the count of those who run drifts.
#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_never_started() {
    let (bench, mut workers) = Bench::booted(&calm(1)).await;
    let first = bench.call("first");
    let held = workers[0].running().await;
    let left: Vec<_> = (0..100).map(|_| bench.call("left")).collect();
    let stays = bench.call("stays");
    quiet().await;
    assert_eq!(bench.pool.queued(), 101);
    left.iter().for_each(JoinHandle::abort);
    quiet().await;
    assert_eq!(bench.pool.queued(), 1);
    held.answer("done");
    assert_eq!(answer(first).await, Ok("done".to_owned()));
    let run = workers[0].running().await;
    assert_eq!(run.method(), "stays");
    run.answer("served");
    assert_eq!(answer(stays).await, Ok("served".to_owned()));
    quiet().await;
    assert!(workers[0].try_running().is_none());
}
