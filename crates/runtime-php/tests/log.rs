//! What workers print goes to the log under their name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use support::Bench;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn log() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).without_time().finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn output_and_errors_are_logged_under_the_name_of_the_worker() {
    let (log, _guard) = log();
    let mut bench = Bench::folk().await;
    let pid = bench.pid();
    bench.text("/print").await;
    support::within(bench.worker.terminate(support::PATIENCE)).await;
    let text = log.text();
    let name = format!("pool=\"test\" slot=3 pid={pid}");
    for (level, line) in [("INFO", "printed by echo"), ("WARN", "printed to stderr")] {
        let found = text.lines().any(|entry| {
            entry.contains(&format!("{level} folk::worker: {line}")) && entry.contains(&name)
        });
        assert!(found, "{line:?} with {level} and {name} is not in:\n{text}");
    }
}

#[tokio::test]
async fn control_characters_reach_no_terminal() {
    let (log, _guard) = log();
    let mut bench = Bench::folk().await;
    bench.text("/forge").await;
    support::within(bench.worker.terminate(support::PATIENCE)).await;
    let text = log.text();
    assert!(text.contains("folk::worker: before\\u{1b}[2J\\rafter"), "{text}");
}

#[tokio::test]
async fn a_report_of_a_roadrunner_worker_is_one_line() {
    let (log, _guard) = log();
    let mut bench = Bench::new(support::settings("roadrunner.php")).await;
    let came = bench.get("/forged-report").await;
    assert_eq!(came.answer.unwrap().status, 500);
    let text = log.text();
    assert!(text.contains("report=boom\\nWARN forged\\u{1b}[0m"), "{text}");
}

#[tokio::test]
async fn a_worker_that_floods_its_errors_is_cut_and_the_loss_is_told() {
    let (log, _guard) = log();
    let mut bench = Bench::folk().await;
    bench.text("/flood").await;
    support::within(bench.worker.terminate(support::PATIENCE)).await;
    let text = log.text();
    let logged = text.lines().filter(|entry| entry.contains("folk::worker: line ")).count();
    assert!((1000..20_000).contains(&logged), "{logged}");
    assert!(text.contains("were not logged: more than 1000 in a second"), "{text}");
}
