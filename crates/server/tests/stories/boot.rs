//! Servers that cannot boot their workers: each says why, with PHP's own words, and ends.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::{Ended, Project};

/// No worker could be booted: `exit_code.rs`.
const BOOT: Option<i32> = Some(70);

fn assert_told(ended: &Ended, texts: &[&str]) {
    assert_eq!(ended.code, BOOT, "{}", ended.log);
    let error = ended.error();
    assert!(error.starts_with("folk: pool default: no worker could be booted"), "{}", ended.log);
    for text in texts {
        assert!(error.contains(text), "{text:?} is not in the error:\n{error}");
    }
    assert!(ended.took < Duration::from_secs(15), "it took {:?}", ended.took);
}

#[test]
fn a_script_that_is_not_there_is_named_with_its_path() {
    let project = Project::empty();
    let path = project.path("worker.php").display().to_string();
    assert_told(&project.fail_to_serve(&[]), &[&path]);
}

#[test]
fn a_syntax_error_is_told_with_file_and_line() {
    let project = Project::running("\n\nfunction broken( {\n");
    assert_told(&project.fail_to_serve(&[]), &["syntax error", "worker.php", "line 3"]);
}

#[test]
fn a_fatal_error_at_boot_is_told_as_php_told_it() {
    let project = Project::running("\nundefined_function();");
    let texts =
        ["Call to undefined function undefined_function()", "worker.php", "exited with code 255"];
    assert_told(&project.fail_to_serve(&[]), &texts);
}

#[test]
fn an_exception_at_boot_is_told_as_php_told_it() {
    let project = Project::running("throw new RuntimeException('the database is not there');");
    assert_told(&project.fail_to_serve(&[]), &["RuntimeException", "the database is not there"]);
}

#[test]
fn a_script_that_exits_is_told_with_what_it_printed() {
    let project = Project::running("echo \"DB_HOST is not set\\n\"; exit(3);");
    assert_told(&project.fail_to_serve(&[]), &["DB_HOST is not set", "exited with code 3"]);
}

#[test]
fn a_script_that_ends_without_serving_is_told_what_is_missing() {
    let project = Project::running("echo 'Hello, world!';");
    assert_told(&project.fail_to_serve(&[]), &["Hello, world!", "Folk\\serve"]);
}

#[test]
fn a_script_that_never_gets_ready_is_given_up() {
    let project = Project::running("fwrite(STDERR, \"waiting for the database\\n\"); sleep(60);");
    let ended = project.fail_to_serve(&["pools.default.boot_timeout=500ms"]);
    assert_told(&ended, &["not ready within 500ms", "boot_timeout", "waiting for the database"]);
}

#[test]
fn a_script_that_connects_and_says_nothing_is_given_up() {
    let project = Project::running(
        "$socket = stream_socket_client(getenv('RR_RELAY')); while (true) { sleep(60); }",
    );
    let ended = project.fail_to_serve(&["pools.default.boot_timeout=500ms"]);
    assert_told(&ended, &["not ready within 500ms"]);
}

#[test]
fn a_php_that_is_not_there_is_named_with_its_cure() {
    let project = Project::serving("return 'hello';");
    let ended = project.fail_to_serve(&["pools.default.php=php-that-is-not-there"]);
    assert_told(&ended, &["php-that-is-not-there is not in PATH", "apt install php-cli"]);
    let ended = project.fail_to_serve(&["pools.default.php=bin/php"]);
    assert_told(&ended, &["bin/php", "does not exist"]);
}

#[test]
fn no_php_in_an_empty_path_is_told_as_well() {
    let project = Project::serving("return 'hello';");
    let ended = project.run(&["serve", "-c", "folk.toml"], &[("PATH", "")]);
    assert_told(&ended, &["php is not in PATH", "apt install php-cli"]);
}

#[test]
fn a_php_that_is_too_old_is_refused() {
    let project = Project::serving("return 'hello';");
    project.write("php7.4", "#!/bin/sh\necho 7.4.33\n");
    let permissions = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(project.path("php7.4"), permissions).unwrap();
    let ended = project.fail_to_serve(&["pools.default.php=./php7.4"]);
    assert_told(&ended, &["PHP 7.4.33", "too old", "8.1"]);
}

#[test]
fn a_wrapper_that_hides_the_pid_of_php_is_told_to_exec() {
    let project = Project::serving("return 'hello';");
    project.write(
        "folk.toml",
        "[http]\nlisten = \"127.0.0.1:0\"\n[pools.default]\n\
         command = [\"sh\", \"-c\", \"php worker.php; true\"]\nworkers = 1\n",
    );
    assert_told(&project.fail_to_serve(&[]), &["pid", "exec php"]);
}

#[test]
fn a_wrapper_that_execs_php_serves() {
    let project = Project::serving("return 'hello';");
    project.write(
        "folk.toml",
        "[http]\nlisten = \"127.0.0.1:0\"\n[pools.default]\n\
         command = [\"sh\", \"-c\", \"exec php worker.php\"]\nworkers = 1\n",
    );
    assert_eq!(project.serve(&[]).get("/").body(), "hello");
}

#[test]
fn check_tells_before_the_start_what_can_be_told() {
    let project = Project::empty();
    let ended = project.run(&["check", "-c", "folk.toml"], &[]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.log.contains("folk.toml:6: pools.default.script"), "{}", ended.log);
    project.write_handler("return 'hello';");
    let missing = ["check", "-c", "folk.toml", "-o", "pools.default.php=php-that-is-not-there"];
    let ended = project.run(&missing, &[]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.log.contains("php-that-is-not-there is not in PATH"), "{}", ended.log);
}

#[test]
fn a_worker_that_cannot_boot_at_first_is_tried_again() {
    let project = Project::serving("return 'hello';");
    let script = std::fs::read_to_string(project.path("worker.php")).unwrap();
    let moody = script.replacen(
        "<?php",
        "<?php if (!file_exists('tried')) { touch('tried'); exit(1); }",
        1,
    );
    project.write("worker.php", &moody);
    let folk = project.serve(&["pools.default.workers=1"]);
    assert_eq!(folk.get("/").body(), "hello");
    folk.log.wait_for("a worker could not be booted");
}
