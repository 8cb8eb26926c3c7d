//! The conformance suite, with the application written with folk/sdk and with one that knows
//! nothing of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

use std::path::{Path, PathBuf};

use folk_runtime_php::process::{ProcessRuntime, ProcessSettings, Relay, php_command};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn runtime(script: &Path, relay: Relay) -> ProcessRuntime {
    let mut settings = ProcessSettings::new(php_command("php", script), root());
    let autoload = root().join("php/autoload.php").to_string_lossy().into_owned();
    settings.env.insert("FOLK_AUTOLOAD".into(), autoload);
    settings.relay = relay;
    ProcessRuntime::new(settings).unwrap()
}

fn sdk(relay: Relay) -> ProcessRuntime {
    runtime(&root().join("crates/testkit/php/conformance.php"), relay)
}

fn fixture(relay: Relay) -> ProcessRuntime {
    runtime(&root().join("crates/runtime-php/tests/fixtures/folk.php"), relay)
}

mod sdk_on_a_socket {
    folk_testkit::conformance_tests!(|| super::sdk(super::Relay::UnixSocket));
}

mod sdk_on_pipes {
    folk_testkit::conformance_tests!(|| super::sdk(super::Relay::Pipes));
}

mod fixture_on_a_socket {
    folk_testkit::conformance_tests!(|| super::fixture(super::Relay::UnixSocket));
}
