//! Mistakes in the configuration, and the places that settings come from.

use crate::support::Project;

/// The configuration is wrong: `exit_code.rs`.
const CONFIG: Option<i32> = Some(78);

const GOOD: &str = "[http]\nlisten = \"127.0.0.1:0\"\n[pools.default]\nscript = \"worker.php\"\n";

/// What is added to a good file, from its line 5 on, and what must be said about it.
const MISTAKES: &[(&str, &str)] = &[
    ("worker = 2", "folk.toml:5: pools.default.worker: unknown key; did you mean \"workers\"?"),
    ("nonsense = 2", "folk.toml:5: pools.default.nonsense: unknown key; known are"),
    ("workers = 0", "folk.toml:5: pools.default.workers: must be at least 1"),
    ("workers = -3", "folk.toml:5: pools.default.workers: "),
    ("workers = \"many\"", "folk.toml:5: pools.default.workers: "),
    ("workers = 100000", "folk.toml:5: pools.default.workers: is 100000, more than"),
    ("workers = { min = 4, max = 2 }", "folk.toml:5: pools.default.workers: min is 4"),
    ("workers = { min = 4, mix = 8 }", "folk.toml:5: pools.default.workers"),
    ("exec_timeout = 30", "folk.toml:5: pools.default.exec_timeout: "),
    ("exec_timeout = \"30\"", "write it with its unit"),
    ("exec_timeout = \"soon\"", "folk.toml:5: pools.default.exec_timeout: "),
    ("exec_timeout = \"0s\"", "folk.toml:5: pools.default.exec_timeout: must be longer than zero"),
    ("max_memory = \"256\"", "folk.toml:5: pools.default.max_memory: "),
    (
        "queue = { max = 10, timout = \"1s\" }",
        "pools.default.queue.timout: unknown key; did you mean \"timeout\"?",
    ),
    ("relay = \"sockets\"", "did you mean \"socket\"?"),
    ("command = [\"php\"]", "folk.toml:5: pools.default.command: stands beside script"),
    ("runtime = \"embed\"", "folk.toml:5: pools.default.runtime: this build has no embedded PHP"),
    ("mode = \"classic\"", "folk.toml:5: pools.default.mode: classic needs"),
    (
        "env = { APP_KEY = \"${FOLK_STORY_UNSET}\" }",
        "environment variable FOLK_STORY_UNSET is not set",
    ),
    ("env = { \"A=B\" = \"x\" }", "folk.toml:5: pools.default.env"),
    ("[htpp]", "folk.toml:5: htpp: unknown key; did you mean \"http\"?"),
    ("[queue]\nengine = \"sqlite\"", "folk.toml:5: queue: this build has no such plugin"),
    ("[log]\nlevel = \"loud\"", "folk.toml:6: log.level: "),
    ("[log]\nformat = \"xml\"", "folk.toml:6: log.format: is \"xml\"; known are text, json"),
    ("[server]\nrpc = 7", "folk.toml:6: server.rpc: "),
    ("[server]\nshutdown_grace = \"-1s\"", "folk.toml:6: server.shutdown_grace: "),
    (
        "[http.limits]\nmax_head = \"1GiB\"",
        "folk.toml:6: http.limits.max_head: is 1GiB; must be between",
    ),
    ("[http.limits]\nmax_connections = 0", "folk.toml:6: http.limits.max_connections: is 0"),
    ("script = \"again.php\"", "folk.toml:5: "),
    ("[http]", "folk.toml:5: "),
    ("workers = ", "folk.toml:5: "),
    ("pools.default.workers", "folk.toml:5: "),
    ("\u{0}", "folk.toml:5: "),
];

