//! `folk check`: everything that is wrong with the configuration, at once.

use std::io::Write;

use folk_api::config::{Fault, Faults};
use folk_runtime_php::process;
use serde_json::json;

use crate::cli::CheckOptions;
use crate::exit_code::Failure;
use crate::settings::{self, Settings};
use crate::wiring;

/// Reads the configuration and looks for what it names; starts nothing.
pub(crate) fn check(command: &CheckOptions) -> Result<(), Failure> {
    let checked = settings::load(&command.options).and_then(|settings| {
        look_for_php(&settings).map_err(|faults| settings.config.locate(faults))
    });
    if command.json {
        print(&as_json(checked.as_ref().err()));
        return match checked {
            Ok(()) => Ok(()),
            Err(faults) => Err(Failure::Config(faults)),
        };
    }
    checked?;
    print(&format!("{} is fine", command.options.config.display()));
    Ok(())
}

/// What each pool would start: is there such a PHP, and such a script?
fn look_for_php(settings: &Settings) -> Result<(), Faults> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Err(Fault::new(["server"], error.to_string()).into()),
    };
    let mut faults = Faults::default();
    for (name, section) in &settings.pools {
        let process = wiring::process_settings(section, settings.config.base(), None, None);
        if let Err(error) = runtime.block_on(process::check(&process)) {
            let key = if section.command.is_some() { "command" } else { "script" };
            faults.push(Fault::new(["pools", name.as_str(), key], error.message));
        }
    }
    // A `php` that hangs is not waited for any longer.
    runtime.shutdown_background();
    faults.or_ok(())
}

fn as_json(faults: Option<&Faults>) -> String {
    let faults = faults.map(|faults| faults.0.as_slice()).unwrap_or_default();
    let list: Vec<_> = faults
        .iter()
        .map(|fault| {
            json!({
                "key": fault.path.join("."),
                "message": fault.message,
                "location": fault.location,
            })
        })
        .collect();
    json!({ "ok": list.is_empty(), "faults": list }).to_string()
}

fn print(text: &str) {
    // The exit code says it as well, should nobody be left to read.
    let _unread = writeln!(std::io::stdout(), "{text}");
}
