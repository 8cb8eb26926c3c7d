//! What a pool tells of itself.

use folk_api::events::{Event, EventBus, Received};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_slot_tells_what_it_does_from_boot_to_end() {
    let mock = MockRuntime::with(true, true);
    let mut bench = Bench::start_with(&calm(1), mock).await;
    let mut worker = bench.handle.spawned().await;
    let slot = |bench: &Bench| bench.pool.slots().remove(0);
    let booting = slot(&bench);
    assert_eq!(booting.state, SlotState::Booting);
    assert_eq!((booting.pid, booting.generation, booting.age_seconds), (None, None, None));

    worker.ready();
    tokio::time::sleep(secs(10)).await;
    let idle = slot(&bench);
    assert_eq!(idle.state, SlotState::Idle);
    assert_eq!((idle.pid, idle.generation, idle.jobs), (Some(worker.pid), Some(1), 0));
    assert!((9.9..=10.1).contains(&idle.age_seconds.unwrap()), "{idle:?}");
    assert!(idle.recyclable);

    let _late = bench.call_by("late", Deadline::after(secs(5)));
    let _run = worker.running().await;
    quiet().await;
    assert_eq!(slot(&bench).state, SlotState::Busy);
    tokio::time::sleep(secs(6)).await;
    let stopping = slot(&bench);
    assert_eq!(stopping.state, SlotState::Stopping);
    assert!((0.9..=1.1).contains(&stopping.since_seconds), "{stopping:?}");

    let mut successor = bench.handle.spawned().await;
    let replaced = slot(&bench);
    assert_eq!((replaced.state, replaced.pid), (SlotState::Booting, None), "the old one is gone");
    successor.fail_boot("no luck");
    for _ in 0..2 {
        bench.handle.spawned().await.fail_boot("no luck");
    }
    quiet().await;
    let failing = slot(&bench);
    assert_eq!((failing.state, failing.failures), (SlotState::Failing, 3));
    assert_eq!(failing.last_error.as_deref(), Some("no luck"));

    let _worker = bench.next_ready().await;
    let recovered = slot(&bench);
    assert_eq!((recovered.state, recovered.last_error), (SlotState::Idle, None));
    bench.pool.stop().await;
    assert_eq!(slot(&bench).state, SlotState::Ended);
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_outcome_workers_by_reason_and_slots_by_state() {
    let settings = PoolSettings { queue_max: 0, max_jobs: 2, ..calm(1) };
    let (mut bench, mut workers) = Bench::booted(&settings).await;
    bench.served_by(&mut workers[0]).await;
    let late = bench.call_by("late", Deadline::after(secs(1)));
    let _run = workers[0].running().await;
    quiet().await;
    assert_eq!(bench.metric("folk_pool_slots{pool=\"test\",state=\"busy\"}"), 1.0);
    assert!(answer(bench.call("refused")).await.is_err());
    assert!(answer(late).await.is_err());
    let mut worker = bench.next_ready().await;
    assert_eq!(bench.metric("folk_pool_slots{pool=\"test\",state=\"idle\"}"), 1.0);
    assert_eq!(bench.metric("folk_pool_slots{pool=\"test\",state=\"busy\"}"), 0.0);
    let fails = bench.call("fails");
    worker.running().await.fail(Error::Runtime("lost it".to_owned()));
    assert!(answer(fails).await.is_err());
    let mut worker = bench.next_ready().await;
    for _ in 0..2 {
        bench.served_by(&mut worker).await;
    }
    let _worker = bench.next_ready().await;
    bench.pool.stop().await;
    assert!(answer(bench.call("x")).await.is_err());

    for (outcome, count) in
        [("ok", 3.0), ("busy", 1.0), ("timeout", 1.0), ("runtime", 1.0), ("shutting_down", 1.0)]
    {
        let name = format!("folk_pool_requests_total{{pool=\"test\",outcome=\"{outcome}\"}}");
        assert_eq!(bench.metric(&name), count, "{outcome}");
    }
    for (reason, count) in
        [("timeout", 1.0), ("runtime", 1.0), ("max_jobs", 1.0), ("shutdown", 1.0), ("died", 0.0)]
    {
        assert_eq!(bench.gone(reason), count, "{reason}");
    }
    assert_eq!(bench.metric("folk_pool_boot_seconds_count{pool=\"test\"}"), 4.0);
    assert_eq!(bench.metric("folk_pool_slots{pool=\"test\",state=\"ended\"}"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn the_bus_tells_of_workers_and_reloads() {
    let (mut bench, workers) = Bench::booted(&calm(1)).await;
    let mut events = bench.bus.subscribe(16);
    workers[0].set_last_words("bye");
    let pool = Arc::clone(&bench.pool);
    let reload = tokio::spawn(async move { pool.reload().await });
    let successor = bench.next_ready().await;
    reload.await.unwrap().unwrap();
    tokio::time::sleep(secs(10)).await;
    successor.die("alas");
    bench.handle.spawned().await.fail_boot("no luck");
    quiet().await;
    let mut told = Vec::new();
    while told.len() < 5 {
        match within("an event", events.receive()).await {
            Some(Received::Event(event)) => told.push(match &*event {
                Event::WorkerReady { slot, generation, pid, .. } => {
                    assert_eq!(*pid, Some(successor.pid));
                    format!("ready {slot} {generation}")
                }
                Event::WorkerGone { reason, exit, .. } => format!("gone {reason}: {exit}"),
                Event::WorkerBootFailed { reason, failures, .. } => format!("{reason} {failures}"),
                Event::PoolReloaded { pool, generation } => format!("{pool} {generation}"),
                other => format!("{other:?}"),
            }),
            other => panic!("{other:?}"),
        }
    }
    let mut expected = [
        "ready 0 2",
        "gone reload: exited with code 0; it said: bye",
        "test 2",
        "gone died: exited with code 0",
        "no luck 1",
    ];
    expected.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn the_time_in_the_queue_is_measured_for_those_who_wait() {
    let mock = MockRuntime::new();
    let mut bench = Bench::start_with(&calm(1), mock).await;
    let mut worker = bench.handle.spawned().await;
    worker.ready();
    let _first = bench.call("first");
    let running = worker.running().await;
    let _second = bench.call("second");
    tokio::time::sleep(secs(2)).await;
    running.answer("done");
    worker.running().await.answer("done");
    quiet().await;
    let text = bench.metrics.render().unwrap();
    assert!(text.contains("folk_pool_queue_wait_seconds_count{pool=\"test\"} 1"), "{text}");
    assert!(text.contains("folk_pool_queue_wait_seconds_sum{pool=\"test\"} 2"), "{text}");
}