#[test]
fn every_kind_of_mistake_is_told_with_its_place_and_its_cure() {
    let project = Project::serving("return 'hello';");
    for (mistake, told) in MISTAKES {
        project.write("folk.toml", &format!("{GOOD}{mistake}\n"));
        for command in ["check", "serve"] {
            let ended = project.run(&[command, "-c", "folk.toml"], &[]);
            assert_eq!(ended.code, CONFIG, "{command} with {mistake}: {}", ended.log);
            let error = ended.error();
            assert!(error.contains(told), "{command} with {mistake:?}, not {told:?}:\n{error}");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let project = Project::serving("return 'hello';");
    project.write(
        "folk.toml",
        "[http]\nlisten = \"everywhere\"\nport = 80\n\
         [pools.default]\nworkers = 0\n\
         [pools.tasks]\nscript = \"tasks.php\"\nmax_job = 5\nttl = \"long\"\n\
         [log]\nlevel = \"loud\"\n\
         [sever]\n",
    );
    let ended = project.run(&["check", "-c", "folk.toml"], &[]);
    assert_eq!(ended.code, CONFIG);
    let mut from = 0;
    for place in [
        "folk.toml:2: http.listen: ",
        "folk.toml:3: http.port: ",
        "pools.default.script: ",
        "folk.toml:5: pools.default.workers: ",
        "folk.toml:8: pools.tasks.max_job: ",
        "folk.toml:9: pools.tasks.ttl: ",
        "folk.toml:11: log.level: ",
        "folk.toml:12: sever: ",
    ] {
        let found = ended.log[from..].find(place);
        let found = found.unwrap_or_else(|| panic!("{place} is not told in order:\n{}", ended.log));
        from += found;
    }
    assert!(ended.error().contains("several faults"), "{}", ended.log);
}

#[test]
fn check_answers_with_json_for_programs() {
    let project = Project::serving("return 'hello';");
    let fine = project.run(&["check", "--json", "-c", "folk.toml"], &[]);
    assert_eq!(fine.code, Some(0));
    let answer: serde_json::Value = serde_json::from_str(&fine.out).unwrap();
    assert_eq!(answer, serde_json::json!({ "ok": true, "faults": [] }));

    project.write("folk.toml", &format!("{GOOD}worker = 2\n"));
    let wrong = project.run(&["check", "--json", "-c", "folk.toml"], &[]);
    assert_eq!(wrong.code, CONFIG);
    let answer: serde_json::Value = serde_json::from_str(&wrong.out).unwrap();
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["faults"][0]["key"], "pools.default.worker");
    assert_eq!(answer["faults"][0]["location"], "folk.toml:5");
    assert!(answer["faults"][0]["message"].as_str().unwrap().contains("workers"));
}

#[test]
fn a_file_that_is_not_there_is_told_with_its_cure() {
    let project = Project::empty();
    let ended = project.run(&["serve", "-c", "none.toml"], &[]);
    assert_eq!(ended.code, CONFIG);
    assert!(ended.error().contains("cannot read none.toml"), "{}", ended.log);
    assert!(ended.error().contains("-c FILE"), "{}", ended.log);
}

#[test]
fn an_override_without_a_value_is_told_how_to_write_it() {
    let project = Project::serving("return 'hello';");
    let ended = project.fail_to_serve(&["http.listen"]);
    assert_eq!(ended.code, CONFIG);
    assert!(ended.error().contains("write -o section.key=value"), "{}", ended.log);
}

#[test]
fn a_mistake_outside_the_file_is_told_with_where_it_came_from() {
    let project = Project::serving("return 'hello';");
    let ended = project.fail_to_serve(&["http.listen=nonsense"]);
    assert_eq!(ended.code, CONFIG);
    let told = "-o http.listen: http.listen: \"nonsense\" is not an address with port";
    assert!(ended.error().contains(told), "{}", ended.log);

    let env = [("FOLK_POOLS__DEFAULT__WORKERS", "few")];
    let ended = project.run(&["serve", "-c", "folk.toml"], &env);
    assert_eq!(ended.code, CONFIG);
    let told = "environment variable FOLK_POOLS__DEFAULT__WORKERS: pools.default.workers: ";
    assert!(ended.error().contains(told), "{}", ended.log);
}

#[test]
fn the_environment_overrules_the_file_and_o_overrules_both() {
    let project = Project::serving("return (string) getenv('WHO');");
    project.write("folk.toml", &format!("{GOOD}workers = 1\nenv = {{ WHO = \"file\" }}\n"));
    assert_eq!(project.serve(&[]).get("/").body(), "file");
    let folk = project.serve_with_env(&[], &[("FOLK_POOLS__DEFAULT__WORKERS", "3")]);
    assert_eq!(folk.wait_for_workers(3).len(), 3);
    drop(folk);
    let folk = project.serve_with_env(
        &["pools.default.workers=2", "pools.default.env.WHO=override"],
        &[("FOLK_POOLS__DEFAULT__WORKERS", "3")],
    );
    assert_eq!(folk.get("/").body(), "override");
    assert_eq!(folk.wait_for_workers(2).len(), 2);
}

#[test]
fn variables_and_their_defaults_are_expanded() {
    let project = Project::serving("return getenv('PLACE') . ' ' . getenv('MOOD');");
    project.write(
        "folk.toml",
        &format!(
            "{GOOD}workers = \"${{STORY_WORKERS:-1}}\"\n\
             env = {{ PLACE = \"${{STORY_PLACE:-nowhere}}\", MOOD = \"${{STORY_MOOD:-fine}}\" }}\n"
        ),
    );
    let folk = project.serve_with_env(&[], &[("STORY_PLACE", "here"), ("STORY_WORKERS", "3")]);
    assert_eq!(folk.get("/").body(), "here fine");
    folk.wait_for_workers(3);
}

#[test]
fn paths_are_relative_to_the_file_wherever_the_server_is_started() {
    let project = Project::serving("return getcwd();");
    let outside = Project::empty();
    let file = project.path("folk.toml").display().to_string();
    let folk = outside.serve_file(&file);
    let directory = project.path("").canonicalize().unwrap();
    assert_eq!(folk.get("/").body(), directory.to_string_lossy());
    assert!(project.path("var/rpc.sock").exists());
}
