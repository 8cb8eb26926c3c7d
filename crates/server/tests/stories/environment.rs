//! What workers see of the world around the server.

use crate::support::Project;

#[test]
fn workers_see_the_environment_of_their_pool_and_nothing_of_the_server() {
    let project = Project::serving("return getenv();");
    let folk = project.serve_with_env(
        &["pools.default.env={ APP_ENV = \"prod\", DEBUG = false, LIMIT = 5 }"],
        &[("AWS_SECRET_ACCESS_KEY", "hunter2"), ("FOLK_LOG__LEVEL", "info")],
    );
    let answer = folk.get("/");
    assert!(!answer.body().contains("hunter2"), "{answer:?}");
    let seen = answer.json();
    let seen = seen.as_object().unwrap();
    assert_eq!(seen["APP_ENV"], "prod");
    assert_eq!(seen["DEBUG"], "false");
    assert_eq!(seen["LIMIT"], "5");
    assert_eq!(seen["FOLK_POOL"], "default");
    assert_eq!(seen["FOLK_GENERATION"], "1");
    assert_eq!(seen["RR_MODE"], "http");
    let mut names: Vec<_> = seen.keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "APP_ENV",
        "DEBUG",
        "FOLK_GENERATION",
        "FOLK_POOL",
        "FOLK_SLOT",
        "FOLK_VERSION",
        "LIMIT",
        "RR_MODE",
        "RR_RELAY",
        "RR_RPC",
        "RR_VERSION",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_secret_is_handed_on_where_the_configuration_says_so_and_is_in_no_log() {
    let project = Project::serving("return (string) getenv('APP_SECRET');");
    let folk = project.serve_with_env(
        &["pools.default.env={ APP_SECRET = \"${SECRET_OF_STORY}\" }", "log.level=trace"],
        &[("SECRET_OF_STORY", "hunter2")],
    );
    assert_eq!(folk.get("/").body(), "hunter2");
    let ended = folk.stop();
    assert!(!ended.log.contains("hunter2"), "{}", ended.log);
}

#[test]
fn workers_have_no_descriptors_of_the_server() {
    let project = Project::serving(
        "$open = []; foreach (scandir('/proc/self/fd') as $fd) {
            $open[$fd] = @readlink(\"/proc/self/fd/$fd\"); } return $open;",
    );
    let folk = project.serve(&[]);
    let _other = folk.connect();
    let open = folk.get("/").json();
    let sockets = open.as_object().unwrap().values();
    let sockets =
        sockets.filter(|name| name.as_str().is_some_and(|name| name.starts_with("socket")));
    assert_eq!(sockets.count(), 1, "only the one to the server: {open}");
}

#[test]
fn each_worker_is_told_its_slot_and_generation() {
    let project = Project::serving("return getenv('FOLK_SLOT') . ' ' . getenv('FOLK_POOL');");
    let folk = project.serve(&["pools.default.workers=3"]);
    folk.log.wait_for_nth("a worker is ready", 3);
    let mut seen: Vec<_> = (0..3).map(|_| folk.get("/").body()).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["0 default", "1 default", "2 default"]);
}
