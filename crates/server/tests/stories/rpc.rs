//! PHP asks the server.

use crate::support::{Load, Project};

const HANDLER: &str = r"
static $rpc = null;
$rpc ??= Folk\Rpc::fromEnvironment();
switch ($request->path()) {
    case '/version': return $rpc->call('rpc.Version');
    case '/workers': return $rpc->call('informer.Workers', 'default');
    case '/list': return $rpc->call('informer.List');
    case '/pid': return (string) getmypid();
    default:
        try {
            return $rpc->call(substr($request->path(), 1), 'default');
        } catch (Folk\RpcException $error) {
            return 'told: ' . $error->getMessage();
        }
}
";

#[test]
fn a_handler_asks_for_the_version_and_the_workers() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    folk.log.wait_for_nth("a worker is ready", 2);
    assert_eq!(folk.get("/version").body(), env!("CARGO_PKG_VERSION"));
    assert_eq!(folk.get("/list").json(), serde_json::json!(["default"]));
    let pid: u64 = folk.get("/pid").body().parse().unwrap();
    let workers = folk.get("/workers").json()["workers"].clone();
    let workers = workers.as_array().unwrap();
    assert_eq!(workers.len(), 2, "{workers:?}");
    assert!(workers.iter().any(|worker| worker["pid"] == pid), "{workers:?}");
    assert!(workers.iter().any(|worker| worker["state"] == "busy"), "who asks is: {workers:?}");
}

#[test]
fn what_goes_wrong_is_told_to_the_caller() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    let answer = folk.get("/no.such");
    assert_eq!(answer.body(), "told: unknown method no.such");
    // The connection is good for the next call.
    assert_eq!(folk.get("/version").status, 200);
}

#[test]
fn calls_from_many_workers_are_not_mixed_up() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&["pools.default.workers=4"]);
    let load = Load::start(folk.address(), 4, "/version");
    load.wait_for(200);
    let tally = load.stop();
    tally.assert_none_failed();
    assert!(tally.bodies.iter().all(|body| body == env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_socket_the_caller_is_told_what_to_set() {
    let project = Project::serving(
        "try { Folk\\Rpc::fromEnvironment(); } catch (Folk\\RpcException $error) { return $error->getMessage(); }",
    );
    let folk = project.serve(&["server.rpc="]);
    let answer = folk.get("/");
    assert!(answer.body().contains("set server.rpc in folk.toml"), "{answer:?}");
    assert!(!project.path("var").exists());
}

#[test]
fn a_call_that_runs_while_the_server_drains_is_answered() {
    let project = Project::serving(
        "wait_for('go'); return Folk\\Rpc::fromEnvironment()->call('rpc.Version');",
    );
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    client.send(&crate::support::Ask::get("/")).unwrap();
    project.wait_for_request_at("go");
    folk.signal(rustix::process::Signal::TERM);
    folk.log.wait_for("phase=\"draining\"");
    project.let_go("go");
    let head = client.head().unwrap();
    assert_eq!(client.body(&head).unwrap(), env!("CARGO_PKG_VERSION").as_bytes());
    assert_eq!(folk.wait_for_end().code, Some(0));
}
