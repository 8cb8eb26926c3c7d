//! Processes that are killed: workers under load, the server itself.

use rustix::process::Signal;

use crate::support::process::{is_alive, signal};
use crate::support::{Load, Project, until};

const KILLS: usize = 40;

#[test]
fn killed_workers_cost_at_most_the_request_they_run_each() {
    let project = Project::serving("usleep(1000); return (string) getmypid();");
    let folk = project.serve(&["pools.default.workers=4"]);
    folk.wait_for_workers(4);
    let load = Load::start(folk.address(), 8, "/");
    for _ in 0..KILLS {
        let victim = until("a worker", || fastrand::choice(folk.workers()));
        signal(victim, Signal::KILL);
        load.wait_for(20);
    }
    let tally = load.stop();
    assert_eq!(tally.hung, 0);
    assert!(tally.failed.len() <= KILLS, "{} failed: {:?}", tally.failed.len(), tally.failed);
    assert!(tally.bodies.len() > 2 * KILLS, "only {} were answered", tally.bodies.len());

    folk.wait_for_workers(4);
    assert_eq!(folk.get("/").status, 200);
}

#[test]
fn a_worker_that_dies_idle_is_replaced_without_a_request() {
    let project = Project::serving("return (string) getmypid();");
    let folk = project.serve(&["pools.default.workers=1"]);
    let first: u32 = folk.get("/").body().parse().unwrap();
    signal(first, Signal::KILL);
    folk.log.wait_for_nth("a worker is ready", 2);
    assert_ne!(folk.get("/").body(), first.to_string());
}

#[test]
fn a_worker_that_dies_in_the_middle_is_told_with_502_and_why_in_the_log() {
    let project = Project::serving(
        "fwrite(STDERR, \"the last words\\n\"); posix_kill(getmypid(), SIGSEGV); sleep(60);",
    );
    let folk = project.serve(&[]);
    let answer = folk.get("/");
    assert_eq!(answer.status, 502);
    assert!(!answer.body().contains("the last words"), "{answer:?}");
    let line = folk.log.wait_for("a worker is replaced");
    assert!(line.contains("killed by signal 11"), "{line}");
    assert!(line.contains("the last words"), "{line}");
}

#[test]
fn a_killed_server_leaves_no_worker_alive() {
    let project =
        Project::serving("if ($request->path() === '/loop') { touch('looping'); while (true); }");
    let mut folk = project.serve(&["pools.default.workers=3"]);
    let workers = folk.wait_for_workers(3);
    let mut looping = folk.connect();
    looping.write(b"GET /loop HTTP/1.1\r\nhost: story\r\n\r\n").unwrap();
    project.wait_for_file("looping");
    folk.kill().unwrap();
    for worker in workers {
        until("the end of a worker", || (!is_alive(worker)).then_some(()));
    }
}

#[test]
fn a_stopped_worker_does_not_stop_the_others() {
    let project = Project::serving("return (string) getmypid();");
    let folk = project.serve(&["pools.default.exec_timeout=400ms"]);
    folk.log.wait_for_nth("a worker is ready", 2);
    let frozen = folk.workers()[0];
    signal(frozen, Signal::STOP);
    let mut late = 0;
    for _ in 0..20 {
        let answer = folk.get("/");
        match answer.status {
            200 => assert_ne!(answer.body(), frozen.to_string()),
            504 => late += 1,
            status => panic!("answered with {status}"),
        }
    }
    assert_eq!(late, 1, "only the request that the stopped worker was given");
    // Killed for its deadline, stopped or not.
    until("the end of the stopped worker", || (!is_alive(frozen)).then_some(()));
}
