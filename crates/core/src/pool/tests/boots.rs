//! Workers that do not come up.

use folk_testkit::mock::{Ended, SpawnScript};

use super::*;

/// Lets boots fail until every slot counts as failing.
async fn fail_thrice(bench: &mut Bench, slots: usize, message: &str) {
    for _ in 0..3 * slots {
        bench.handle.spawned().await.fail_boot(message);
    }
    quiet().await;
}

fn boot_failed(message: &str) -> Result<String, Error> {
    Err(Error::BootFailed(message.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn when_no_slot_can_boot_requests_are_refused_at_once_with_the_cause_until_one_can() {
    let mut bench = Bench::start(&calm(2)).await;
    let waiting = bench.call("waiting");
    fail_thrice(&mut bench, 2, "class App not found").await;
    assert_eq!(answer(waiting).await, boot_failed("class App not found"));
    let begun = Instant::now();
    assert_eq!(answer(bench.call("new")).await, boot_failed("class App not found"));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(bench.state(0), SlotState::Failing);
    let failures = bench.metric("folk_pool_boot_failures_total{pool=\"test\"}");
    assert_eq!(failures, 6.0);

    let mut worker = bench.next_ready().await;
    bench.served_by(&mut worker).await;
    assert!(bench.pool.health().ready);
    assert_eq!(within("readiness", bench.pool.ready()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_start_fails_only_once_every_slot_has_failed_thrice() {
    let mut bench = Bench::start(&calm(2)).await;
    let pool = Arc::clone(&bench.pool);
    let ready = tokio::spawn(async move { pool.ready().await });
    let mut hopeful = bench.handle.spawned().await;
    for _ in 0..4 {
        bench.handle.spawned().await.fail_boot("port in use");
    }
    quiet().await;
    assert!(!ready.is_finished(), "the other slot may still come up");
    let waiting = bench.call("waiting");
    quiet().await;
    assert!(!waiting.is_finished());
    hopeful.ready();
    assert_eq!(within("readiness", ready).await.unwrap(), Ok(()));
    hopeful.running().await.answer("served");
    assert_eq!(answer(waiting).await, Ok("served".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_no_further_try_cures_is_told_at_once() {
    let mut bench = Bench::start(&calm(1)).await;
    bench.handle.spawned().await.fail_boot_for_good("there is no php");
    let error = within("readiness", bench.pool.ready()).await.unwrap_err();
    assert_eq!(error.message, "there is no php");
    assert_eq!(answer(bench.call("x")).await, boot_failed("there is no php"));
    // An operator may cure it all the same.
    let mut worker = bench.next_ready().await;
    bench.served_by(&mut worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_takes_too_long_is_ended_and_tells_what_the_worker_said() {
    let mut bench = Bench::start(&PoolSettings { boot_timeout: secs(4), ..calm(1) }).await;
    let begun = Instant::now();
    for _ in 0..3 {
        let mut stuck = bench.handle.spawned().await;
        stuck.set_last_words("connecting to the database...\n");
        assert_eq!(stuck.ended().await, Ended::Killed);
    }
    assert!((secs(12)..secs(13)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let error = within("readiness", bench.pool.ready()).await.unwrap_err();
    assert_eq!(
        error.message,
        "the worker was not ready within 4s; raise boot_timeout if it needs longer; \
         it said: connecting to the database..."
    );
}

#[tokio::test(start_paused = true)]
async fn a_spawn_that_never_returns_is_given_up() {
    let (runtime, handle) = MockRuntime::new();
    handle.script([SpawnScript::Hang, SpawnScript::Fail("no memory".to_owned())]);
    let settings = PoolSettings { boot_timeout: secs(4), ..calm(1) };
    let mut bench = Bench::start_with(&settings, (runtime, handle)).await;
    let begun = Instant::now();
    let mut worker = bench.next_ready().await;
    assert!((secs(4)..secs(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(bench.handle.spawns(), 3);
    bench.served_by(&mut worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_cannot_boot_leaves_the_old_worker_serving_and_is_tried_ever_less() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    bench.pool.recycle(0).await;
    let mut tried = Vec::new();
    for _ in 0..7 {
        bench.handle.spawned().await.fail_boot("syntax error");
        tried.push(Instant::now());
        // What the old worker can do says nothing about the new one.
        bench.served_by(&mut workers[0]).await;
    }
    assert!(tried[6] - tried[5] >= millis(1500), "{:?}", tried[6] - tried[5]);
    let successor = bench.next_ready().await;
    assert_eq!(workers[0].ended().await, Ended::Asked);
    assert!(!successor.is_ended());
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_recovered_is_not_called_failing_when_its_worker_dies_much_later() {
    let mut bench = Bench::start(&calm(1)).await;
    fail_thrice(&mut bench, 1, "the database is down").await;
    let worker = bench.next_ready().await;
    tokio::time::sleep(secs(3600)).await;
    worker.die("killed from outside");
    let mut successor = bench.handle.spawned().await;
    assert_eq!(bench.state(0), SlotState::Booting);
    let waiting = bench.call("waiting");
    quiet().await;
    assert!(!waiting.is_finished(), "a worker is coming: no reason to refuse");
    successor.ready();
    successor.running().await.answer("served");
    assert_eq!(answer(waiting).await, Ok("served".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_dies_before_its_turn_is_replaced_like_any_other() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    let slow = bench.call("slow");
    let held = workers[0].running().await;
    bench.pool.recycle(0).await;
    let successor = bench.next_ready().await;
    successor.die("waited too long");
    let next = bench.call("next");
    quiet().await;
    held.answer("done");
    assert_eq!(answer(slow).await, Ok("done".to_owned()));
    let mut third = bench.next_ready().await;
    third.running().await.answer("served");
    assert_eq!(answer(next).await, Ok("served".to_owned()));
}
