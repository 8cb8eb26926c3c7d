//! Ids of requests: what ties an answer to log lines.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use folk_api::RequestId;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// The header an id comes and goes in.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from outside.
const LONGEST: usize = 128;

/// Makes ids: a random prefix of the process and a number, so that two servers or two starts of one
/// do not give the same id, and making one needs no random numbers.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: [u8; PREFIX],
    next: AtomicU64,
}

const PREFIX: usize = 12;
const NUMBER: usize = 10;

impl RequestIds {
    pub(crate) fn new() -> Self {
        let mut prefix = [0; PREFIX];
        write_hex(fastrand::u64(..), &mut prefix);
        Self { prefix, next: AtomicU64::new(1) }
    }

    /// The id of a request: the one it came with, where it came from somebody who is trusted and is
    /// sane, else a new one.
    pub(crate) fn assign(&self, headers: &HeaderMap, trusted: bool) -> (RequestId, HeaderValue) {
        if trusted
            && let Some(given) = headers.get(X_REQUEST_ID).filter(|value| is_sane(value.as_bytes()))
            && let Ok(text) = given.to_str()
        {
            return (RequestId::new(text), given.clone());
        }
        self.make()
    }

    fn make(&self) -> (RequestId, HeaderValue) {
        let mut text = [b'-'; PREFIX + 1 + NUMBER];
        text[..PREFIX].copy_from_slice(&self.prefix);
        write_hex(self.next.fetch_add(1, Ordering::Relaxed), &mut text[PREFIX + 1..]);
        let id = std::str::from_utf8(&text).unwrap_or("-");
        let value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(id.as_bytes()));
        (RequestId::new(id), value.unwrap_or_else(|_| HeaderValue::from_static("-")))
    }
}

/// The low digits of `number`, as many as fit.
fn write_hex(mut number: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

/// Whether it can stand in a log line as it is.
fn is_sane(id: &[u8]) -> bool {
    !id.is_empty() && id.len() <= LONGEST && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn assign(given: &str, trusted: bool) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(given).unwrap());
        let (id, value) = RequestIds::new().assign(&headers, trusted);
        assert_eq!(id.as_str(), value.to_str().unwrap());
        id.as_str().to_owned()
    }

    #[test]
    fn an_id_is_taken_only_from_who_is_trusted_and_only_when_it_is_sane() {
        assert_eq!(assign("abc-1", true), "abc-1");
        assert_ne!(assign("abc-1", false), "abc-1");
        for bad in ["", "a b", "a\tb", &"x".repeat(LONGEST + 1)] {
            assert_ne!(assign(bad, true), bad);
        }
    }

    #[test]
    fn ids_differ_between_requests_and_between_servers() {
        let (one, other) = (RequestIds::new(), RequestIds::new());
        let mut seen = HashSet::new();
        for ids in [&one, &other] {
            for _ in 0..1000 {
                assert!(seen.insert(ids.make().0.as_str().to_owned()));
            }
        }
    }
}
