//! The folk server: command line, wiring, exit codes. Only this crate sees all others.

mod check;
mod cli;
mod exit_code;
mod logging;
mod open_files;
mod serve;
mod settings;
mod wiring;
mod worker_exec;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit_code::Failure;

/// Reads the command line, does what it says, and tells how it went.
pub fn main() -> ExitCode {
    // Not through clap: it stands between the server and every worker it starts.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == worker_exec::COMMAND) {
        return worker_exec::exec(arguments);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap; printing can only fail on a closed terminal.
            let _closed = error.print();
            let code = if error.use_stderr() { exit_code::USAGE } else { exit_code::OK };
            return ExitCode::from(code);
        }
    };
    let done = match cli.command {
        Command::Serve(options) => serve::serve(&options),
        Command::Check(options) => check::check(&options),
    };
    match done {
        Ok(()) => ExitCode::from(exit_code::OK),
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    // The exit code says it as well, should nobody be left to read.
    let _unread = writeln!(std::io::stderr(), "folk: {failure}");
    ExitCode::from(failure.code())
}
