//! New code.

use folk_api::BootError;
use folk_testkit::mock::Ended;

use super::*;

type Reload = JoinHandle<Result<u64, BootError>>;

fn reload(bench: &Bench) -> Reload {
    let pool = Arc::clone(&bench.pool);
    tokio::spawn(async move { pool.reload().await })
}

async fn reloaded(reload: Reload) -> Result<u64, BootError> {
    within("the reload", reload).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn code_that_does_not_boot_leaves_the_old_serving_and_a_later_reload_works() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    let broken = reload(&bench);
    let mut successor = bench.handle.spawned().await;
    successor.fail_boot("syntax error, unexpected end of file");
    let error = reloaded(broken).await.unwrap_err();
    assert_eq!(error.message, "syntax error, unexpected end of file");
    tokio::time::sleep(secs(60)).await;
    assert!(bench.handle.try_spawned().is_none(), "the broken code is not tried again");
    assert_eq!(bench.pool.generation(), 1);
    for worker in &mut workers {
        bench.served_by(worker).await;
    }

    let works = reload(&bench);
    let mut successors = [bench.next_ready().await, bench.next_ready().await];
    // The number of the broken code is not used again.
    assert_eq!(reloaded(works).await, Ok(3));
    for successor in &mut successors {
        bench.served_by(successor).await;
    }
    assert!(bench.pool.slots().iter().all(|slot| slot.generation == Some(3)));
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_cannot_take_up_the_new_code_spawns_nothing() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    bench.handle.fail_reload("the template does not boot");
    let error = reloaded(reload(&bench)).await.unwrap_err();
    assert_eq!(error.message, "the template does not boot");
    assert!(bench.handle.try_spawned().is_none());
    assert_eq!(bench.pool.generation(), 1);
    bench.served_by(&mut workers[0]).await;
}

#[tokio::test(start_paused = true)]
async fn reloads_come_one_after_another() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    let (first, second) = (reload(&bench), reload(&bench));
    for (slot, generation) in [(0, 2), (1, 2), (0, 3), (1, 3)] {
        let successor = bench.next_ready().await;
        assert_eq!((successor.spec.slot, successor.spec.generation), (slot, generation));
        workers.push(successor);
    }
    assert_eq!((reloaded(first).await, reloaded(second).await), (Ok(2), Ok(3)));
    for worker in &mut workers[..4] {
        assert_eq!(worker.ended().await, Ended::Asked);
    }
    assert!(!workers[4].is_ended() && !workers[5].is_ended());
}

#[tokio::test(start_paused = true)]
async fn a_reload_waits_for_requests_that_run_and_ends_with_their_deadlines_at_the_latest() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    let stuck = [bench.call("stuck"), bench.call("stuck")];
    let held = workers[0].running().await;
    let _held = workers[1].running().await;
    let reload = reload(&bench);
    let mut successor = bench.next_ready().await;
    assert!(!reload.is_finished());
    assert_eq!(bench.serving(), 2, "what runs is left alone");
    held.answer("done after all");
    bench.served_by(&mut successor).await;
    let _second = bench.next_ready().await;
    assert_eq!(workers[1].ended().await, Ended::Killed, "it ran into its deadline");
    assert_eq!(reloaded(reload).await, Ok(2));
    let [first, second] = stuck;
    assert_eq!(answer(first).await, Ok("done after all".to_owned()));
    assert!(answer(second).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn once_one_slot_serves_the_new_code_another_that_lags_does_not_fail_the_reload() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    let reload = reload(&bench);
    let _first = bench.next_ready().await;
    bench.handle.spawned().await.fail_boot("out of memory");
    assert_eq!(reloaded(reload).await, Ok(2));
    let late = bench.next_ready().await;
    assert_eq!((late.spec.slot, late.spec.generation), (1, 2), "it goes on trying");
    assert_eq!(workers[1].ended().await, Ended::Asked);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_boot_tries_new_code_at_once() {
    let mut bench = Bench::start(&calm(1)).await;
    for _ in 0..10 {
        bench.handle.spawned().await.fail_boot("syntax error");
    }
    quiet().await;
    let begun = Instant::now();
    let reload = reload(&bench);
    let mut worker = bench.next_ready().await;
    assert!(begun.elapsed() < millis(5), "not after another {:?}", begun.elapsed());
    assert_eq!(worker.spec.generation, 2);
    assert_eq!(reloaded(reload).await, Ok(2));
    bench.served_by(&mut worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_still_boots_from_the_old_code_is_given_up() {
    let mut bench = Bench::start(&calm(1)).await;
    let mut old = bench.handle.spawned().await;
    let reload = reload(&bench);
    let mut worker = bench.next_ready().await;
    assert_eq!(old.ended().await, Ended::Dropped);
    assert_eq!(reloaded(reload).await, Ok(2));
    bench.served_by(&mut worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_whose_caller_left_is_no_obstacle_to_the_next() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    let left = reload(&bench);
    let _half_booted = bench.handle.spawned().await;
    left.abort();
    quiet().await;
    let next = reload(&bench);
    let mut successors = [bench.next_ready().await, bench.next_ready().await];
    assert!(successors.iter().all(|worker| worker.spec.generation == 3));
    assert_eq!(reloaded(next).await, Ok(3));
    for worker in &mut workers {
        assert_eq!(worker.ended().await, Ended::Asked);
    }
    for worker in &mut successors {
        bench.served_by(worker).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_is_lost_or_refused_by_reloads_under_load() {
    // The handle is not needed: these workers answer by themselves.
    let (_, handle) = MockRuntime::new();
    let bench = Bench::start_with(&calm(4), (MockRuntime::echo(), handle)).await;
    bench.pool.ready().await.unwrap();
    for generation in 2..20 {
        let reload = reload(&bench);
        let calls: Vec<_> = (0..100).map(|n| bench.call(&n.to_string())).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(answer(call).await, Ok(n.to_string()));
        }
        assert_eq!(reloaded(reload).await, Ok(generation));
    }
}
