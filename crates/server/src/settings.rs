//! The configuration, read by all who own a part of it, with every fault found at once.

use std::collections::BTreeMap;

use folk_api::config::{Fault, Faults};
use folk_api::plugin::{ConfigureContext, Plugin};
use folk_core::config::log::LogSection;
use folk_core::config::pool::PoolSection;
use folk_core::config::server::ServerSection;
use folk_core::config::tools::{AdminSection, DevSection};
use folk_core::config::{Config, Sources};

use crate::cli::Options;
use crate::{logging, wiring};

/// Sections that are no plugin's.
const OWN: [&str; 5] = ["log", "server", "admin", "pools", "dev"];

/// Sections of the configuration format whose plugins this build does not have.
const ABSENT: [&str; 5] = ["metrics", "websocket", "queue", "parallite", "plugins"];

/// Everything the configuration says.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) log: LogSection,
    pub(crate) server: ServerSection,
    pub(crate) pools: BTreeMap<String, PoolSection>,
    /// Those whose section is present, configured.
    pub(crate) plugins: Vec<Box<dyn Plugin>>,
}

/// Reads all sources of the configuration and all of its sections.
pub(crate) fn load(options: &Options) -> Result<Settings, Faults> {
    let (config, mut faults) = Config::load_partly(&Sources {
        file: options.config.clone(),
        env: std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        overrides: options.set.clone(),
    });
    if config.is_unread() {
        // Whatever else could be said would follow from that alone.
        return Err(config.locate(faults));
    }
    let mut plugins = wiring::plugins();
    let known: Vec<_> = OWN.into_iter().chain(plugins.iter().map(|plugin| plugin.name())).collect();
    keep(&mut faults, config.refuse_unknown(&known, &ABSENT));

    let log: LogSection = read(&mut faults, &config, "log");
    if let Err(fault) = logging::filter(&log.level) {
        faults.push(fault);
    }
    let server: ServerSection = read(&mut faults, &config, "server");
    if server.threads > MOST_THREADS {
        faults.push(Fault::new(["server", "threads"], format!("is more than {MOST_THREADS}")));
    }
    let _admin: AdminSection = read(&mut faults, &config, "admin");
    let _dev: DevSection = read(&mut faults, &config, "dev");

    let named = keep(&mut faults, config.subsections("pools")).unwrap_or_default();
    if named.is_empty() {
        faults.push(Fault::new(["pools"], "there is no pool; add a section [pools.default]"));
    }
    let names: Vec<_> = named.iter().map(|(name, _)| name.clone()).collect();
    let mut pools = BTreeMap::new();
    for (name, section) in named {
        if let Some(read) = keep(&mut faults, PoolSection::read(&section)) {
            for fault in wiring::unavailable(&section, &read) {
                faults.push(fault);
            }
            pools.insert(name, read);
        }
    }

    plugins.retain(|plugin| config.has(plugin.name()));
    if plugins.is_empty() {
        faults.push(Fault::new(["http"], "nothing would listen; add a section [http]"));
    }
    for plugin in &mut plugins {
        if let Some(section) = keep(&mut faults, config.section(plugin.name())) {
            let cx = ConfigureContext { section, pools: names.clone() };
            keep(&mut faults, configure(plugin.as_mut(), &cx));
        }
    }
    match faults.or_ok(()) {
        Ok(()) => Ok(Settings { config, log, server, pools, plugins }),
        Err(faults) => Err(config.locate(faults)),
    }
}

/// Configures a plugin; a panic of it is a fault of its section.
fn configure(plugin: &mut dyn Plugin, cx: &ConfigureContext) -> Result<(), Faults> {
    let name = plugin.name();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| plugin.configure(cx)))
        .unwrap_or_else(|_| Err(Fault::new([name], "the plugin panicked over its section").into()))
}

/// More threads than any machine has cores: a typing error should not take all its memory.
const MOST_THREADS: usize = 1024;

/// A section; its defaults where it does not read, so that the others can be looked at.
fn read<T: serde::de::DeserializeOwned + Default>(
    faults: &mut Faults,
    config: &Config,
    name: &str,
) -> T {
    keep(faults, config.section(name).and_then(|section| section.read())).unwrap_or_default()
}

/// What was read; or nothing, and its faults with the others.
fn keep<T>(faults: &mut Faults, read: Result<T, Faults>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(more) => {
            faults.0.extend(more.0);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `toml` blocks of the page that documents the configuration.
    fn documented() -> Vec<String> {
        let page = include_str!("../../../spec/05-configuration.md");
        let block = |part: &str| part.split("```").next().unwrap_or_default().to_owned();
        page.split("```toml\n").skip(1).map(block).collect()
    }

    fn load_text(toml: &str) -> Result<Settings, Faults> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("folk.toml");
        std::fs::write(&config, toml).unwrap();
        load(&Options { config, set: Vec::new() })
    }

    #[test]
    fn everything_that_is_documented_can_be_read() {
        let blocks = documented();
        assert_eq!(blocks.len(), 2);
        for block in blocks {
            if let Err(faults) = load_text(&block) {
                panic!("{faults}\nin\n{block}");
            }
        }
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let documented = load_text(&documented()[0]).unwrap();
        let bare =
            "[http]\n[pools.default]\nscript = \"worker.php\"\nenv = { APP_ENV = \"prod\" }\n";
        let bare = load_text(bare).unwrap();
        assert_eq!(documented.pools, bare.pools);
        assert_eq!(documented.server, bare.server);
        assert_eq!(documented.log, bare.log);
    }

    #[test]
    fn faults_of_all_sections_are_reported_together() {
        let toml = "[log]\nlevel = \"loud\"\n[http]\nlisen = \"x\"\npool = \"defualt\"\n[queue]\n\
                    [pools.default]\nruntime = \"embed\"\nscript = \"w.php\"\n";
        let faults = load_text(toml).err().unwrap().to_string();
        for expected in [
            "folk.toml:2: log.level: ",
            "folk.toml:4: http.lisen: unknown key; did you mean \"listen\"?",
            "folk.toml:6: queue: this build has no such plugin",
            "folk.toml:8: pools.default.runtime: this build has no embedded PHP",
        ] {
            assert!(faults.contains(expected), "{expected:?} is missing in:\n{faults}");
        }
    }

    #[test]
    fn a_configuration_that_would_serve_nobody_is_refused() {
        let faults = load_text("").err().unwrap().to_string();
        assert!(faults.contains("there is no pool; add a section [pools.default]"), "{faults}");
        assert!(faults.contains("nothing would listen; add a section [http]"), "{faults}");
    }

    #[test]
    fn a_variable_that_is_not_set_hides_no_other_fault() {
        let toml = "[http]\nlisten = \"nowhere\"\n[server]\nthreads = 40000\n\
                    [pools.default]\nscript = \"${SCRIPT_THAT_IS_NOT_SET}\"\nttl = \"soon\"\n";
        let faults = load_text(toml).err().unwrap().to_string();
        for key in ["http.listen", "server.threads", "pools.default.script", "pools.default.ttl"] {
            assert!(faults.contains(key), "{key} is missing in:\n{faults}");
        }
    }
}
