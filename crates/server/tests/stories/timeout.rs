//! Requests that take too long.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::process::is_alive;
use crate::support::wait::pause;
use crate::support::{Ask, Folk, Project, until};

const HANDLER: &str = r"
switch ($request->path()) {
    case '/sleep': sleep(60);
    case '/loop': while (true);
    case '/catch': while (true) { try { sleep(60); } catch (Throwable) { } }
    default: return (string) getmypid();
}
";

fn late(folk: &Folk<'_>, target: &str) {
    let started = Instant::now();
    let answer = folk.get(target);
    let took = started.elapsed();
    assert_eq!(answer.status, 504, "{target}: {answer:?}");
    // Far from the 60 s that PHP would take, on however busy a machine.
    assert!((Duration::from_millis(290)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

#[test]
fn a_late_request_is_answered_in_time_and_its_worker_replaced() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&["pools.default.exec_timeout=300ms", "pools.default.workers=1"]);
    for target in ["/sleep", "/loop", "/catch"] {
        let pid: u32 = folk.get("/").body().parse().unwrap();
        late(&folk, target);
        until("the end of the late worker", || (!is_alive(pid)).then_some(()));
        assert_ne!(folk.get("/").body(), pid.to_string());
    }
    assert_eq!(folk.log.count("a request ran into its deadline"), 3);
    folk.wait_for_workers(1);
}

#[test]
fn a_late_request_does_not_delay_others() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&["pools.default.exec_timeout=1s", "pools.default.workers=2"]);
    folk.wait_for_workers(2);
    let mut stuck = folk.connect();
    stuck.send(&Ask::get("/loop")).unwrap();
    let mut client = folk.connect();
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        let started = Instant::now();
        assert_eq!(client.get("/").unwrap().status, 200);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_millis(500), "one waited {slowest:?}");
    assert_eq!(stuck.head().unwrap().status, 504);
}

#[test]
fn a_stream_that_runs_too_long_is_cut_and_not_ended_as_if_complete() {
    let project = Project::serving("return (function () { yield 'one'; sleep(60); })();");
    let folk = project.serve(&["pools.default.exec_timeout=300ms", "pools.default.workers=1"]);
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"one"[..]));
    let end = client.chunk();
    assert!(end.is_err(), "the client takes it for complete: {end:?}");
}

#[test]
fn more_requests_than_can_be_served_are_refused_in_time() {
    let project = Project::serving("wait_for('go'); return 'done';");
    let folk = project.serve(&[
        "pools.default.workers=1",
        "pools.default.queue={ max = 2, timeout = \"300ms\" }",
    ]);
    let mut first = folk.connect();
    first.send(&Ask::get("/")).unwrap();
    project.wait_for_request_at("go");

    let started = Instant::now();
    let mut clients: Vec<_> = (0..5).map(|_| folk.connect()).collect();
    for client in &mut clients {
        client.send(&Ask::get("/")).unwrap();
    }
    for client in &mut clients {
        let head = client.head().unwrap();
        assert_eq!(head.status, 503);
        assert!(head.text("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());

    project.let_go("go");
    assert_eq!(first.head().unwrap().status, 200);
    assert_eq!(folk.get("/").status, 200);
}

#[test]
fn a_request_whose_client_left_is_not_started() {
    let project = Project::serving(
        "if ($request->path() === '/count') { return (string) @filesize('started'); }
         file_put_contents('started', 'x', FILE_APPEND); wait_for('go'); return 'done';",
    );
    let folk = project.serve(&["pools.default.workers=1"]);
    let mut first = folk.connect();
    first.send(&Ask::get("/")).unwrap();
    project.wait_for_request_at("go");
    for _ in 0..5 {
        let mut client = folk.connect();
        client.send(&Ask::get("/")).unwrap();
        // Long enough that the server has read it; it leaves then.
        pause(Duration::from_millis(20));
    }
    pause(Duration::from_millis(50));
    project.let_go("go");
    assert_eq!(first.head().unwrap().status, 200);
    assert_eq!(folk.get("/count").body(), "1");
}
