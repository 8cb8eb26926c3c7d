//! A machine that has no room left: no disk for a body, no file descriptor for a worker.
//!
//! Each case runs in a process of its own, under a limit that the shell sets before it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use folk_api::{Deadline, Error, Job, Outcome, Request, Runtime};
use folk_runtime_php::process::ProcessRuntime;
use http::Method;
use support::{Bench, post, request, settings, spec, streamed};

/// Runs the ignored test `name` of this file after `limit`.
fn under(limit: &str, name: &str) {
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let more = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{text}\n{more}", output.status.signal());
    assert!(text.contains("1 passed"), "{text}\n{more}");
}

#[test]
fn a_disk_without_room_is_told_for_bodies_and_for_uploads() {
    // Beyond the limit a write fails as on a full disk, once the signal for it is ignored.
    under("trap '' XFSZ; ulimit -f 8", "with_no_room_on_disk");
}

#[tokio::test]
#[ignore = "run by the test above, under a limit"]
async fn with_no_room_on_disk() {
    let mut bench = Bench::folk().await;
    let chunks = || vec![vec![b'x'; 50_000]; 4];
    let body = Request::Http(Box::new(post("/echo", "text/plain", streamed(chunks()))));
    let error = bench.runtime.prepare(body).await.unwrap_err();
    let Error::Storage(why) = &error else { panic!("{error}") };
    assert!(why.contains("make room"), "{why}");

    let mut parts =
        vec![b"--B\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n".to_vec()];
    parts.extend(chunks());
    parts.push(b"\r\n--B--\r\n".to_vec());
    let upload = post("/files", "multipart/form-data; boundary=B", streamed(parts));
    let answer = bench.ask(upload).await.json();
    assert_eq!(answer["uploads"]["f"]["error"], 7, "{answer}");
    assert_eq!(answer["uploads"]["f"]["tmp_name"], "", "{answer}");
}

#[test]
fn a_disk_that_fills_up_under_an_answer_loses_nothing_of_it() {
    // 512 KiB, in blocks of 512 bytes.
    under("trap '' XFSZ; ulimit -f 1024", "with_a_disk_that_fills_up");
}

#[tokio::test]
#[ignore = "run by the test above, under a limit"]
async fn with_a_disk_that_fills_up() {
    let mut bench = Bench::folk().await;
    let request = Request::Http(Box::new(request(Method::GET, "/big")));
    let (job, answer) = Job::new(request, Deadline::after(support::PATIENCE));
    let mut execute = bench.worker.execute(Box::new(job));
    let waits = tokio::time::timeout(Duration::from_millis(500), &mut execute).await;
    assert!(waits.is_err(), "it is held back");
    let read = answer.await.unwrap().body.collect(1 << 30);
    let (outcome, body) = support::within(async { tokio::join!(execute, read) }).await;
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    let body = body.unwrap();
    assert_eq!(body.len(), 20 << 20);
    for (index, piece) in body.chunks(1 << 20).enumerate() {
        assert!(piece.iter().all(|&byte| byte == b'a' + index as u8), "piece {index}");
    }
}

#[test]
fn a_process_without_file_descriptors_says_so() {
    under("ulimit -n 24", "with_no_file_descriptor_left");
}

#[tokio::test]
#[ignore = "run by the test above, under a limit"]
async fn with_no_file_descriptor_left() {
    let runtime = ProcessRuntime::new(settings("folk.php")).unwrap();
    let mut workers = Vec::new();
    let error = loop {
        match runtime.spawn(&spec()).await {
            Ok(worker) => workers.push(worker),
            Err(error) => break error,
        }
    };
    assert!(!workers.is_empty());
    assert!(!error.permanent, "it may pass");
    assert!(error.message.contains("no file descriptor left"), "{error}");
    assert!(error.message.contains("ulimit -n"), "{error}");
    // What was started before is as good as ever; its connection needs one descriptor as well.
    let mut first = workers.swap_remove(0);
    workers.pop();
    support::within(first.ready()).await.unwrap();
    let exit = support::within(first.terminate(support::PATIENCE)).await;
    assert_eq!(exit.kind, folk_api::runtime::ExitKind::Code(0));
}
