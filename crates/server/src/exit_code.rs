//! Exit codes, for scripts and service managers. Documented in `spec/06-rpc-and-cli.md`.

use folk_api::config::Faults;
use folk_core::app::AppError;

/// All is well.
pub(crate) const OK: u8 = 0;
/// Something failed that has no code of its own.
pub(crate) const FAILURE: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// The configuration is wrong. As in `sysexits.h`: EX_CONFIG.
pub(crate) const CONFIG: u8 = 78;
/// No worker of a pool could be booted. EX_SOFTWARE.
pub(crate) const BOOT: u8 = 70;
/// Something the server needs is not to be had: a port in use, a directory it may not write.
/// EX_UNAVAILABLE.
pub(crate) const UNAVAILABLE: u8 = 69;
/// The grace for running requests ended before they did, and they were cut.
pub(crate) const CUT: u8 = 75;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    #[error("{}", faults(.0))]
    Config(Faults),
    /// The server did not start, or ended by itself.
    #[error(transparent)]
    App(#[from] AppError),
    /// Running requests were cut.
    #[error("requests were still running when the shutdown grace ended, and were cut")]
    Cut,
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::Config(faults)
    }
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Config(_) => CONFIG,
            Self::App(AppError::Boot { .. }) => BOOT,
            Self::App(AppError::Start(_)) => UNAVAILABLE,
            Self::App(AppError::Plugin { .. }) | Self::Other(_) => FAILURE,
            Self::Cut => CUT,
        }
    }
}

fn faults(faults: &Faults) -> String {
    let count = faults.0.len();
    let what = if count == 1 { "is 1 fault" } else { "are several faults" };
    let list: Vec<_> = faults.0.iter().map(|fault| format!("  {fault}")).collect();
    format!("there {what} in the configuration\n{}", list.join("\n"))
}
