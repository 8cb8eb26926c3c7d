//! Goridge v3 frames: a pure codec, no I/O.
//!
//! Used by the process runtime to speak with workers and by the server's RPC socket. The layout is
//! in `spec/02-worker-protocol.md`.
//!
//! ```text
//! 0        1      2        6        10    11    12          12+4n
//! ┌────────┬──────┬────────┬────────┬─────┬─────┬───────────┬─────────┐
//! │ver│len │flags │length  │crc32   │bits │tag  │n options  │payload  │
//! └────────┴──────┴────────┴────────┴─────┴─────┴───────────┴─────────┘
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Flags of byte 1: what a frame is and how its payload is encoded.
pub mod flags {
    /// Speaks about the session, not the application.
    pub const CONTROL: u8 = 0x01;
    /// Bytes as they are.
    pub const RAW: u8 = 0x04;
    /// JSON.
    pub const JSON: u8 = 0x08;
    /// MessagePack.
    pub const MSGPACK: u8 = 0x10;
    /// Go's gob.
    pub const GOB: u8 = 0x20;
    /// The payload is an error message.
    pub const ERROR: u8 = 0x40;
    /// Protocol buffers.
    pub const PROTO: u8 = 0x80;
}

/// Bits of byte 10: where a frame stands in a stream.
pub mod bits {
    /// More frames of this answer follow.
    pub const STREAM: u8 = 0x01;
    /// Nobody reads the answer any more.
    pub const STOP: u8 = 0x02;
    /// A PONG is wanted.
    pub const PING: u8 = 0x04;
    /// The answer to a PING.
    pub const PONG: u8 = 0x08;
}

/// Where in a head the [tag](Head::tag) stands.
pub const TAG: usize = 11;
/// Length of a header without options, in bytes.
pub const HEADER: usize = 12;
/// The most options a frame may have.
pub const MAX_OPTIONS: usize = 10;

const VERSION: u8 = 1;

/// The head of a frame, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// See [`flags`].
    pub flags: u8,
    /// See [`bits`].
    pub bits: u8,
    /// Byte 11. Goridge leaves it zero; the folk dialect numbers requests with it.
    pub tag: u8,
    /// Length of the payload in bytes.
    pub length: u32,
    options: [u32; MAX_OPTIONS],
    option_count: u8,
}

impl Head {
    /// Its options.
    pub fn options(&self) -> &[u32] {
        &self.options[..usize::from(self.option_count)]
    }

    /// Its length on the wire in bytes, options included and payload not.
    pub fn wire_len(&self) -> usize {
        HEADER + 4 * usize::from(self.option_count)
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Whether all of `bits` are set.
    pub fn has_bits(&self, bits: u8) -> bool {
        self.bits & bits == bits
    }
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its head.
    pub head: Head,
    /// Its payload, [`Head::length`] bytes.
    pub payload: Bytes,
}

impl Frame {
    /// The payload in two parts, where the first option says how long the first part is.
    ///
    /// # Errors
    ///
    /// There is not exactly one option, or it points beyond the payload.
    pub fn split_context(mut self) -> Result<(Bytes, Bytes), FrameError> {
        let &[context] = self.head.options() else {
            return Err(FrameError::Options { expected: 1, found: self.head.options().len() });
        };
        let context = context as usize;
        if context > self.payload.len() {
            return Err(FrameError::ContextLength {
                claimed: context,
                payload: self.payload.len(),
            });
        }
        let body = self.payload.split_off(context);
        Ok((self.payload, body))
    }
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// They do not begin like one; usually something printed to the wrong stream.
    #[error("not a frame, but {sample:?}")]
    NotAFrame {
        /// How they begin, made printable.
        sample: String,
    },
    /// The checksum of the head is wrong.
    #[error("checksum of the frame's head is wrong; it begins {sample:?}")]
    Checksum {
        /// How they begin, made printable.
        sample: String,
    },
    /// The payload would be larger than the limit.
    #[error("a frame of {claimed} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The length it claims, in bytes.
        claimed: u32,
        /// The limit, in bytes.
        limit: u32,
    },
    /// The number of options is not what it must be here.
    #[error("a frame with {found} options where {expected} belong")]
    Options {
        /// How many belong here.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The context would be longer than the payload.
    #[error("a context of {claimed} bytes in a payload of {payload}")]
    ContextLength {
        /// The length the option claims, in bytes.
        claimed: usize,
        /// The payload's length, in bytes.
        payload: usize,
    },
}

/// The head at the beginning of `bytes`; `None` while it is not all there.
///
/// # Errors
///
/// The bytes are no frame of this version, or it claims more than `limit` bytes of payload. Found
/// as early as the bytes allow.
pub fn decode_head(bytes: &[u8], limit: u32) -> Result<Option<Head>, FrameError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let words = usize::from(first & 0x0f);
    if first >> 4 != VERSION || !(3..=3 + MAX_OPTIONS).contains(&words) {
        return Err(FrameError::NotAFrame { sample: sample(bytes) });
    }
    let Some(fixed) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let checksum = u32::from_le_bytes([fixed[6], fixed[7], fixed[8], fixed[9]]);
    if crc32fast::hash(&fixed[..6]) != checksum {
        return Err(FrameError::Checksum { sample: sample(bytes) });
    }
    let length = u32::from_le_bytes([fixed[2], fixed[3], fixed[4], fixed[5]]);
    if length > limit {
        return Err(FrameError::TooLarge { claimed: length, limit });
    }
    let Some(mut rest) = bytes.get(HEADER..4 * words) else { return Ok(None) };
    let mut options = [0; MAX_OPTIONS];
    for option in &mut options[..words - 3] {
        *option = rest.get_u32_le();
    }
    Ok(Some(Head {
        flags: fixed[1],
        bits: fixed[10],
        tag: fixed[11],
        length,
        options,
        option_count: (words - 3) as u8,
    }))
}

