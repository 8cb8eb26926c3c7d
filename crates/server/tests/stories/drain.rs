//! The orderly end, and the one that is not waited for.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::wait::pause;
use crate::support::{Ask, Project, until};

/// Requests were cut: `exit_code.rs`.
const CUT: Option<i32> = Some(75);

const SLOW: &str = "if ($request->path() === '/slow') { wait_for('go'); } return 'done';";

#[test]
fn what_runs_is_finished_and_nothing_new_is_taken() {
    let project = Project::serving(SLOW);
    let folk = project.serve(&[]);
    let (mut slow, mut idle) = (folk.connect(), folk.connect());
    assert_eq!(idle.get("/").unwrap().status, 200);
    slow.send(&Ask::get("/slow")).unwrap();
    project.wait_for_request_at("go");

    folk.signal(Signal::TERM);
    folk.log.wait_for("phase=\"draining\"");
    until("the end of listening", || TcpStream::connect(folk.address()).err());
    // A connection that was open already is closed, or told to go away.
    if let Ok(answer) = idle.get("/") {
        assert_eq!(answer.status, 503, "{answer:?}");
    }

    project.let_go("go");
    let head = slow.head().unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(slow.body(&head).unwrap(), b"done");
    assert_eq!(slow.rest().unwrap(), b"");
    let ended = folk.wait_for_end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.took < Duration::from_secs(1), "it took {:?}", ended.took);
}

#[test]
fn requests_that_wait_for_a_worker_are_finished_too() {
    let project = Project::serving("wait_for('go'); return 'done';");
    let folk = project.serve(&["pools.default.workers=1"]);
    let mut clients: Vec<_> = (0..4).map(|_| folk.connect()).collect();
    for client in &mut clients {
        client.send(&Ask::get("/")).unwrap();
    }
    project.wait_for_request_at("go");
    // Nothing shows from outside that the others have been read; one that is not would be refused.
    pause(Duration::from_millis(200));
    folk.signal(Signal::TERM);
    folk.log.wait_for("phase=\"draining\"");
    project.let_go("go");
    for client in &mut clients {
        assert_eq!(client.head().unwrap().status, 200);
    }
    assert_eq!(folk.wait_for_end().code, Some(0));
}

#[test]
fn a_streamed_answer_is_sent_to_its_end() {
    let project =
        Project::serving("return (function () { yield 'one,'; wait_for('go'); yield 'two'; })();");
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    let head = client.head().unwrap();
    project.wait_for_request_at("go");
    folk.signal(Signal::TERM);
    folk.log.wait_for("phase=\"draining\"");
    project.let_go("go");
    assert_eq!(client.body(&head).unwrap(), b"one,two");
    assert_eq!(folk.wait_for_end().code, Some(0));
}

#[test]
fn told_a_second_time_it_ends_at_once() {
    let project = Project::serving("wait_for('never'); return 'done';");
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    project.wait_for_request_at("never");
    folk.signal(Signal::TERM);
    folk.log.wait_for("phase=\"draining\"");
    folk.signal(Signal::TERM);
    let ended = folk.wait_for_end();
    assert_eq!(ended.code, CUT, "{}", ended.log);
    assert!(ended.took < Duration::from_secs(2), "it took {:?}", ended.took);
    assert!(ended.log.contains("told to stop again"), "{}", ended.log);
    // Cut, or told why; but not left hanging.
    if let Ok(head) = client.head() {
        assert!(head.status >= 500, "{head:?}");
    }
}

#[test]
fn what_still_runs_when_the_grace_ends_is_cut() {
    let project = Project::serving("wait_for('never'); return 'done';");
    let folk = project.serve(&["server.shutdown_grace=300ms"]);
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    project.wait_for_request_at("never");
    folk.signal(Signal::TERM);
    let ended = folk.wait_for_end();
    assert_eq!(ended.code, CUT, "{}", ended.log);
    let took = ended.took;
    assert!((Duration::from_millis(280)..Duration::from_secs(3)).contains(&took), "{took:?}");
    assert!(ended.log.contains("the grace is over"), "{}", ended.log);
    if let Ok(head) = client.head() {
        assert!(head.status >= 500, "{head:?}");
    }
}

#[test]
fn an_answer_that_is_still_on_its_way_when_the_grace_ends_counts_as_cut() {
    let project = Project::serving("return str_repeat('x', 32 << 20);");
    let folk = project.serve(&["server.shutdown_grace=500ms"]);
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    // The worker is through with it; the client reads nothing.
    assert_eq!(folk.get("/").status, 200);
    folk.signal(Signal::TERM);
    let ended = folk.wait_for_end();
    assert_eq!(ended.code, CUT, "{}", ended.log);
}

#[test]
fn a_client_that_sends_nothing_does_not_hold_it_up() {
    let project = Project::serving("return 'done';");
    let folk = project.serve(&["http.limits.head_timeout=500ms"]);
    let silent = folk.connect();
    let mut halfway = folk.connect();
    halfway.write(b"GET / HT").unwrap();
    assert_eq!(folk.get("/").status, 200);
    let ended = folk.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    // Half a head may get the time that a head has, though not more.
    assert!(ended.took < Duration::from_secs(2), "it took {:?}", ended.took);
    drop(silent);
}
