//! Whether the server's parts are well, asked by whoever balances load on it.

use std::sync::Arc;

use serde::Serialize;

/// How one part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether it can do its work right now.
    pub ready: bool,
    /// What to know about it, in a line.
    pub message: String,
}

impl Health {
    /// All is well.
    pub fn ready() -> Self {
        Self { ready: true, message: "ok".into() }
    }

    /// It cannot work; the text says why.
    pub fn unready(message: impl Into<String>) -> Self {
        Self { ready: false, message: message.into() }
    }
}

/// Answers how a part is, at once and without waiting: checks read state, they do not probe.
pub type HealthCheck = Arc<dyn Fn() -> Health + Send + Sync>;

/// Where parts register their checks, at boot.
pub trait HealthRegistry: Send + Sync {
    /// Registers a check.
    ///
    /// # Errors
    ///
    /// The name is taken.
    fn register(&self, name: &str, check: HealthCheck) -> anyhow::Result<()>;
}
