//! Workers that die, hang or talk nonsense. Each fault ends in an error that names its cause.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use folk_api::runtime::{Exit, ExitKind, NotTaken};
use folk_api::{Deadline, Error, HttpRequest, Job, Outcome, Request};
use folk_runtime_php::process::Relay;
use http::Method;
use support::{Bench, PATIENCE, gone, post, request, settings_with, within};

async fn died(target: &str) -> String {
    let mut bench = Bench::folk().await;
    match bench.get(target).await.failure() {
        Error::Died(why) => why,
        other => panic!("{target}: {other}"),
    }
}

#[tokio::test]
async fn the_death_of_a_worker_tells_how_and_with_which_last_words() {
    assert_eq!(died("/exit").await, "exited with code 3; it said: my last words");
    let fatal = died("/undefined").await;
    assert!(fatal.starts_with("exited with code 255; it said: "), "{fatal}");
    assert!(fatal.contains("Call to undefined function undefined_function()"), "{fatal}");
    assert_eq!(died("/die").await, "killed by signal 9");
    assert_eq!(died("/close").await, "closed its connection");
}

/// A request whose worker leaves a child with its connection, and the file with the child's pid.
async fn with_heir(method: Method) -> support::Came {
    let mut bench = Bench::folk().await;
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("heir");
    let mut request = request(method, "/die-with-heir");
    request.headers.insert("x-mark", mark.to_string_lossy().parse().unwrap());
    let began = tokio::time::Instant::now();
    let came = bench.ask(request).await;
    let heir: u32 = std::fs::read_to_string(&mark).unwrap().parse().unwrap();
    assert!(support::is_alive(heir), "it holds the connection");
    let heir = rustix::process::Pid::from_raw(heir as i32).unwrap();
    rustix::process::kill_process(heir, rustix::process::Signal::KILL).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    came
}

#[tokio::test]
async fn the_death_of_a_worker_is_noticed_though_a_child_holds_its_connection() {
    let came = with_heir(Method::GET).await;
    assert_eq!(came.failure(), Error::Died("exited with code 7".into()));
}

#[tokio::test]
async fn what_a_worker_answered_before_it_died_is_read_though_a_child_holds_its_connection() {
    let came = with_heir(Method::POST).await;
    assert_eq!(came.answer.unwrap().body.unwrap(), "the last answer");
}

#[tokio::test]
async fn arguments_stay_out_of_the_traces_of_exceptions() {
    // Without php.ini, as in a container.
    let mut bare = support::settings("folk.php");
    bare.command.insert(1, "-n".into());
    let mut bench = Bench::new(bare).await;
    let Error::Died(trace) = bench.get("/secret").await.failure() else { panic!("not died") };
    assert!(trace.contains("no entry") && trace.contains("#0"), "{trace}");
    assert!(!trace.contains("hunter2"), "{trace}");
}

#[tokio::test]
async fn half_a_frame_is_a_death_in_the_middle_of_it() {
    assert_eq!(died("/half-frame").await, "exited with code 5");
}

#[tokio::test]
async fn a_breach_of_the_protocol_is_named() {
    for (target, part) in [
        ("/garbage", "not a frame, but \"Warning: something printed to the wrong place"),
        ("/huge-claim", "4294967295 bytes, more than the limit"),
        ("/no-option", "0 options where 1 belong"),
        ("/long-context", "a context of 10 bytes in a payload of 3"),
        ("/nonsense-head", "malformed serialization"),
        ("/control", "control frame"),
        ("/twice", "more than it was asked"),
    ] {
        let mut bench = Bench::folk().await;
        let Error::Protocol(why) = bench.get(target).await.failure() else {
            panic!("{target}: not a breach of the protocol")
        };
        assert!(why.contains(part), "{target}: {why}");
    }
}

#[tokio::test]
async fn a_second_answer_that_comes_later_is_found_before_the_next_request() {
    let mut bench = Bench::folk().await;
    assert_eq!(bench.text("/twice-later").await, "first");
    let pid = bench.pid();
    let Exit { kind, last_words } = within(bench.worker.died()).await;
    assert_eq!(kind, ExitKind::Garbage);
    assert!(last_words.contains("second"), "{last_words}");
    gone(pid).await;
    // Whoever asks nevertheless gets the request back, and the same answer again and again.
    let came = bench.get("/hello").await;
    let not_taken = matches!(came.outcome, Outcome::NotTaken { why: NotTaken::Died(_), .. });
    assert!(not_taken, "{:?}", came.outcome);
    assert_eq!(within(bench.worker.died()).await.kind, ExitKind::Garbage);
    assert_eq!(within(bench.worker.terminate(PATIENCE)).await.kind, ExitKind::Garbage);
}

#[tokio::test]
async fn an_answer_to_an_earlier_request_is_not_taken_for_that_to_the_running_one() {
    let mut bench = Bench::folk().await;
    assert_eq!(bench.text("/late-answer").await, "first");
    let Error::Protocol(why) = bench.get("/beside-late-answer").await.failure() else {
        panic!("not a breach of the protocol")
    };
    assert!(why.contains("an answer to another request"), "{why}");
}

#[tokio::test]
async fn a_death_between_requests_is_noticed_without_traffic() {
    let mut bench = Bench::folk().await;
    let control = bench.worker.control();
    let (exit, ()) =
        within(async { tokio::join!(bench.worker.died(), async { control.kill() }) }).await;
    assert_eq!(exit.kind, ExitKind::Signal(9));
}

