//! Workers that do not boot: each failure names its cause and carries PHP's own words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use folk_api::runtime::ExitKind;
use folk_api::{BootError, Runtime};
use folk_runtime_php::process::{ProcessRuntime, ProcessSettings, Relay};
use support::{Bench, gone, is_alive, settings, settings_with, spec, within};

async fn failure(settings: ProcessSettings) -> BootError {
    match Bench::try_new(settings).await {
        Ok(_) => panic!("it must not boot"),
        Err(error) => error,
    }
}

/// Whether `error` has all of `parts`.
#[track_caller]
fn says(error: &BootError, parts: &[&str]) {
    for part in parts {
        assert!(error.message.contains(part), "{part:?} is not in: {error}");
    }
}

#[tokio::test]
async fn a_missing_script_is_named() {
    for relay in [Relay::UnixSocket, Relay::Pipes] {
        let mut missing = settings("not-there.php");
        missing.relay = relay;
        let error = failure(missing).await;
        says(&error, &["tests/fixtures/not-there.php does not exist", "folk.toml"]);
        assert!(!error.permanent, "it may appear");
    }
}

#[tokio::test]
async fn a_missing_program_is_permanent_and_names_the_cure() {
    let error = failure(ProcessSettings::new(vec!["php-not-there".into()], "/")).await;
    assert!(error.permanent);
    says(&error, &["php-not-there is not in PATH", "apt install php-cli"]);
}

#[tokio::test]
async fn fatal_errors_at_boot_carry_phps_own_message_once() {
    for (broken, message) in [
        (settings_with("boot.php", "fatal"), "Call to undefined function undefined_function()"),
        (
            settings_with("boot.php", "exception"),
            "Uncaught RuntimeException: the database is not there",
        ),
        (settings("parse-error.php"), "Parse error: Unclosed '('"),
    ] {
        let error = failure(broken).await;
        says(&error, &["exited with code 255", message]);
        assert_eq!(error.message.matches(message).count(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_script_that_just_ends_is_told_what_is_missing() {
    let error = failure(settings_with("boot.php", "ends")).await;
    says(&error, &["exited with code 0", "serve"]);
}

#[tokio::test]
async fn a_wrong_pid_is_explained_by_the_shell_that_causes_it() {
    let error = failure(settings_with("boot.php", "wrong-pid")).await;
    assert!(error.permanent);
    says(&error, &["shell", "exec php"]);

    // The real thing: the shell stays, because something comes after php.
    let mut shell = settings("folk.php");
    shell.command = ["/bin/sh", "-c", "php folk.php; true"].map(str::to_owned).to_vec();
    shell.env.insert("PATH".into(), std::env::var("PATH").unwrap());
    says(&failure(shell).await, &["shell", "exec php"]);
}

#[tokio::test]
async fn whatever_else_a_worker_says_first_is_shown() {
    for (how, parts) in [
        ("garbage", &["not a frame", "Deprecated: something old"][..]),
        ("refuses", &["refused to start: not today"]),
        ("answers-first", &["before it was asked"]),
        ("no-pid", &["did not tell its pid, but: {}"]),
        ("huge-claim", &["4294967295 bytes, more than the limit"]),
        ("closes", &["closed its connection before"]),
        ("new-dialect", &["folk/9", "folk/1"]),
        ("old-php", &["PHP 7.4.33 is too old", "8.1"]),
    ] {
        says(&failure(settings_with("boot.php", how)).await, parts);
    }
}

#[tokio::test]
async fn output_on_a_pipe_relay_is_shown_with_its_cure() {
    let mut piped = settings_with("boot.php", "garbage");
    piped.relay = Relay::Pipes;
    says(&failure(piped).await, &["Deprecated: something old", "stdout", "relay = \"pipes\""]);
}

#[tokio::test]
async fn a_worker_that_never_gets_ready_can_be_ended_and_tells_what_it_said() {
    for how in ["never-ready", "connects-and-waits"] {
        let runtime = ProcessRuntime::new(settings_with("boot.php", how)).unwrap();
        let mut worker = runtime.spawn(&spec()).await.unwrap();
        let patience = std::time::Duration::from_millis(1500);
        assert!(tokio::time::timeout(patience, worker.ready()).await.is_err(), "{how}");
        let pid = worker.control().pid().unwrap();
        assert!(is_alive(pid));
        let exit = within(worker.terminate(support::PATIENCE)).await;
        assert_eq!(exit.kind, ExitKind::Signal(9));
        if how == "never-ready" {
            assert_eq!(exit.last_words, "still waiting for the database");
        }
        gone(pid).await;
    }
}

#[tokio::test]
async fn a_failed_boot_leaves_no_process_and_no_socket() {
    let runtime = ProcessRuntime::new(settings_with("boot.php", "garbage")).unwrap();
    let mut worker = runtime.spawn(&spec()).await.unwrap();
    let pid = worker.control().pid().unwrap();
    within(worker.ready()).await.unwrap_err();
    drop(worker);
    gone(pid).await;
}

#[tokio::test]
async fn the_death_of_a_worker_that_boots_is_noticed_at_once() {
    let runtime = ProcessRuntime::new(settings_with("boot.php", "never-ready")).unwrap();
    let mut worker = runtime.spawn(&spec()).await.unwrap();
    let control = worker.control();
    let killed = async { control.kill() };
    let (ready, ()) = within(async { tokio::join!(worker.ready(), killed) }).await;
    says(&ready.unwrap_err(), &["killed by signal 9"]);
}
