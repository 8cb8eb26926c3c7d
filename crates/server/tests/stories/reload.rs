//! SIGHUP takes up new code.

use rustix::process::Signal;

use crate::support::{Ask, Load, Project, until};

#[test]
fn new_code_takes_over_without_a_failed_request() {
    let project = Project::serving("return 'old';");
    let folk = project.serve(&["pools.default.workers=4"]);
    let load = Load::start(folk.address(), 4, "/");
    load.wait_for(50);
    for generation in 2..=4 {
        project.write_handler(&format!("return 'generation {generation}';"));
        folk.signal(Signal::HUP);
        folk.log.wait_for(&format!("reloaded pool=\"default\" gen={generation}"));
        for _ in 0..8 {
            assert_eq!(folk.get("/").body(), format!("generation {generation}"));
        }
    }
    let tally = load.stop();
    tally.assert_none_failed();
    assert!(tally.bodies.iter().any(|body| body == "old"));
    assert_eq!(tally.bodies.last().unwrap(), "generation 4");
}

#[test]
fn code_that_cannot_boot_leaves_the_old_one_serving() {
    let project = Project::serving("return 'old ' . getmypid();");
    let folk = project.serve(&["pools.default.workers=2"]);
    let load = Load::start(folk.address(), 2, "/");
    load.wait_for(20);
    project.write("worker.php", "<?php\n\n$broken = ;\n");
    folk.signal(Signal::HUP);
    let line = folk.log.wait_for("the reload failed");
    let whole = folk.log.text();
    let told = &whole[whole.find(&line).unwrap()..];
    assert!(told.contains("syntax error"), "{told}");
    assert!(told.contains("worker.php") && told.contains("line 3"), "{told}");
    load.wait_for(100);
    let tally = load.stop();
    tally.assert_none_failed();
    assert!(tally.bodies.iter().all(|body| body.starts_with("old ")));
    assert_eq!(folk.wait_for_workers(2).len(), 2);

    // A worker that has to be replaced meanwhile cannot be, but once the code is mended it is.
    project.write_handler("return 'mended';");
    folk.signal(Signal::HUP);
    folk.log.wait_for("reloaded");
    until("the new code", || (folk.get("/").body() == "mended").then_some(()));
}

#[test]
fn a_request_that_runs_is_finished_by_the_old_code() {
    let project = Project::serving("wait_for('go'); return 'old';");
    let folk = project.serve(&["pools.default.workers=1"]);
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    project.wait_for_request_at("go");
    project.write_handler("return 'new';");
    folk.signal(Signal::HUP);
    // The new worker is there, and waits its turn.
    folk.wait_for_workers(2);
    project.let_go("go");
    let head = client.head().unwrap();
    assert_eq!(client.body(&head).unwrap(), b"old");
    folk.log.wait_for("reloaded");
    assert_eq!(folk.get("/").body(), "new");
    folk.wait_for_workers(1);
}

#[test]
fn many_orders_to_reload_at_once_do_no_harm() {
    let project = Project::serving("return 'hello';");
    let folk = project.serve(&[]);
    let load = Load::start(folk.address(), 2, "/");
    for _ in 0..20 {
        folk.signal(Signal::HUP);
    }
    folk.log.wait_for("reloaded");
    load.wait_for(50);
    load.stop().assert_none_failed();
    assert_eq!(folk.stop().code, Some(0));
}

#[test]
fn a_request_that_runs_long_does_not_keep_other_slots_from_the_new_code() {
    let project = Project::serving(
        "if (getenv('FOLK_SLOT') === '0') { wait_for('go'); } return 'old ' . getenv('FOLK_SLOT');",
    );
    let folk = project.serve(&["pools.default.max_jobs=0"]);
    folk.log.wait_for_nth("a worker is ready", 2);
    let (mut one, mut two) = (folk.connect(), folk.connect());
    one.send(&Ask::get("/")).unwrap();
    two.send(&Ask::get("/")).unwrap();
    project.wait_for_request_at("go");
    project.write_handler("return 'new';");
    folk.signal(Signal::HUP);
    until("the new code beside the old", || (folk.get("/").body() == "new").then_some(()));
    project.let_go("go");
    let mut answers = [&mut one, &mut two].map(|client| {
        let head = client.head().unwrap();
        String::from_utf8(client.body(&head).unwrap()).unwrap()
    });
    answers.sort_unstable();
    assert_eq!(answers, ["old 0", "old 1"]);
    until("new code in both", || (0..4).all(|_| folk.get("/").body() == "new").then_some(()));
}
