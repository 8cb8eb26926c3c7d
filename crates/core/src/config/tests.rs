use super::pool::{PoolSection, WorkerCount};
use super::*;

fn load(toml: &str, env: &[(&str, &str)], overrides: &[&str]) -> Result<Config, Faults> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("folk.toml");
    std::fs::write(&file, toml).unwrap();
    Config::load(&Sources {
        file,
        env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        overrides: overrides.iter().map(|text| (*text).to_owned()).collect(),
    })
}

fn pool(config: &Config) -> Result<PoolSection, Faults> {
    let sections = config.subsections("pools").unwrap();
    PoolSection::read(&sections[0].1).map_err(|faults| config.locate(faults))
}

const POOL: &str = "[pools.default]\nscript = \"w.php\"\n";

#[test]
fn later_sources_win_key_by_key() {
    let toml = format!("{POOL}workers = 1\nmax_jobs = 5\nttl = \"1m\"\n");
    let env = [("FOLK_POOLS__DEFAULT__WORKERS", "2"), ("FOLK_POOLS__DEFAULT__MAX_JOBS", "6")];
    let config = load(&toml, &env, &["pools.default.workers=3"]).unwrap();
    let pool = pool(&config).unwrap();
    assert_eq!(pool.workers, WorkerCount::Fixed(3));
    assert_eq!(pool.max_jobs, 6);
    assert_eq!(pool.ttl.to_string(), "1m");
}

#[test]
fn workers_are_a_number_a_word_or_two_bounds() {
    for (text, expected) in [
        ("4", WorkerCount::Fixed(4)),
        ("\"auto\"", WorkerCount::Auto),
        ("{ min = 2, max = 16 }", WorkerCount::Between { min: 2, max: 16 }),
        ("\"${WORKERS:-8}\"", WorkerCount::Fixed(8)),
    ] {
        let config = load(&format!("{POOL}workers = {text}\n"), &[], &[]).unwrap();
        assert_eq!(pool(&config).unwrap().workers, expected, "{text}");
    }
}

#[test]
fn every_fault_is_reported_at_once_with_file_and_line() {
    let toml = "[pools.default]\nscrip = \"w.php\"\nworkers = \"many\"\nttl = 30\n\
                queue = { mx = 1 }\nmax_memory = \"12 parsecs\"\n";
    let config =
        load(toml, &[("FOLK_POOLS__DEFAULT__BOOT_TIMEOUT", "soon")], &["pools.default.php=[]"])
            .unwrap();
    let faults = pool(&config).unwrap_err().to_string();
    for expected in [
        "folk.toml:2: pools.default.scrip: unknown key; did you mean \"script\"?",
        "folk.toml:3: pools.default.workers: is string \"many\", expected a number",
        "folk.toml:4: pools.default.ttl: ",
        "folk.toml:5: pools.default.queue.mx: unknown key; did you mean \"max\"?",
        "folk.toml:6: pools.default.max_memory: \"12 parsecs\" is not a size",
        "environment variable FOLK_POOLS__DEFAULT__BOOT_TIMEOUT: pools.default.boot_timeout: \"soon\" is not a duration",
        "-o pools.default.php: pools.default.php: ",
    ] {
        assert!(faults.contains(expected), "{expected:?} is missing in:\n{faults}");
    }
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    for (toml, key) in [
        ("workers = 0", "workers"),
        ("workers = -1", "workers"),
        ("workers = 5000", "workers"),
        ("workers = { min = 4, max = 2 }", "workers"),
        ("boot_timeout = \"0s\"", "boot_timeout"),
        ("exec_timeout = \"0s\"", "exec_timeout"),
        ("command = [\"php\"]", "command"),
        ("mode = \"clasic\"", "mode"),
        ("env = { \"A=B\" = \"x\" }", "env"),
    ] {
        let config = load(&format!("{POOL}{toml}\n"), &[], &[]).unwrap();
        let faults = pool(&config).unwrap_err();
        assert_eq!(faults.0[0].path[2], key, "{toml}: {faults}");
    }
    let config = load("[pools.default]\n", &[], &[]).unwrap();
    assert!(pool(&config).unwrap_err().to_string().contains("script: is missing"));
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_line() {
    let faults = load("[pools.default]\nscript = \n", &[], &[]).unwrap_err().to_string();
    assert!(faults.contains("folk.toml:2: "), "{faults}");
    let missing = Sources { file: "/nowhere/folk.toml".into(), ..Sources::default() };
    let faults = Config::load(&missing).unwrap_err().to_string();
    assert!(faults.contains("cannot read /nowhere/folk.toml"), "{faults}");
    assert!(faults.contains("-c FILE"), "{faults}");
}

#[test]
fn sections_that_nobody_owns_are_refused_with_the_nearest_name() {
    let config = load("[htpp]\nlisten = \"x\"\n[queue]\n", &[], &[]).unwrap();
    let faults = config.refuse_unknown(&["http", "pools"], &["queue"]).unwrap_err();
    let faults = config.locate(faults).to_string();
    assert!(faults.contains("folk.toml:1: htpp: unknown key; did you mean \"http\"?"), "{faults}");
    assert!(faults.contains("folk.toml:3: queue: this build has no such plugin"), "{faults}");
}

#[test]
fn variables_and_overrides_that_are_wrong_are_named() {
    let toml = "[pools.default]\nscript = \"${SCRIPT}\"\n";
    let faults = load(toml, &[], &["workers"]).unwrap_err().to_string();
    assert!(
        faults.contains("folk.toml:2: pools.default.script: environment variable SCRIPT"),
        "{faults}"
    );
    assert!(faults.contains("-o workers: write -o section.key=value"), "{faults}");
}

#[test]
fn variables_of_the_environment_that_are_no_settings_are_left_alone() {
    let config = load(POOL, &[("FOLK_VERSION", "1"), ("FOLKLORE__X", "1")], &[]).unwrap();
    assert!(config.refuse_unknown(&["pools"], &[]).is_ok());
}

#[test]
fn overrides_take_lists_tables_and_plain_text() {
    let config = load(
        POOL,
        &[],
        &[
            "pools.default.workers={ min = 1, max = 2 }",
            "pools.default.php=/usr/bin/php",
            "pools.default.env.APP_ENV=dev",
            "pools.default.env.PORT=8080",
        ],
    )
    .unwrap();
    let pool = pool(&config).unwrap();
    assert_eq!(pool.workers, WorkerCount::Between { min: 1, max: 2 });
    assert_eq!(pool.php, "/usr/bin/php");
    assert_eq!(pool.env["APP_ENV"].0, "dev");
    assert_eq!(pool.env["PORT"].0, "8080");
}

#[test]
fn the_environment_reaches_keys_whatever_their_case() {
    let toml = "[pools.Web]\nscript = \"w.php\"\nworkers = 1\n";
    let env = [("FOLK_POOLS__WEB__WORKERS", "3"), ("FOLK_POOLS__WEB__ENV__APP_ENV", "dev")];
    let config = load(toml, &env, &["pools.Web.env.VERSION=1.10"]).unwrap();
    let pool = pool(&config).unwrap();
    assert_eq!(pool.workers, WorkerCount::Fixed(3));
    assert_eq!(pool.env["APP_ENV"].0, "dev");
    assert_eq!(pool.env["VERSION"].0, "1.10");
}
