//! The bytes of the latest head as they came.
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is how requests are smuggled past
//! a proxy. The HTTP library takes one of the two and hides the other, so a copy of the head is
//! kept to look at when a request claims to be chunked.

/// The bytes of the latest head, from the first one after the connection fell idle.
#[derive(Debug, Default)]
pub(crate) struct HeadCopy(Vec<u8>);

/// More than this is given back when the next head begins: idle connections stay small.
const KEPT: usize = 1024;

/// No head that gets through is longer.
const LONGEST: usize = 256 << 10;

impl HeadCopy {
    /// A head begins with these bytes.
    pub(crate) fn start(&mut self, bytes: &[u8]) {
        self.0.clear();
        self.0.shrink_to(KEPT);
        self.push(bytes);
    }

    /// It goes on with these.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Whether this is the head of the request with that method and target, and names both a
    /// length and a transfer coding. A request that was sent before the previous one was answered
    /// is not the first in the copy; that one the library treats as chunked, and closes.
    pub(crate) fn has_two_lengths(&self, method: &str) -> bool {
        let mut lines = self.0.split(|byte| *byte == b'\n');
        let is_ours = lines.next().is_some_and(|line| line.starts_with(method.as_bytes()));
        let (mut length, mut coding) = (false, false);
        for line in lines {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                break;
            }
            let name = line.split(|byte| *byte == b':').next().unwrap_or(line).trim_ascii();
            length |= name.eq_ignore_ascii_case(b"content-length");
            coding |= name.eq_ignore_ascii_case(b"transfer-encoding");
        }
        is_ours && length && coding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(head: &str) -> HeadCopy {
        let mut copy = HeadCopy::default();
        copy.start(head.as_bytes());
        copy
    }

    #[test]
    fn finds_two_lengths_in_either_order_and_any_case() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 3\r\n\r\n",
            "POST / HTTP/1.1\nContent-Length: 3\nTransfer-Encoding: chunked\n\n",
        ] {
            assert!(copy(head).has_two_lengths("POST"), "{head:?}");
        }
    }

    #[test]
    fn does_not_mistake_a_body_for_a_head() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                    10\r\nContent-Length: 3\r\n0\r\n\r\n";
        assert!(!copy(head).has_two_lengths("POST"));
        assert!(!copy("GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n").has_two_lengths("GET"));
    }

    #[test]
    fn a_head_that_came_in_parts_is_looked_at_whole() {
        let mut parts = copy("POST / HTTP/1.1\r\nContent-Len");
        parts.push(b"gth: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(parts.has_two_lengths("POST"));
    }
}