#[tokio::test]
async fn a_request_for_a_dead_worker_is_given_back() {
    // Killed right before the request is handed over: whether that is noticed before the write,
    // by the write or by the read, the request was not run and comes back whole.
    for round in 0..40 {
        let mut settings = support::settings("folk.php");
        settings.relay = if round % 2 == 0 { Relay::UnixSocket } else { Relay::Pipes };
        let mut bench = Bench::new(settings).await;
        bench.worker.control().kill();
        let came = bench.ask(post("/echo", "text/plain", "body")).await;
        let Outcome::NotTaken { job, why: NotTaken::Died(exit) } = came.outcome else {
            panic!("{:?}", came.outcome)
        };
        assert_eq!(exit.kind, ExitKind::Signal(9));
        let Request::Http(http) = &job.request else { panic!("another request") };
        assert_eq!(http.body.as_bytes(), Some(&b"body"[..]));
    }
}

#[tokio::test]
async fn a_request_that_a_killed_worker_never_read_is_given_back() {
    for relay in [Relay::UnixSocket, Relay::Pipes] {
        let mut settings = support::settings("folk.php");
        settings.relay = relay;
        let mut bench = Bench::new(settings).await;
        let pid = rustix::process::Pid::from_raw(bench.pid() as i32).unwrap();
        // It lives but reads nothing, so the request is written whole and stays unread.
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        support::stopped(bench.pid()).await;
        let control = bench.worker.control();
        let kill = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            control.kill();
        };
        let (came, ()) = tokio::join!(bench.get("/hello"), kill);
        let not_taken = matches!(came.outcome, Outcome::NotTaken { why: NotTaken::Died(_), .. });
        assert!(not_taken, "{relay:?}: {:?}", came.outcome);
    }
}

/// A request that never ends, and the file that is there once it runs.
fn hanging(directory: &Path) -> (HttpRequest, PathBuf) {
    let mark = directory.join("runs");
    let mut request = request(Method::GET, "/hang");
    request.headers.insert("x-mark", mark.to_string_lossy().parse().unwrap());
    (request, mark)
}

#[tokio::test]
async fn a_request_that_a_killed_worker_had_begun_is_not_given_back() {
    let mut bench = Bench::folk().await;
    let control = bench.worker.control();
    let directory = tempfile::tempdir().unwrap();
    let (hang, mark) = hanging(directory.path());
    let kill = async {
        support::until(|| mark.exists()).await;
        control.kill();
    };
    let (came, ()) = tokio::join!(bench.ask(hang), kill);
    assert_eq!(came.failure(), Error::Died("killed by signal 9".into()));
}

#[tokio::test]
async fn a_body_larger_than_the_worker_can_take_does_not_go_to_the_next_one() {
    let mut small = support::settings("folk.php");
    small.command.insert(1, "-dmemory_limit=8M".into());
    let mut bench = Bench::new(small).await;
    let body = bytes::Bytes::from(vec![b'x'; 64 << 20]);
    let Error::Died(why) = bench.ask(post("/length", "text/plain", body)).await.failure() else {
        panic!("not died")
    };
    assert!(why.contains("Allowed memory size"), "{why}");
}

#[tokio::test]
async fn terminating_asks_first_and_kills_after_the_grace() {
    let mut polite = Bench::folk().await;
    let exit = within(polite.worker.terminate(PATIENCE)).await;
    assert_eq!(exit.kind, ExitKind::Code(0));
    assert_eq!(within(polite.worker.terminate(PATIENCE)).await.kind, ExitKind::Code(0), "again");

    let mut stubborn = Bench::new(settings_with("boot.php", "stops-slowly")).await;
    let pid = stubborn.pid();
    let exit = within(stubborn.worker.terminate(Duration::from_millis(200))).await;
    assert_eq!(exit.kind, ExitKind::Signal(9));
    gone(pid).await;
}

#[tokio::test]
async fn a_worker_in_the_middle_of_a_request_is_killed_when_it_is_terminated() {
    let mut bench = Bench::folk().await;
    let directory = tempfile::tempdir().unwrap();
    let (hang, mark) = hanging(directory.path());
    let (job, _answer) = Job::new(Request::Http(Box::new(hang)), Deadline::after(PATIENCE));
    tokio::select! {
        outcome = bench.worker.execute(Box::new(job)) => panic!("{outcome:?}"),
        () = support::until(|| mark.exists()) => {}
    }
    let began = tokio::time::Instant::now();
    let exit = within(bench.worker.terminate(PATIENCE)).await;
    assert_eq!(exit.kind, ExitKind::Signal(9));
    assert!(began.elapsed() < Duration::from_secs(2), "no grace for a request that was given up");
}

#[tokio::test]
async fn killing_reaches_the_whole_group_and_can_be_repeated() {
    let mut bench = Bench::folk().await;
    let child: u32 = bench.text("/child").await.parse().unwrap();
    let control = bench.worker.control();
    assert!(!control.soft_stop(), "stock php cannot be asked");
    control.kill();
    control.kill();
    assert_eq!(within(bench.worker.died()).await.kind, ExitKind::Signal(9));
    gone(child).await;
    control.kill();
}

#[tokio::test]
async fn what_a_worker_started_dies_with_it_when_it_ends_by_itself() {
    let mut bench = Bench::folk().await;
    let child: u32 = bench.text("/child").await.parse().unwrap();
    let _died = bench.get("/exit").await;
    gone(child).await;
}
