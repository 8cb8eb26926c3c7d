//! The first minutes with it.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Ask, Project};

#[test]
fn serves_a_handler_that_returns_a_text() {
    let project = Project::serving("return 'Hello, world!';");
    let folk = project.serve(&[]);
    let answer = folk.get("/");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body(), "Hello, world!");
    assert_eq!(answer.text("content-type").unwrap(), "text/html; charset=UTF-8");
}

#[test]
fn keeps_the_application_booted_between_requests() {
    let project = Project::serving("static $served = 0; return (string) ++$served;");
    let folk = project.serve(&["pools.default.workers=1"]);
    let mut client = folk.connect();
    for served in 1..=50 {
        assert_eq!(client.get("/").unwrap().body(), served.to_string());
    }
}

#[test]
fn answers_pipelined_requests_in_order() {
    let project = Project::serving("return $request->target();");
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    for target in ["/1", "/2", "/3"] {
        client.send(&Ask::get(target)).unwrap();
    }
    for target in ["/1", "/2", "/3"] {
        let head = client.head().unwrap();
        assert_eq!(client.body(&head).unwrap(), target.as_bytes());
    }
}

#[test]
fn the_example_of_the_repository_serves() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hello");
    let script = format!("pools.default.script={example}/worker.php");
    let project = Project::empty();
    let folk = project.serve(&[&script]);
    assert!(folk.get("/").body().starts_with("Hello, world!"));
    assert_eq!(folk.get("/json").json()["hello"], "world");
    assert_eq!(folk.get("/nowhere").status, 404);
    for harm in ["/throw", "/exit", "/memory", "/segv"] {
        let status = folk.get(harm).status;
        assert!(matches!(status, 500 | 502), "{harm} is answered with {status}");
        assert_eq!(folk.get("/hello?name=you").status, 200, "after {harm}");
    }
}

#[test]
fn ends_at_once_with_code_0_when_nothing_runs() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let project = Project::serving("return 'hello';");
        let folk = project.serve(&[]);
        // An idle connection is no reason to wait.
        let mut idle = folk.connect();
        assert_eq!(idle.get("/").unwrap().status, 200);
        folk.signal(signal);
        let ended = folk.wait_for_end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.took < Duration::from_secs(1), "it took {:?}", ended.took);
        assert_eq!(idle.rest().unwrap(), b"");
        assert!(project.is_tidy(), "it left something in {}", project.path("tmp").display());
        assert!(!project.path("var/rpc.sock").exists());
    }
}

#[test]
fn can_be_told_to_stop_while_it_boots() {
    let project = Project::running("touch('booting'); sleep(60);");
    let folk = project.spawn(&[]);
    project.wait_for_file("booting");
    let ended = folk.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.took < Duration::from_secs(5), "it took {:?}", ended.took);
}

#[test]
fn check_finds_nothing_wrong_with_it() {
    let project = Project::serving("return 'hello';");
    let checked = project.run(&["check", "-c", "folk.toml"], &[]);
    assert_eq!(checked.code, Some(0), "{}", checked.log);
    assert_eq!(checked.out, "folk.toml is fine");
}

#[test]
fn tells_its_version_and_its_subcommands() {
    let project = Project::empty();
    let version = project.run(&["--version"], &[]);
    assert_eq!(version.code, Some(0));
    assert_eq!(version.out, format!("folk {}", env!("CARGO_PKG_VERSION")));
    let help = project.run(&["--help"], &[]);
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("serve") && help.out.contains("check"), "{}", help.out);
    assert!(!help.out.contains("worker-exec"), "{}", help.out);
}

#[test]
fn a_command_line_that_is_wrong_is_told_so_with_code_2() {
    let project = Project::empty();
    let wrong = project.run(&["serv"], &[]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.log.contains("serve"), "{}", wrong.log);
    assert_eq!(project.run(&[], &[]).code, Some(2));
    assert_eq!(project.run(&["serve", "--fast"], &[]).code, Some(2));
}

#[test]
fn logs_one_json_object_a_line_where_asked_to() {
    let project = Project::serving("error_log('from PHP'); return 'hello';");
    let folk = project.serve(&["log.format=json"]);
    assert_eq!(folk.get("/").status, 200);
    let ended = folk.stop();
    for line in ended.log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    assert!(ended.log.contains("from PHP"), "{}", ended.log);
}

#[test]
fn writes_an_access_log_where_asked_to_and_no_secrets_into_it() {
    let project = Project::serving("return 'hello';");
    let folk = project.serve(&["http.access_log=json"]);
    let ask = Ask::get("/page?token=hunter2")
        .header("authorization", "Bearer hunter2")
        .header("cookie", "session=hunter2");
    assert_eq!(folk.ask(&ask).status, 200);
    let ended = folk.stop();
    assert_eq!(ended.code, Some(0));
    let line: serde_json::Value = serde_json::from_str(&ended.out).expect(&ended.out);
    assert_eq!(line["status"], 200, "{line}");
    assert!(ended.out.contains("/page"), "{}", ended.out);
    assert!(!(ended.out + &ended.log).contains("hunter2"));
}
