#![no_main]
//! Any bytes are a multipart form or an error. Uploads find no directory and are not written.

use std::path::Path;

use bytes::Bytes;
use folk_api::Body;
use folk_runtime_php::process::fuzzing::parse_multipart;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let body = Body::full(Bytes::copy_from_slice(data));
    let kind = "multipart/form-data; boundary=B";
    let _form = runtime.block_on(parse_multipart(body, kind, Path::new("/nonexistent")));
});
