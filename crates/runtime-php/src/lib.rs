//! How folk makes PHP workers and speaks with them.
//!
//! [`process`] starts the stock `php` and exchanges Goridge frames with it over a private Unix
//! socket or over pipes.

pub mod process;
