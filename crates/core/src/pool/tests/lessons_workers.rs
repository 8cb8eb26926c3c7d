//! What earlier pools did badly with workers and as a whole, one by one.

use std::collections::BTreeMap;

use folk_api::config::Section;
use folk_testkit::mock::Ended;

use super::*;
use crate::config::pool::PoolSection;

/// Lesson 10: a pool that calls itself ready before any worker is gives requests to slots that
/// still boot, while others idle.
#[tokio::test(start_paused = true)]
async fn the_pool_is_ready_with_its_first_worker_and_slots_that_boot_get_nothing() {
    let mut bench = Bench::start(&calm(2)).await;
    let pool = Arc::clone(&bench.pool);
    let ready = tokio::spawn(async move { pool.ready().await });
    let mut booting = bench.handle.spawned().await;
    let mut idle = bench.handle.spawned().await;
    quiet().await;
    assert!(!ready.is_finished());
    assert!(!bench.pool.health().ready);
    idle.ready();
    assert_eq!(within("readiness", ready).await.unwrap(), Ok(()));
    assert!(bench.pool.health().ready);
    for _ in 0..10 {
        bench.served_by(&mut idle).await;
    }
    assert!(booting.try_running().is_none());
}

/// Lesson 11: a boot that fails is tried again every second for ever, and nobody is told.
#[tokio::test(start_paused = true)]
async fn boots_that_fail_are_tried_less_and_less_often_and_the_start_is_given_up_visibly() {
    let mut bench = Bench::start(&calm(1)).await;
    let pool = Arc::clone(&bench.pool);
    let ready = tokio::spawn(async move { pool.ready().await });
    let mut waits = Vec::new();
    let mut failed = Instant::now();
    for failure in 1..=14 {
        let mut worker = bench.handle.spawned().await;
        waits.push(failed.elapsed());
        worker.fail_boot("syntax error in worker.php");
        failed = Instant::now();
        quiet().await;
        assert_eq!(ready.is_finished(), failure >= 3, "after failure {failure}");
    }
    for (index, wait) in waits.iter().enumerate().skip(1) {
        let full = (millis(100) * (1 << (index - 1))).min(secs(30));
        let bounds = full / 2..=full + millis(2);
        assert!(bounds.contains(wait), "wait {index} is {wait:?}, not in {bounds:?}");
    }
    let error = ready.await.unwrap().unwrap_err();
    assert_eq!(error.message, "syntax error in worker.php");
    assert_eq!(bench.pool.health().message, "syntax error in worker.php");
    assert!(!bench.pool.health().ready);
}

/// Lesson 12: a reload that ends every idle worker at once leaves nobody to serve meanwhile.
#[tokio::test(start_paused = true)]
async fn a_reload_never_leaves_fewer_workers_than_there_were() {
    let (mut bench, mut workers) = Bench::booted(&calm(3)).await;
    let pool = Arc::clone(&bench.pool);
    let reload = tokio::spawn(async move { pool.reload().await });
    for slot in 0..3 {
        let mut successor = bench.handle.spawned().await;
        quiet().await;
        assert_eq!((successor.spec.slot, successor.spec.generation), (slot as u32, 2));
        assert_eq!(bench.serving(), 3, "the old one serves while its successor boots");
        assert!(!workers[slot].is_ended());
        assert!(bench.handle.try_spawned().is_none(), "one after another");
        successor.ready();
        assert_eq!(workers[slot].ended().await, Ended::Asked);
        assert_eq!(bench.serving(), 3);
        workers.push(successor);
    }
    assert_eq!(within("the reload", reload).await.unwrap(), Ok(2));
}

