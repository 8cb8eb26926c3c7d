//! Why a worker left its slot.

use serde::Serialize;

/// Why a worker left its slot. Every variant has its own handling in the supervisor and its own
/// `reason` in `folk_pool_workers_gone_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It served `max_jobs` requests.
    MaxJobs,
    /// It is as old as `ttl`.
    Ttl,
    /// It was idle for `idle_ttl`.
    IdleTtl,
    /// It holds more than `max_memory`.
    MaxMemory,
    /// A new generation takes over.
    Reload,
    /// It asked to be replaced.
    Asked,
    /// An operator asked for it.
    Operator,
    /// Its request ran into its deadline.
    Timeout,
    /// The caller of its request left, and the pool cancels then.
    Cancelled,
    /// It died on its own.
    Died,
    /// It broke the protocol.
    Protocol,
    /// Its runtime panicked or failed.
    Runtime,
    /// The server ends.
    Shutdown,
}

impl Reason {
    /// All of them, for metrics.
    pub const ALL: [Self; 13] = [
        Self::MaxJobs,
        Self::Ttl,
        Self::IdleTtl,
        Self::MaxMemory,
        Self::Reload,
        Self::Asked,
        Self::Operator,
        Self::Timeout,
        Self::Cancelled,
        Self::Died,
        Self::Protocol,
        Self::Runtime,
        Self::Shutdown,
    ];

    /// The word for it in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::MaxJobs => "max_jobs",
            Self::Ttl => "ttl",
            Self::IdleTtl => "idle_ttl",
            Self::MaxMemory => "max_memory",
            Self::Reload => "reload",
            Self::Asked => "asked",
            Self::Operator => "operator",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Died => "died",
            Self::Protocol => "protocol",
            Self::Runtime => "runtime",
            Self::Shutdown => "shutdown",
        }
    }
}
