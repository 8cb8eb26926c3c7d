#![no_main]
//! Any bytes are frames, an error, or the beginning of a frame.

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(frame)) = folk_goridge::decode(&mut buffer, 1 << 20) {
        let options = frame.head.options().to_vec();
        let mut again = BytesMut::new();
        folk_goridge::encode(&mut again, frame.head.flags, frame.head.bits, &options, &frame.payload);
        let read = folk_goridge::decode(&mut again, 1 << 20);
        assert_eq!(read, Ok(Some(frame.clone())), "what is written can be read again");
        let _parts = frame.split_context();
    }
});
