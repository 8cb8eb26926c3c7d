//! 1xx responses ahead of the final one, such as 103 Early Hints.
//!
//! The HTTP library cannot send them, so they are written beneath it: [`Sink`] puts the bytes into
//! the connection's [`Interim`], and the transport sends them when the library has nothing of its
//! own left to send. Only HTTP/1.1 requests have a sink: HTTP/1.0 clients do not know 1xx, and in
//! HTTP/2 the bytes would need frames that only the library can make.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use folk_api::request::InterimSink;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};

use crate::shared::Shared;

/// What may wait for the client at a time, in bytes. Hints beyond it are dropped: they are hints.
const LIMIT: usize = 64 << 10;

/// The interim responses of one connection that are not sent yet.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    /// Whether `bytes` holds any, so that the common case takes no lock.
    pending: AtomicBool,
    /// The request whose responses are taken; 0 is none. Changed under the lock of `bytes` when it
    /// is closed, so that nothing slips in behind the final response.
    open: AtomicU64,
    bytes: Mutex<Vec<u8>>,
}

impl Interim {
    /// From now on responses of this request are taken.
    pub(crate) fn open(&self, request: u64) {
        self.open.store(request, Ordering::Release);
    }

    /// From now on none are taken.
    pub(crate) fn close(&self) {
        let _bytes = self.lock();
        self.open.store(0, Ordering::Release);
    }

    /// Whether everything taken is with the client. The task is woken by the transport.
    pub(crate) fn poll_sent(&self) -> Poll<()> {
        if self.is_pending() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Whether anything waits.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Hands what waits to `write`, which says how many bytes went out.
    pub(crate) fn poll_send<E>(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&mut Context<'_>, &[u8]) -> Poll<Result<usize, E>>,
    ) -> Poll<Result<(), E>> {
        let mut bytes = self.lock();
        while !bytes.is_empty() {
            let written = std::task::ready!(write(cx, &bytes))?;
            bytes.drain(..written);
        }
        self.pending.store(false, Ordering::Release);
        // Whoever holds the final response back for this is a part of the same task.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    fn put(&self, request: u64, response: &[u8]) -> bool {
        let mut bytes = self.lock();
        let taken =
            self.open.load(Ordering::Acquire) == request && bytes.len() + response.len() <= LIMIT;
        if taken {
            bytes.extend_from_slice(response);
            self.pending.store(true, Ordering::Release);
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one request's interim responses go. Deaf once its final response was handed over.
#[derive(Debug)]
pub(crate) struct Sink {
    shared: Arc<Shared>,
    request: u64,
}

impl Sink {
    /// A sink for this request, out of the one of the request before where nobody holds it any
    /// more.
    pub(crate) fn renew(
        kept: &mut Option<Arc<Self>>,
        shared: &Arc<Shared>,
        request: u64,
    ) -> Arc<Self> {
        shared.interim.open(request);
        if let Some(sink) = kept
            && let Some(unused) = Arc::get_mut(sink)
        {
            unused.request = request;
            return Arc::clone(sink);
        }
        Arc::clone(kept.insert(Arc::new(Self { shared: Arc::clone(shared), request })))
    }
}

impl InterimSink for Sink {
    fn send(&self, status: StatusCode, headers: &HeaderMap) {
        if !(102..=199).contains(&status.as_u16()) {
            return;
        }
        if self.shared.interim.put(self.request, &encode(status, headers)) {
            self.shared.wake();
        }
    }
}

/// The response on the wire. Header values cannot hold line breaks, so it is one response.
fn encode(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("Informational").as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        if matches!(*name, CONNECTION | CONTENT_LENGTH | TRANSFER_ENCODING) {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::LINK;

    fn hints() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(LINK, HeaderValue::from_static("</a.css>; rel=preload"));
        headers.append(LINK, HeaderValue::from_bytes(b"</\xff.js>").unwrap());
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        headers
    }

    #[test]
    fn an_interim_response_has_no_body_and_keeps_its_bytes() {
        assert_eq!(
            encode(StatusCode::EARLY_HINTS, &hints()),
            b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </\xff.js>\r\n\r\n"
        );
    }

    #[test]
    fn a_hint_of_a_request_that_is_over_reaches_nobody() {
        let shared = Shared::new();
        let mut kept = None;
        let first = Sink::renew(&mut kept, &shared, 1);
        shared.interim.close();
        first.send(StatusCode::EARLY_HINTS, &hints());
        assert!(shared.interim.poll_sent().is_ready());

        let second = Sink::renew(&mut kept, &shared, 2);
        first.send(StatusCode::EARLY_HINTS, &hints());
        assert!(shared.interim.poll_sent().is_ready(), "the first request is over");
        second.send(StatusCode::EARLY_HINTS, &hints());
        assert!(shared.interim.poll_sent().is_pending());
    }

    #[test]
    fn statuses_that_belong_to_the_server_are_not_sent() {
        let shared = Shared::new();
        let sink = Sink::renew(&mut None, &shared, 1);
        for status in [100, 101, 200, 404] {
            sink.send(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        }
        assert!(shared.interim.poll_sent().is_ready());
    }

    #[test]
    fn hints_that_nobody_reads_are_bounded() {
        let shared = Shared::new();
        let sink = Sink::renew(&mut None, &shared, 1);
        for _ in 0..10_000 {
            sink.send(StatusCode::EARLY_HINTS, &hints());
        }
        assert!(shared.interim.lock().len() <= LIMIT);
    }

    #[test]
    fn a_sink_that_nobody_holds_is_used_again() {
        let shared = Shared::new();
        let mut kept = None;
        let first = Arc::as_ptr(&Sink::renew(&mut kept, &shared, 1));
        assert_eq!(first, Arc::as_ptr(&Sink::renew(&mut kept, &shared, 2)));
    }
}
