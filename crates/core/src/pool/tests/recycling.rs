//! Workers that are replaced on purpose.

use std::collections::BTreeMap;

use folk_testkit::mock::Ended;

use super::*;

#[tokio::test(start_paused = true)]
async fn after_its_last_job_a_worker_serves_on_until_its_successor_is_ready() {
    let (mut bench, mut workers) = Bench::booted(&PoolSettings { max_jobs: 5, ..calm(1) }).await;
    for _ in 0..4 {
        bench.served_by(&mut workers[0]).await;
        assert!(bench.handle.try_spawned().is_none());
    }
    bench.served_by(&mut workers[0]).await;
    let mut successor = bench.handle.spawned().await;
    for _ in 0..3 {
        bench.served_by(&mut workers[0]).await;
    }
    successor.ready();
    assert_eq!(workers[0].ended().await, Ended::Asked);
    bench.served_by(&mut successor).await;
    assert!(workers[0].try_running().is_none());
    assert_eq!(bench.pool.slots()[0].jobs, 1);
    assert_eq!(bench.gone("max_jobs"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_due_in_the_middle_of_a_request_finishes_it_first() {
    let (mut bench, mut workers) = Bench::booted(&PoolSettings { ttl: secs(10), ..calm(1) }).await;
    let slow = bench.call("slow");
    let held = workers[0].running().await;
    tokio::time::sleep(secs(20)).await;
    assert!(bench.handle.try_spawned().is_none(), "it is looked at between requests");
    held.answer("done");
    assert_eq!(answer(slow).await, Ok("done".to_owned()));
    let successor = bench.next_ready().await;
    assert_eq!(workers[0].ended().await, Ended::Asked);
    assert!(!successor.is_ended());
    assert_eq!(bench.gone("ttl"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_an_idle_worker_from_being_replaced_for_idleness() {
    let settings = PoolSettings { idle_ttl: secs(10), ..calm(1) };
    let (mut bench, mut workers) = Bench::booted(&settings).await;
    for _ in 0..10 {
        tokio::time::sleep(secs(8)).await;
        bench.served_by(&mut workers[0]).await;
    }
    assert!(bench.handle.try_spawned().is_none());
    tokio::time::sleep(secs(11)).await;
    let mut successor = bench.handle.spawned().await;
    assert!(!workers[0].is_ended(), "its successor comes first");
    successor.ready();
    assert_eq!(workers[0].ended().await, Ended::Asked);
    assert_eq!(bench.gone("idle_ttl"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_too_large_goes_before_its_successor_comes() {
    let settings = PoolSettings { max_memory: 100, ..calm(1) };
    let (mut bench, mut workers) = Bench::booted(&settings).await;
    workers[0].set_memory(1000);
    tokio::time::sleep(secs(2)).await;
    bench.served_by(&mut workers[0]).await;
    let mut successor = bench.handle.spawned().await;
    assert_eq!(workers[0].ended().await, Ended::Asked, "memory is what there is too little of");
    assert_eq!(bench.state(0), SlotState::Booting);
    successor.ready();
    quiet().await;
    bench.served_by(&mut successor).await;
}

#[tokio::test(start_paused = true)]
async fn workers_booted_together_do_not_grow_old_together() {
    let (mut bench, _workers) = Bench::booted(&PoolSettings { ttl: secs(500), ..calm(8) }).await;
    let begun = Instant::now();
    let mut due = BTreeMap::new();
    for _ in 0..8 {
        let successor = bench.next_ready().await;
        due.insert(begun.elapsed().as_secs(), successor.spec.slot);
    }
    assert!(due.len() >= 5, "{due:?}");
    assert!(due.keys().all(|age| (449..=500).contains(age)), "{due:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operator_can_have_one_worker_replaced() {
    let (mut bench, mut workers) = Bench::booted(&calm(2)).await;
    assert!(bench.pool.recycle(1).await);
    assert!(!bench.pool.recycle(2).await, "there is no such slot");
    let successor = bench.next_ready().await;
    assert_eq!((successor.spec.slot, successor.spec.generation), (1, 1));
    assert_eq!(workers[1].ended().await, Ended::Asked);
    assert!(!workers[0].is_ended());
    assert_eq!(bench.gone("operator"), 1.0);
}
