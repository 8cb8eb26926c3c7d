//! How a pool ends.

use folk_api::runtime::NotTaken;
use folk_testkit::mock::Ended;

use super::*;

fn drain(bench: &Bench) -> JoinHandle<()> {
    let pool = Arc::clone(&bench.pool);
    tokio::spawn(async move { pool.drain().await })
}

async fn drained(drain: JoinHandle<()>) {
    within("the drain", drain).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_pool_drains_at_once() {
    let (bench, mut workers) = Bench::booted(&calm(3)).await;
    let begun = Instant::now();
    drained(drain(&bench)).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    for worker in &mut workers {
        assert_eq!(worker.ended().await, Ended::Asked);
    }
    assert_eq!(bench.gone("shutdown"), 3.0);
    assert!((0..3).all(|slot| bench.state(slot) == SlotState::Ended));
    assert_eq!(answer(bench.call("x")).await, Err(Error::ShuttingDown));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_never_began_or_only_boots_drains_at_once() {
    let (runtime, _handle) = MockRuntime::new();
    let pool = Pool::new(&calm(2), runtime, &Metrics::default(), Bus::new()).unwrap();
    within("the drain", pool.drain()).await;

    let mut bench = Bench::start(&calm(1)).await;
    let mut booting = bench.handle.spawned().await;
    drained(drain(&bench)).await;
    assert_eq!(booting.ended().await, Ended::Dropped);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_those_who_waited_give_up_and_no_worker_ever_came() {
    let mut bench = Bench::start(&PoolSettings { boot_timeout: secs(400), ..calm(1) }).await;
    let _booting = bench.handle.spawned().await;
    let waiting = bench.call("waiting");
    quiet().await;
    let begun = Instant::now();
    let drain = drain(&bench);
    assert!(answer(waiting).await.is_err());
    drained(drain).await;
    assert!(begun.elapsed() < secs(6), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_while_the_pool_drains_is_not_replaced() {
    let (mut bench, mut workers) = Bench::booted(&calm(1)).await;
    let running = bench.call("running");
    let _run = workers[0].running().await;
    let drain = drain(&bench);
    quiet().await;
    workers[0].die("of all times");
    assert!(matches!(answer(running).await, Err(Error::Died(_))));
    drained(drain).await;
    assert!(bench.handle.try_spawned().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_those_who_run_and_wait_and_kills_the_workers() {
    let (bench, mut workers) = Bench::booted(&calm(2)).await;
    let running = bench.call("running");
    let _run = workers[0].running().await;
    let _other = bench.call("other");
    let _held = workers[1].running().await;
    let waiting = bench.call("waiting");
    quiet().await;
    let begun = Instant::now();
    within("the stop", bench.pool.stop()).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(answer(running).await, Err(Error::ShuttingDown));
    assert_eq!(answer(waiting).await, Err(Error::ShuttingDown));
    for worker in &mut workers {
        assert_eq!(worker.ended().await, Ended::Killed);
    }
    assert_eq!(answer(bench.call("x")).await, Err(Error::ShuttingDown));
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_gives_back_while_the_pool_stops_is_not_lost() {
    let (bench, mut workers) = Bench::booted(&calm(2)).await;
    bench.served_by(&mut workers[0]).await;
    let call = bench.call("x");
    let run = workers[1].running().await;
    let mut stop = Box::pin(bench.pool.stop());
    // Both slots are told; the idle one, which comes first, has ended when this comes back.
    assert!(is_pending(&mut stop).await);
    run.not_taken(NotTaken::Stopping);
    within("the stop", stop).await;
    let begun = Instant::now();
    assert_eq!(answer(call).await, Err(Error::ShuttingDown));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_bounded_whatever_the_workers_do() {
    let (bench, mut workers) = Bench::booted(&calm(2)).await;
    let _running = bench.call("running");
    let _run = workers[0].running().await;
    for worker in &workers {
        worker.hang_in_terminate();
    }
    let begun = Instant::now();
    within("the stop", bench.pool.stop()).await;
    assert!(begun.elapsed() <= secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_the_grace_of_workers_that_were_asked_to_end() {
    let settings = PoolSettings { terminate_grace: secs(300), ..calm(1) };
    let (bench, workers) = Bench::booted(&settings).await;
    workers[0].hang_in_terminate();
    let drain = drain(&bench);
    tokio::time::sleep(secs(60)).await;
    assert!(!drain.is_finished(), "it has its grace");
    let begun = Instant::now();
    within("the stop", bench.pool.stop()).await;
    drained(drain).await;
    assert!(begun.elapsed() < millis(5), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_boots_and_successors_too() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    let _running = bench.call("running");
    let _run = workers[0].running().await;
    bench.pool.recycle(0).await;
    workers.push(bench.next_ready().await);
    bench.pool.recycle(1).await;
    workers.push(bench.handle.spawned().await);
    within("the stop", bench.pool.stop()).await;
    for worker in &mut workers {
        assert_ne!(worker.ended().await, Ended::No);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_in_the_way_of_the_end_gives_up() {
    let (mut bench, _workers) = Bench::booted(&calm(1)).await;
    let pool = Arc::clone(&bench.pool);
    let reload = tokio::spawn(async move { pool.reload().await });
    let mut successor = bench.handle.spawned().await;
    drained(drain(&bench)).await;
    assert_eq!(successor.ended().await, Ended::Dropped);
    let error = within("the reload", reload).await.unwrap().unwrap_err();
    assert_eq!(error.message, "the pool ended meanwhile");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_pool_ends_its_workers() {
    let (bench, mut workers) = Bench::booted(&calm(2)).await;
    drop(bench.pool);
    for worker in &mut workers {
        assert_eq!(worker.ended().await, Ended::Dropped);
    }
}
