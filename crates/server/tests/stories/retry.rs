//! Requests that a worker did not take go to another.

use crate::support::project::fixture;
use crate::support::{Ask, Load, Project};

/// A worker with the wire in its hands; `$served` counts what it answered before.
fn by_hand(code: &str) -> Project {
    Project::running(&format!(
        "require '{}';
         $wire = new Wire();
         for ($served = 0; ; ++$served) {{ [$context, $body] = $wire->request(); {code} }}",
        fixture("wire.php")
    ))
}

const THREE_THEN_STOP: &str =
    "if ($served === 3) { $wire->answer('', '{\"stop\":true}'); exit(0); }
     $wire->answer(getmypid() . ' ' . $body);";

#[test]
fn a_worker_that_asks_to_be_stopped_loses_no_request() {
    let project = by_hand(THREE_THEN_STOP);
    let folk = project.serve(&["pools.default.workers=2"]);
    let mut client = folk.connect();
    for number in 0..40 {
        let body = format!("number {number}");
        let answer = client.ask(&Ask::post("/", body.clone())).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body().ends_with(&body), "{answer:?}");
    }
    assert!(folk.log.count("reason=\"asked\"") > 5, "{}", folk.log.text());
}

#[test]
fn nor_under_load() {
    let project = by_hand(THREE_THEN_STOP);
    let folk = project.serve(&["pools.default.workers=4"]);
    let load = Load::start(folk.address(), 3, "/");
    load.wait_for(150);
    load.stop().assert_none_failed();
}

#[test]
fn a_worker_that_exits_between_two_requests_loses_none() {
    let project = by_hand("$wire->answer((string) getmypid()); if ($served === 2) { exit(0); }");
    let folk = project.serve(&["pools.default.workers=2"]);
    let mut client = folk.connect();
    let mut pids = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let answer = client.get("/").unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        pids.insert(answer.body());
    }
    assert!(pids.len() >= 10, "{pids:?}");
}

#[test]
fn a_large_body_arrives_whole_at_the_second_worker() {
    let project = by_hand(
        "if (!file_exists('refused')) { touch('refused'); $wire->answer('', '{\"stop\":true}'); exit(0); }
         $wire->answer(strlen($body) . ' ' . md5($body));",
    );
    let folk = project.serve(&["pools.default.workers=2"]);
    let body = b"0123456789abcdef".repeat(200_000);
    let answer = folk.ask(&Ask::post("/", body));
    // By `php -r`, once.
    assert_eq!(answer.body(), "3200000 4aba14a3846efbcabb4942274fa5639c");
    assert!(project.path("refused").exists());
}

#[test]
fn the_php_package_can_stop_its_worker_without_a_lost_request() {
    let project = Project::serving("Folk\\Worker::stop(); return (string) getmypid();");
    let folk = project.serve(&["pools.default.workers=2"]);
    let mut client = folk.connect();
    let mut pids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let answer = client.get("/").unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        pids.insert(answer.body());
    }
    assert_eq!(pids.len(), 20, "each worker answers once");
}

#[test]
fn workers_that_only_ever_stop_are_not_asked_for_ever() {
    let project = by_hand("$wire->answer('', '{\"stop\":true}'); exit(0);");
    let folk = project.serve(&["pools.default.workers=2", "pools.default.exec_timeout=3s"]);
    let status = folk.get("/").status;
    assert!(matches!(status, 502..=504), "answered with {status}");
}
