//! No file descriptors left.

use rustix::process::Signal;

use crate::support::process::signal;
use crate::support::{Client, Project, until};

#[test]
fn a_server_out_of_descriptors_says_so_and_recovers() {
    let project = Project::serving("return 'hello';");
    let folk = project.serve_limited("ulimit -n 64", &[]);
    let mut first = folk.connect();
    assert_eq!(first.get("/").unwrap().status, 200);
    let idle: Vec<_> = (0..100).map(|_| Client::connect(folk.address()).unwrap()).collect();
    let line = folk.log.wait_for("cannot accept connections");
    assert!(line.contains("raise the limit of open files"), "{line}");
    // Whoever has a connection is served on.
    assert_eq!(first.get("/").unwrap().status, 200);
    drop(idle);
    assert_eq!(folk.get("/").status, 200);
    assert_eq!(folk.stop().code, Some(0));
}

#[test]
fn workers_that_die_meanwhile_are_replaced_once_there_is_room() {
    let project = Project::serving("return 'hello';");
    let folk = project.serve_limited("ulimit -n 64", &["pools.default.workers=1"]);
    let idle: Vec<_> = (0..100).map(|_| Client::connect(folk.address()).unwrap()).collect();
    folk.log.wait_for("cannot accept connections");
    for worker in folk.workers() {
        signal(worker, Signal::KILL);
    }
    folk.log.wait_for("a worker is replaced");
    drop(idle);
    until("a new worker", || (folk.get("/").status == 200).then_some(()));
}

#[test]
fn too_few_for_a_single_worker_is_told_at_the_start() {
    let project = Project::serving("return 'hello';");
    let ended = project.fail_to_serve_limited("ulimit -n 16", &[]);
    assert!(matches!(ended.code, Some(1..)), "{ended:?}");
    assert!(ended.error().contains("file"), "{}", ended.log);
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
}
