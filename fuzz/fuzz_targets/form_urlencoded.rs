#![no_main]
//! Any bytes are the fields of a form.

use folk_runtime_php::process::fuzzing::parse_urlencoded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (fields, _ignored) = parse_urlencoded(data, 1000);
    assert!(fields.len() <= 1000);
});
