//! The core of the folk server: pools and slots, the plugin registry, configuration, lifecycle.
//!
//! It knows neither PHP nor HTTP: runtimes and plugins come in through the traits of [`folk_api`].
//! Inside, [`app`] uses [`pool`] uses [`slot`], never upward.

pub mod app;
pub mod config;
pub mod events;
pub mod health;
pub mod lifecycle;
pub mod metrics;
pub mod pool;
pub mod registry;
pub mod rpc;
pub mod slot;
mod socket;

pub use app::App;
pub use pool::{Pool, PoolSettings, Workers};
