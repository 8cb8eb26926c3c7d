//! Workers that are replaced on purpose.

use std::collections::BTreeSet;

use crate::support::process::is_alive;
use crate::support::{Load, Project, until};

#[test]
fn max_jobs_replaces_workers_without_a_failed_request() {
    let project = Project::serving("return (string) getmypid();");
    let folk = project.serve(&["pools.default.max_jobs=5", "pools.default.workers=4"]);
    let load = Load::start(folk.address(), 4, "/");
    folk.log.wait_for_nth("reason=\"max_jobs\"", 8);
    let tally = load.stop();
    tally.assert_none_failed();
    let pids: BTreeSet<_> = tally.bodies.iter().collect();
    assert!(pids.len() >= 8, "{pids:?}");
    folk.wait_for_workers(4);
}

#[test]
fn a_worker_that_grows_beyond_max_memory_is_replaced() {
    let project = Project::serving(
        "static $hoard = []; $hoard[] = str_repeat('x', 4 << 20); return (string) getmypid();",
    );
    let folk = project.serve(&["pools.default.max_memory=64MiB", "pools.default.workers=1"]);
    let mut pids = BTreeSet::new();
    until("another worker", || {
        let answer = folk.get("/");
        // PHP's own limit may be reached before the server has looked.
        if answer.status == 200 {
            pids.insert(answer.body());
        }
        (folk.log.count("reason=\"max_memory\"") > 0 && pids.len() > 1).then_some(())
    });
}

#[test]
fn a_worker_that_is_too_old_is_replaced_while_nobody_asks() {
    let project = Project::serving("return (string) getmypid();");
    let folk = project.serve(&["pools.default.ttl=500ms", "pools.default.workers=1"]);
    let pid: u32 = folk.get("/").body().parse().unwrap();
    folk.log.wait_for("reason=\"ttl\"");
    until("the end of the old worker", || (!is_alive(pid)).then_some(()));
    assert_ne!(folk.get("/").body(), pid.to_string());
}

#[test]
fn a_worker_that_idles_too_long_is_replaced() {
    let project = Project::serving("return (string) getmypid();");
    let folk = project.serve(&["pools.default.idle_ttl=400ms", "pools.default.workers=1"]);
    folk.log.wait_for("reason=\"idle_ttl\"");
    assert_eq!(folk.get("/").status, 200);
}

#[test]
fn a_worker_that_does_not_end_when_asked_to_is_killed() {
    // It asks for nothing more once it has answered, and ignores that the server wants it to end.
    let project = Project::serving(
        "register_shutdown_function(function () { sleep(60); }); return (string) getmypid();",
    );
    let folk = project.serve(&[
        "pools.default.max_jobs=1",
        "pools.default.workers=1",
        "pools.default.stop_timeout=300ms",
    ]);
    let first: u32 = folk.get("/").body().parse().unwrap();
    until("another worker", || (folk.get("/").body() != first.to_string()).then_some(()));
    until("the end of the first worker", || (!is_alive(first)).then_some(()));
    folk.log.wait_for("killed by signal 9");
}
