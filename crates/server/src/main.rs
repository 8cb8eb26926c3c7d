//! The binary `folk`.

use std::process::ExitCode;

fn main() -> ExitCode {
    folk_server::main()
}
