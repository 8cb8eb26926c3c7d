//! Log lines to standard error: text for people, JSON for machines.

use std::io::IsTerminal;

use folk_api::config::Fault;
use folk_core::config::log::{LogFormat, LogSection};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging for the rest of the process.
///
/// # Errors
///
/// `log.level` is no level and no list of levels.
pub(crate) fn init(section: &LogSection) -> Result<(), Fault> {
    let filter = filter(&section.level)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_writer(std::io::stderr);
    let started = match section.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    // It is started already when this process serves for a second time, as in a test.
    let _started_before = started;
    Ok(())
}

/// Whether `log.level` can be read.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, Fault> {
    let fault = |what: String| {
        let cure =
            "write error, warn, info, debug, trace or off, or per target \"info,target=debug\"";
        Fault::new(["log", "level"], format!("{what}; {cure}"))
    };
    // A lone word that is no level would be taken for the name of a target, silently.
    let words = level.split(',').map(str::trim).filter(|word| !word.contains(['=', ':', '[']));
    for word in words {
        if word.parse::<LevelFilter>().is_err() {
            return Err(fault(format!("{word:?} is no level")));
        }
    }
    EnvFilter::builder().parse(level).map_err(|error| fault(error.to_string()))
}
