#![no_main]
//! Any bytes are the head of an answer or an error, in every encoding.

use bytes::Bytes;
use folk_runtime_php::process::fuzzing::{Encoding, parse_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let context = Bytes::copy_from_slice(data);
    for encoding in [Encoding::Php, Encoding::Proto, Encoding::Json] {
        let _head = parse_head(encoding, &context);
    }
});
