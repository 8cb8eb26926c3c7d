//! The step between the server and a worker process: has the kernel end the worker when the server
//! ends, however it does, and becomes the worker.
//!
//! `folk worker-exec SERVER_PID OPEN_FILES PROGRAM [ARGUMENT…]`. Not for people.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::open_files;

/// The name of the hidden subcommand.
pub(crate) const COMMAND: &str = "worker-exec";

/// As a shell has it: the command was not found, or could not be started.
const NOT_FOUND: u8 = 127;

/// Becomes the program in `arguments`; returns only if that failed.
#[expect(clippy::print_stderr, reason = "the server shows what a worker says on standard error")]
pub(crate) fn exec(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let server = arguments.next().and_then(|pid| pid.to_str()?.parse::<i32>().ok());
    let open_files = arguments.next().and_then(|limit| limit.to_str()?.parse::<u64>().ok());
    let Some(program) = arguments.next() else {
        eprintln!("folk worker-exec is for the server's own use; see folk --help");
        return ExitCode::from(crate::exit_code::USAGE);
    };
    if let Err(error) = tie_to_server(server) {
        eprintln!("{error}");
        return ExitCode::from(crate::exit_code::FAILURE);
    }
    if let Some(limit) = open_files {
        open_files::restore(limit);
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("cannot start {}: {error}", program.display());
    ExitCode::from(NOT_FOUND)
}

/// Asks for SIGKILL when the server ends.
#[cfg(target_os = "linux")]
fn tie_to_server(server: Option<i32>) -> Result<(), String> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("cannot ask for the parent's death signal: {error}"))?;
    // It may have ended before it could be asked.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    if server.is_some() && parent != server {
        return Err("the server that started this worker is gone".to_owned());
    }
    Ok(())
}

/// Other systems have no such signal; there a worker ends when it next reads from the server.
#[cfg(not(target_os = "linux"))]
fn tie_to_server(_server: Option<i32>) -> Result<(), String> {
    Ok(())
}