/// Takes the frame at the beginning of `buffer` out of it; `None` while it is not all there.
///
/// # Errors
///
/// As [`decode_head`].
pub fn decode(buffer: &mut BytesMut, limit: u32) -> Result<Option<Frame>, FrameError> {
    let Some(head) = decode_head(buffer, limit)? else { return Ok(None) };
    let total = head.wire_len() + head.length as usize;
    if buffer.len() < total {
        return Ok(None);
    }
    let mut frame = buffer.split_to(total);
    frame.advance(head.wire_len());
    Ok(Some(Frame { head, payload: frame.freeze() }))
}

/// Writes the head of a frame whose payload of `length` bytes follows. Options beyond
/// [`MAX_OPTIONS`] are not written.
pub fn encode_head(buffer: &mut BytesMut, flags: u8, bits: u8, options: &[u32], length: u32) {
    let options = &options[..options.len().min(MAX_OPTIONS)];
    let mut fixed = [0; HEADER];
    fixed[0] = VERSION << 4 | (3 + options.len()) as u8;
    fixed[1] = flags;
    fixed[2..6].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32fast::hash(&fixed[..6]);
    fixed[6..10].copy_from_slice(&checksum.to_le_bytes());
    fixed[10] = bits;
    buffer.reserve(HEADER + 4 * options.len());
    buffer.put_slice(&fixed);
    for option in options {
        buffer.put_u32_le(*option);
    }
}

/// Writes a whole frame. The payload is at most 4 GiB - 1 bytes by the types of its callers.
pub fn encode(buffer: &mut BytesMut, flags: u8, bits: u8, options: &[u32], payload: &[u8]) {
    debug_assert!(u32::try_from(payload.len()).is_ok(), "a frame holds at most 4 GiB");
    encode_head(buffer, flags, bits, options, payload.len() as u32);
    buffer.put_slice(payload);
}

/// The first bytes made printable, to show what was printed to the wrong stream.
fn sample(bytes: &[u8]) -> String {
    const SHOWN: usize = 160;
    let shown = &bytes[..bytes.len().min(SHOWN)];
    String::from_utf8_lossy(shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u32 = 1 << 20;

    fn encoded(flags: u8, bits: u8, options: &[u32], payload: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        encode(&mut buffer, flags, bits, options, payload);
        buffer
    }

    #[test]
    fn writes_the_bytes_that_php_workers_expect() {
        let frame = encoded(flags::CONTROL | flags::JSON, 0, &[], b"{\"stop\":true}");
        assert_eq!(frame[..6], [0x13, 0x09, 13, 0, 0, 0]);
        assert_eq!(frame[6..10], crc32fast::hash(&frame[..6]).to_le_bytes());
        assert_eq!(&frame[12..], b"{\"stop\":true}");
    }

    #[test]
    fn text_printed_to_the_wrong_stream_is_shown_in_the_error() {
        let error = decode_head(b"Could not open input file: x.php", LIMIT).unwrap_err();
        assert!(error.to_string().contains("Could not open input file"), "{error}");
    }

    #[test]
    fn a_frame_that_claims_four_gigabytes_is_refused_before_its_payload() {
        let mut buffer = BytesMut::new();
        encode_head(&mut buffer, flags::RAW, 0, &[0], u32::MAX);
        let expected = FrameError::TooLarge { claimed: u32::MAX, limit: LIMIT };
        assert_eq!(decode_head(&buffer, LIMIT), Err(expected));
    }

    #[test]
    fn a_flipped_bit_in_the_head_is_found_by_the_checksum() {
        let mut frame = encoded(flags::RAW, 0, &[1], b"abc");
        frame[2] ^= 1;
        assert!(matches!(decode_head(&frame, LIMIT), Err(FrameError::Checksum { .. })));
    }

    #[test]
    fn a_context_longer_than_the_payload_is_refused() {
        let mut buffer = encoded(flags::RAW, 0, &[4], b"abc");
        let frame = decode(&mut buffer, LIMIT).unwrap().unwrap();
        assert!(matches!(frame.split_context(), Err(FrameError::ContextLength { .. })));
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read_again(
            flags in any::<u8>(),
            bits in any::<u8>(),
            options in proptest::collection::vec(any::<u32>(), 0..=MAX_OPTIONS),
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut buffer = encoded(flags, bits, &options, &payload);
            buffer.extend_from_slice(b"next");
            let frame = decode(&mut buffer, LIMIT).unwrap().unwrap();
            prop_assert_eq!(frame.head.flags, flags);
            prop_assert_eq!(frame.head.bits, bits);
            prop_assert_eq!(frame.head.options(), &options[..]);
            prop_assert_eq!(&frame.payload[..], &payload[..]);
            prop_assert_eq!(&buffer[..], b"next");
        }

        #[test]
        fn half_a_frame_waits_for_the_rest(payload in proptest::collection::vec(any::<u8>(), 0..50)) {
            let whole = encoded(flags::RAW, 0, &[0, 1], &payload);
            for cut in 0..whole.len() {
                let mut part = BytesMut::from(&whole[..cut]);
                prop_assert_eq!(decode(&mut part, LIMIT), Ok(None));
                prop_assert_eq!(part.len(), cut);
            }
        }

        #[test]
        fn any_bytes_are_a_frame_an_error_or_a_wait(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = decode(&mut buffer, LIMIT) {
                let _parts = frame.split_context();
            }
        }
    }
}
