//! `[server]`.

use std::path::PathBuf;
use std::time::Duration;

use folk_api::units::HumanDuration;
use serde::Deserialize;

/// The server as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSection {
    /// How long running requests may take to finish after a signal to stop. Default `30s`.
    pub shutdown_grace: HumanDuration,
    /// The socket on which PHP calls the server; relative to the directory of `folk.toml`. Empty
    /// for none. Default `var/rpc.sock`.
    pub rpc: PathBuf,
    /// Threads of the server itself. 0, the default, is one per core.
    pub threads: usize,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            shutdown_grace: HumanDuration(Duration::from_secs(30)),
            rpc: PathBuf::from("var/rpc.sock"),
            threads: 0,
        }
    }
}
