#![allow(clippy::expect_used, clippy::panic)] // A test tool fails by panicking.
//! Test tools for folk.
//!
//! [`mock`] is a runtime whose workers are stepped by hand; [`conformance`] is the suite every
//! runtime passes.

pub mod conformance;
pub mod mock;
