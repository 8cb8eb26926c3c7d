//! Which plugins and runtimes this build has, and how a pool's section becomes a runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use folk_api::config::{Fault, Section};
use folk_api::plugin::Plugin;
use folk_api::{BootError, Runtime};
use folk_core::config::pool::{Boot, Codec, Mode, PoolSection, Relay, RuntimeKind};
use folk_plugin_http::HttpPlugin;
use folk_runtime_php::process::{self, ProcessRuntime, ProcessSettings, php_command};

use crate::worker_exec;

/// All plugins of this build, in the order they boot.
pub(crate) fn plugins() -> Vec<Box<dyn Plugin>> {
    vec![Box::new(HttpPlugin::new())]
}

/// What a pool's section asks for that this build does not have.
pub(crate) fn unavailable(section: &Section, pool: &PoolSection) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |key: &str, message: &str| faults.push(section.fault(key, message));
    if pool.runtime == RuntimeKind::Embed {
        fault("runtime", "this build has no embedded PHP; write \"process\" or \"auto\"");
    }
    if pool.mode == Mode::Classic {
        fault("mode", "classic needs embedded PHP, which this build does not have");
    }
    if pool.boot == Boot::Cold && pool.runtime != RuntimeKind::Embed {
        fault("boot", "is for embedded PHP only; remove it");
    }
    faults
}

/// The settings of the process runtime for a pool. `open_files` is the limit its workers have.
pub(crate) fn process_settings(
    pool: &PoolSection,
    base: &Path,
    rpc: Option<&Path>,
    open_files: Option<u64>,
) -> ProcessSettings {
    let command = match (&pool.command, &pool.script) {
        (Some(command), _) => command.clone(),
        (None, Some(script)) => php_command(&pool.php, script),
        (None, None) => Vec::new(),
    };
    let mut settings = ProcessSettings::new(command, base);
    settings.env = pool.env.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    settings.relay = match pool.relay {
        Relay::Socket => process::Relay::UnixSocket,
        Relay::Pipes => process::Relay::Pipes,
    };
    settings.codec = match pool.codec {
        Codec::Json => process::Codec::Json,
        Codec::Proto => process::Codec::Proto,
    };
    settings.rpc = rpc.map(PathBuf::from);
    if let Some(directory) = &pool.upload_dir {
        settings.upload_dir = base.join(directory);
    }
    settings.launcher = launcher(open_files);
    settings
}

/// The runtime of a pool.
///
/// # Errors
///
/// It cannot make workers; the message says why and what to do.
pub(crate) fn runtime(settings: ProcessSettings) -> Result<Arc<dyn Runtime>, BootError> {
    Ok(Arc::new(ProcessRuntime::new(settings)?))
}

/// What stands between the server and a worker, so that no worker outlives the server.
fn launcher(open_files: Option<u64>) -> Option<Vec<String>> {
    let program = std::env::current_exe().ok()?.into_os_string().into_string().ok()?;
    let open_files = open_files.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
    let server = std::process::id().to_string();
    Some(vec![program, worker_exec::COMMAND.to_owned(), server, open_files])
}
