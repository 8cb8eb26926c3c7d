//! Stories: the real binary, the stock `php`, a project on disk, a client. Each test is one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a story that goes wrong says so by ending"
)]

mod support;

mod bad_client;
mod bad_worker;
mod boot;
mod configuration;
mod crash;
mod descriptors;
mod drain;
mod environment;
mod error_page;
mod header;
mod hello;
mod log_reader;
mod pools;
mod recycle;
mod reload;
mod retry;
mod roadrunner;
mod rpc;
mod socket;
mod stream;
mod timeout;
mod upload;
