//! Log lines to standard error: text for people, JSON for machines.
//!
//! A thread of its own writes them. Whoever reads them may stall, be gone, or have a full disk: lines
//! are lost then, and nothing else is.

use std::io::IsTerminal;

use folk_api::config::Fault;
use folk_core::config::log::{LogFormat, LogSection};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that may wait to be written.
const WAITING: usize = 8192;

/// Starts logging for the rest of the process. What waits to be written when the guard is dropped is
/// written then, if that takes no longer than a moment.
///
/// # Errors
///
/// `log.level` is no level and no list of levels.
pub(crate) fn init(section: &LogSection) -> Result<WorkerGuard, Fault> {
    let filter = filter(&section.level)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("folk-log")
        .finish(std::io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .log_internal_errors(false)
        .with_writer(writer);
    let started = match section.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    // It is started already when this process serves for a second time, as in a test.
    let _started_before = started;
    Ok(guard)
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
