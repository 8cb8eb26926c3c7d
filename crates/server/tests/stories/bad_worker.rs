//! Workers that break the protocol: the caller is told, the worker replaced, nobody else disturbed.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::process::{is_alive, memory};
use crate::support::project::fixture;
use crate::support::{Ask, Folk, Project, until};

fn bad() -> Project {
    Project::running(&format!("require '{}';", fixture("bad.php")))
}

fn pid(folk: &Folk<'_>) -> u32 {
    let answer = folk.get("/pid");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body().parse().unwrap()
}

/// Asks for `target` of the only worker; what it was is gone after that, and another is there.
fn harm(folk: &Folk<'_>, target: &str, status: u16) {
    let before = pid(folk);
    let answer = folk.get(target);
    assert_eq!(answer.status, status, "{target}: {answer:?}");
    until("the end of a bad worker", || (!is_alive(before)).then_some(()));
    assert_ne!(pid(folk), before, "{target}");
}

#[test]
fn nonsense_is_answered_with_502_at_once() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=1"]);
    let started = Instant::now();
    for target in [
        "/garbage",
        "/checksum",
        "/version",
        "/context",
        "/no-option",
        "/head",
        "/object",
        "/control",
        "/4gib",
        "/close",
        "/half-and-exit",
    ] {
        harm(&folk, target, 502);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let line = folk.log.wait_for("HTTP/1.1 200 OK");
    assert!(line.contains("a worker is replaced") && line.contains("protocol"), "{line}");
}

#[test]
fn a_status_that_is_none_is_the_fault_of_the_application() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=1"]);
    let before = pid(&folk);
    assert_eq!(folk.get("/status").status, 500);
    folk.log.wait_for("99999 is no status");
    assert_eq!(pid(&folk), before, "no reason to replace it");
}

#[test]
fn half_an_answer_or_none_ends_with_the_deadline() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=1", "pools.default.exec_timeout=300ms"]);
    for target in ["/half", "/half-head", "/nothing"] {
        harm(&folk, target, 504);
    }
}

#[test]
fn a_claim_of_4_gib_reserves_nothing() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=1"]);
    let before = memory(folk.pid(), "VmHWM");
    harm(&folk, "/4gib", 502);
    let grown = memory(folk.pid(), "VmHWM") - before;
    assert!(grown < 16 << 20, "it grew by {grown} bytes");
}

#[test]
fn a_stream_that_breaks_off_is_not_taken_for_complete() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=1"]);
    for target in ["/stream-and-exit", "/stream-and-garbage"] {
        let mut client = folk.connect();
        client.send(&Ask::get(target)).unwrap();
        assert_eq!(client.head().unwrap().status, 200);
        assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"hello"[..]));
        project.let_go(&target[1..]);
        let end = client.chunk();
        assert!(end.is_err(), "{target}: {end:?}");
        pid(&folk);
    }
}

#[test]
fn a_second_answer_reaches_nobody() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=1"]);
    for turn in 1..=10 {
        assert_eq!(folk.get("/twice").body(), "the first");
        assert_eq!(folk.get("/next/0").body(), "next");
        folk.log.wait_for_nth("a worker is replaced", turn);
    }
}

#[test]
fn a_second_answer_that_comes_later_reaches_nobody() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=1"]);
    for turn in 1..=5 {
        assert_eq!(folk.get("/twice-later").body(), "the first");
        // Nobody asks meanwhile: frames carry no numbers, so a second answer that comes while the
        // next request runs could not be told from the answer to it.
        let line = folk.log.wait_for_nth("a worker is replaced", turn);
        assert!(line.contains("out of turn"), "{line}");
        assert_eq!(folk.get("/next/0").body(), "next");
    }
}

#[test]
fn an_answer_after_the_deadline_reaches_nobody() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=4", "pools.default.exec_timeout=200ms"]);
    let address = folk.address();
    // Some before the deadline, some after it, most as close to it as can be.
    let clients: Vec<_> = (0..4)
        .map(|client| {
            std::thread::spawn(move || {
                for (turn, late) in [190, 197, 199, 200, 201, 203, 210, 1].into_iter().enumerate() {
                    let name = format!("{client}-{turn}");
                    let mut connection = crate::support::Client::connect(address).unwrap();
                    let answer = connection.get(&format!("/{name}/{late}")).unwrap();
                    match answer.status {
                        200 => assert_eq!(answer.body(), name),
                        // Its worker is being replaced, or was slow to come.
                        503 | 504 => {}
                        _ => panic!("{answer:?}"),
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn what_is_printed_goes_to_the_log_and_into_no_answer() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=1"]);
    let before = pid(&folk);
    assert_eq!(folk.get("/stdout").body(), "clean");
    let line = folk.log.wait_for_nth("garbage on stdout", 100);
    assert!(line.contains(&format!("pool=\"default\" slot=0 pid={before}")), "{line}");
    assert_eq!(pid(&folk), before, "no reason to replace it");
    assert_eq!(folk.stop().log.matches("and no end of line").count(), 1, "once, and as a line");
}

#[test]
fn a_flood_on_standard_error_is_taken_and_cut() {
    let project = bad();
    let folk = project.serve(&["pools.default.workers=1"]);
    let before = memory(folk.pid(), "VmHWM");
    for target in ["/stderr", "/line"] {
        let answer = folk.get(target);
        assert_eq!((answer.status, answer.body().as_str()), (200, "clean"));
    }
    let grown = memory(folk.pid(), "VmHWM") - before;
    assert!(grown < 16 << 20, "it grew by {grown} bytes");
    let log = folk.stop().log;
    assert!(log.contains("lines of Stderr were not logged"), "{} bytes of log", log.len());
    assert!(log.len() < 1 << 20, "{} bytes of log", log.len());
    let longest = log.lines().map(str::len).max().unwrap();
    assert!(longest < 10_000, "a line of {longest} bytes");
}

#[test]
fn a_worker_that_speaks_while_nobody_asked_is_replaced() {
    let project = Project::running(&format!(
        "require '{}'; $wire = new Wire(); $wire->path(); $wire->answer((string) getmypid());
         usleep(50_000); $wire->answer('unasked'); sleep(60);",
        fixture("wire.php")
    ));
    let folk = project.serve(&["pools.default.workers=1"]);
    let first = folk.get("/").body();
    let line = folk.log.wait_for("a worker is replaced");
    assert!(line.contains("out of turn"), "{line}");
    let second = folk.get("/").body();
    assert_ne!(second, first);
    second.parse::<u32>().unwrap();
}
