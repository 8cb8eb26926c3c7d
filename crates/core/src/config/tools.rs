//! `[admin]` and `[dev]`: read by the commands that use them, checked by all.

use std::path::PathBuf;
use std::time::Duration;

use folk_api::units::HumanDuration;
use serde::Deserialize;

/// How the server is steered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSection {
    /// The socket for it; relative to the directory of `folk.toml`. Default `var/folk.sock`.
    pub socket: PathBuf,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { socket: PathBuf::from("var/folk.sock") }
    }
}

/// What development mode watches.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DevSection {
    /// Directories; relative to that of `folk.toml`. Default `["."]`.
    pub paths: Vec<PathBuf>,
    /// File name extensions. Default `["php"]`.
    pub extensions: Vec<String>,
    /// How long it must have been quiet. Default `100ms`.
    pub debounce: HumanDuration,
}

impl Default for DevSection {
    fn default() -> Self {
        Self {
            paths: vec![PathBuf::from(".")],
            extensions: vec!["php".to_owned()],
            debounce: HumanDuration(Duration::from_millis(100)),
        }
    }
}
