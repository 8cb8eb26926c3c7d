#![no_main]
//! Any bytes are values of PHP's serialization up to a place that is named.

use folk_runtime_php::process::fuzzing::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    while reader.token().is_ok() || reader.end().is_ok() {}
    assert!(reader.malformed().at <= data.len());
});
