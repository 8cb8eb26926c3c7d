//! A slot: a numbered place for one worker, with its supervisor.
//!
//! `state` decides, `supervisor` acts. The supervisor is the only one who holds the worker.

pub(crate) mod action;
pub(crate) mod backoff;
mod boot;
pub(crate) mod command;
pub(crate) mod contain;
pub(crate) mod control;
mod desk;
pub(crate) mod exit;
mod farewell;
pub(crate) mod recycle;
#[cfg(test)]
mod simulation;
pub(crate) mod state;
#[cfg(test)]
mod state_tests;
pub(crate) mod status;
pub(crate) mod supervisor;

pub use exit::Reason;
pub use state::SlotState;
pub use status::SlotInfo;