/// Lesson 13: workers that count alike are replaced all at once.
#[tokio::test(start_paused = true)]
async fn workers_that_serve_alike_are_not_replaced_together() {
    let settings = PoolSettings { max_jobs: 100, ..calm(8) };
    let (mut bench, mut workers) = Bench::booted(&settings).await;
    let mut due = BTreeMap::new();
    for round in 1..=100 {
        for worker in &mut workers {
            bench.served_by(worker).await;
        }
        while let Some(successor) = bench.handle.try_spawned() {
            due.entry(successor.spec.slot).or_insert(round);
        }
    }
    assert_eq!(due.len(), 8, "{due:?}");
    assert!(due.values().all(|round| (91..=100).contains(round)), "{due:?}");
    assert!(due.values().any(|round| *round != due[&0]), "all at once: {due:?}");
}

/// Lesson 14: limits that are looked at only after a request never reach an idle worker; zero means
/// "after every request" here and "never" there; a pool of zero workers hangs its callers.
#[tokio::test(start_paused = true)]
async fn age_counts_while_idle_zero_is_no_limit_and_no_workers_are_refused() {
    let (mut bench, mut workers) = Bench::booted(&PoolSettings { ttl: secs(60), ..calm(1) }).await;
    let begun = Instant::now();
    let successor = bench.next_ready().await;
    assert!((secs(54)..=secs(60) + millis(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(workers[0].ended().await, Ended::Asked);
    assert!(!successor.is_ended());

    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    for _ in 0..2000 {
        bench.served_by(&mut workers[0]).await;
    }
    tokio::time::sleep(secs(86_400)).await;
    assert!(bench.handle.try_spawned().is_none() && !workers[0].is_ended());

    let pairs = [("script", "worker.php".into()), ("workers", 0.into())];
    let faults = PoolSection::read(&Section::from_pairs("pool", &pairs)).unwrap_err().to_string();
    assert!(faults.contains("pool.workers: must be at least 1"), "{faults}");
    let (_bench, workers) = Bench::booted(&calm(1)).await;
    assert_eq!(workers.len(), 1);
}

/// Lesson 15: a worker that may not be replaced ignores limits and reloads, and nothing says so.
#[tokio::test(start_paused = true)]
async fn a_worker_that_may_not_be_replaced_says_so_and_holds_up_no_reload() {
    let settings =
        PoolSettings { max_jobs: 1, ttl: secs(1), idle_ttl: secs(1), max_memory: 1, ..calm(1) };
    let mock = MockRuntime::with(false, false);
    let (mut bench, mut workers) = Bench::booted_with(&settings, mock).await;
    assert!(!bench.pool.slots()[0].recyclable);
    workers[0].set_memory(1 << 30);
    tokio::time::sleep(secs(10)).await;
    for _ in 0..3 {
        bench.served_by(&mut workers[0]).await;
    }
    assert_eq!(within("the reload", bench.pool.reload()).await, Ok(2));
    bench.pool.recycle(0).await;
    tokio::time::sleep(secs(10)).await;
    bench.served_by(&mut workers[0]).await;
    assert!(bench.handle.try_spawned().is_none() && !workers[0].is_ended());
    assert_eq!(bench.pool.slots()[0].generation, Some(1));
}

/// Lesson 16: a worker that does not end when it is asked to holds up its slot for ever.
#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_end_holds_up_nobody() {
    let (mut bench, workers) = Bench::booted(&calm(1)).await;
    workers[0].hang_in_terminate();
    bench.pool.recycle(0).await;
    let mut successor = bench.next_ready().await;
    let begun = Instant::now();
    bench.served_by(&mut successor).await;
    assert!(begun.elapsed() < millis(10));

    // Nor in the way out of a boot that took too long.
    let settings = PoolSettings { boot_timeout: secs(5), ..calm(1) };
    let mut bench = Bench::start(&settings).await;
    let stuck = bench.handle.spawned().await;
    stuck.hang_in_terminate();
    let mut successor = bench.next_ready().await;
    assert!(bench.handle.spawns() == 2 && successor.spec.serial == 1);
    bench.served_by(&mut successor).await;
}

/// Lesson 17: a server that does not drain its pool cuts what runs.
#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_runs_and_waits_and_takes_no_more() {
    let (bench, mut workers) = Bench::booted(&calm(2)).await;
    let running = [bench.call("running"), bench.call("running")];
    let held = [workers[0].running().await, workers[1].running().await];
    let waiting = bench.call("waiting");
    quiet().await;
    let pool = Arc::clone(&bench.pool);
    let drain = tokio::spawn(async move { pool.drain().await });
    quiet().await;
    assert_eq!(answer(bench.call("new")).await, Err(Error::ShuttingDown));
    held.into_iter().for_each(|run| run.answer("done"));
    for call in running {
        assert_eq!(answer(call).await, Ok("done".to_owned()));
    }
    workers[0].running().await.answer("served");
    assert_eq!(answer(waiting).await, Ok("served".to_owned()));
    within("the drain", drain).await.unwrap();
    for worker in &mut workers {
        assert_eq!(worker.ended().await, Ended::Asked);
    }
}

/// Lesson 18: one queue for everything lets slow tasks starve the pages.
#[tokio::test(start_paused = true)]
async fn pools_share_nothing_so_tasks_cannot_starve_pages() {
    let (tasks, mut task_workers) = Bench::booted(&calm(1)).await;
    let (pages, mut page_workers) = Bench::booted(&calm(1)).await;
    let _slow: Vec<_> = (0..1000).map(|_| tasks.call("task")).collect();
    let _held = task_workers[0].running().await;
    assert_eq!(tasks.pool.queued(), 999);
    let begun = Instant::now();
    pages.served_by(&mut page_workers[0]).await;
    assert!(begun.elapsed() < millis(5));
}

/// Lesson 19: memory is not watched, and neither workers nor the pool can be looked into.
#[tokio::test(start_paused = true)]
async fn a_worker_that_grows_too_large_is_replaced_and_all_of_it_can_be_seen() {
    let settings = PoolSettings { max_memory: 100, ..calm(1) };
    let (mut bench, mut workers) = Bench::booted(&settings).await;
    workers[0].set_memory(90);
    tokio::time::sleep(secs(2)).await;
    bench.served_by(&mut workers[0]).await;
    let slot = bench.pool.slots().remove(0);
    assert_eq!((slot.pid, slot.memory_bytes, slot.jobs), (Some(workers[0].pid), Some(90), 1));
    workers[0].set_memory(101);
    tokio::time::sleep(secs(2)).await;
    bench.served_by(&mut workers[0]).await;
    assert_eq!(workers[0].ended().await, Ended::Asked);
    let mut successor = bench.next_ready().await;
    bench.served_by(&mut successor).await;
    assert_eq!(bench.gone("max_memory"), 1.0);
    assert_eq!(bench.metric("folk_pool_requests_total{pool=\"test\",outcome=\"ok\"}"), 3.0);
}

/// Lesson 20: errors that became text cannot be told apart, and bytes have to travel as text.
#[tokio::test(start_paused = true)]
async fn errors_keep_their_kind_and_bytes_travel_as_they_are() {
    let (bench, mut workers) = Bench::booted(&calm(1)).await;
    let call = bench.call("refused");
    let run = workers[0].running().await;
    let refusal = Error::Application { code: Some(422), message: "no such user".to_owned() };
    run.reply().send(Err(refusal.clone()));
    run.end(folk_api::Outcome::Done);
    assert_eq!(answer(call).await, Err(refusal));
    assert!(!workers[0].is_ended(), "the application said no; its worker is fine");

    let every_byte = Bytes::from((0..=255).collect::<Vec<u8>>());
    let (pool, payload) = (Arc::clone(&bench.pool), every_byte.clone());
    let call = tokio::spawn(async move { pool.execute_method("echo", payload).await });
    workers[0].running().await.echo();
    assert_eq!(call.await.unwrap(), Ok(every_byte));
}
