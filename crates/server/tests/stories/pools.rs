//! More than one pool.

use crate::support::{Ask, Project};

const TWO: &str = r#"
[http]
listen = "127.0.0.1:0"
pool = "web"
[pools.web]
script = "worker.php"
workers = 2
[pools.tasks]
script = "worker.php"
workers = 1
env = { ROLE = "tasks" }
"#;

#[test]
fn http_is_answered_by_the_pool_that_it_names() {
    let project = Project::serving("return getenv('FOLK_POOL') . getenv('ROLE');");
    project.write("folk.toml", TWO);
    let folk = project.serve(&[]);
    for _ in 0..4 {
        assert_eq!(folk.get("/").body(), "web");
    }
    folk.wait_for_workers(3);
    drop(folk);
    let folk = project.serve(&["http.pool=tasks"]);
    assert_eq!(folk.get("/").body(), "taskstasks");
}

#[test]
fn a_pool_that_is_not_there_is_told_with_the_ones_that_are() {
    let project = Project::serving("return 'hello';");
    project.write("folk.toml", TWO);
    let ended = project.fail_to_serve(&["http.pool=wbe"]);
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(
        ended.error().contains("http.pool: no such pool; did you mean \"web\"?"),
        "{}",
        ended.log
    );
    let ended = project.fail_to_serve(&["http.pool=elsewhere"]);
    assert!(ended.error().contains("tasks, web"), "{}", ended.log);
}

#[test]
fn a_pool_that_cannot_boot_is_named() {
    let project = Project::serving("return 'hello';");
    project.write("folk.toml", TWO);
    project.write("tasks.php", "<?php echo 'no such queue'; exit(1);");
    let ended = project.fail_to_serve(&["pools.tasks.script=tasks.php"]);
    assert_eq!(ended.code, Some(70), "{}", ended.log);
    assert!(ended.error().contains("pool tasks: no worker could be booted"), "{}", ended.log);
    assert!(ended.error().contains("no such queue"), "{}", ended.log);
}

#[test]
fn a_pool_that_is_busy_does_not_delay_another() {
    let project = Project::serving(
        "if (getenv('FOLK_POOL') === 'web') { wait_for('go'); }
         return Folk\\Rpc::fromEnvironment()->call('informer.Workers', 'tasks');",
    );
    project.write("folk.toml", TWO);
    let folk = project.serve(&[]);
    let (mut one, mut two) = (folk.connect(), folk.connect());
    one.send(&Ask::get("/")).unwrap();
    two.send(&Ask::get("/")).unwrap();
    project.wait_for_request_at("go");
    project.let_go("go");
    for client in [&mut one, &mut two] {
        let head = client.head().unwrap();
        let body = String::from_utf8(client.body(&head).unwrap()).unwrap();
        assert!(body.contains("\"state\":\"idle\""), "{body}");
    }
}
