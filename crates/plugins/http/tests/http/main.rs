//! The plugin as a whole, over real connections, with an application in Rust behind it.

// The lints know that #[test] functions may do this, not that their helpers may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

mod access_log;
mod boot;
mod drain;
mod errors;
mod files;
mod http2;
mod limits;
mod log;
mod requests;
mod responses;
mod timeouts;
