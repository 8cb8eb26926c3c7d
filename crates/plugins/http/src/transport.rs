//! The socket of one connection, with the waits that a client can cause.
//!
//! It stands between the HTTP library and the socket and does what the library cannot: it tells a
//! connection that is idle from one that sends a head too slowly from one that is busy, cuts a
//! client that does not read, sends 1xx responses, and reads on for a moment after a refusal so
//! that the client gets to see it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::config::Limits;
use crate::shared::Shared;

/// What a client that sends its head too slowly is told.
const HEAD_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The preface of a client that speaks HTTP/2 from the start.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long, and for how many bytes, a client is read from after a refusal.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

/// How long an idle HTTP/2 client has to answer to the farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// The waits that a client can cause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    head: Duration,
    idle: Duration,
    write: Duration,
}

impl From<&Limits> for Waits {
    fn from(limits: &Limits) -> Self {
        Self {
            head: limits.head_timeout.0,
            idle: limits.idle_timeout.0,
            write: limits.write_timeout.0,
        }
    }
}

/// What the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    /// Nothing: it left or was silent for too long.
    None,
}

/// What the next byte of the client would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first of all.
    Fresh,
    /// The first of the next head.
    Idle,
    /// One more of a head.
    Head,
    /// HTTP/2 only: idle for too long and told so.
    Farewell,
    /// Waited for in vain: to the library this is the end of what the client sends.
    Over,
}

/// The socket of one connection.
pub(crate) struct ConnectionIo {
    stream: TcpStream,
    shared: Arc<Shared>,
    waits: Waits,
    protocol: Protocol,
    phase: Phase,
    /// The number of requests at the last look: another one begins a new idle phase.
    seen: u64,
    /// What was read to tell the protocol, until the library has read it.
    prefix: Vec<u8>,
    read_deadline: Option<Instant>,
    write_deadline: Option<Instant>,
    alarm: Alarm,
    /// How much was read after the last response; `None` before the sending side is shut.
    lingered: Option<usize>,
}

impl ConnectionIo {
    pub(crate) fn new(stream: TcpStream, shared: Arc<Shared>, waits: Waits) -> Self {
        Self {
            stream,
            shared,
            waits,
            protocol: Protocol::Http1,
            phase: Phase::Fresh,
            seen: 0,
            prefix: Vec::new(),
            read_deadline: None,
            write_deadline: None,
            alarm: Alarm::default(),
            lingered: None,
        }
    }

    /// Reads until it is clear what the client speaks.
    pub(crate) async fn detect(&mut self) -> Protocol {
        self.protocol = std::future::poll_fn(|cx| self.poll_detect(cx)).await;
        self.protocol
    }

    fn poll_detect(&mut self, cx: &mut Context<'_>) -> Poll<Protocol> {
        loop {
            if let Some(protocol) = tell_protocol(&self.prefix) {
                return Poll::Ready(protocol);
            }
            if self.shared.is_draining() {
                return Poll::Ready(Protocol::None);
            }
            let mut space = [0; 1024];
            let mut buf = ReadBuf::new(&mut space);
            if ready!(self.poll_receive(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(Protocol::None);
            }
            self.prefix.extend_from_slice(buf.filled());
        }
    }

    /// Reads from the socket, for as long as the phase allows.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.phase == Phase::Over {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                self.received(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_silence(cx),
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        if self.protocol == Protocol::Http2 || self.shared.is_busy() || bytes.is_empty() {
            return;
        }
        if self.phase == Phase::Head && self.seen == self.shared.begun() {
            self.shared.head().push(bytes);
        } else {
            self.seen = self.shared.begun();
            self.phase = Phase::Head;
            self.read_deadline = None;
            self.shared.head().start(bytes);
        }
    }

    /// Nothing came: is that still in order?
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.is_busy() {
            self.read_deadline = None;
            return Poll::Pending;
        }
        if self.seen != self.shared.begun() {
            self.seen = self.shared.begun();
            self.phase = Phase::Idle;
            self.read_deadline = None;
        }
        let allowance = match self.phase {
            Phase::Fresh => self.waits.head.min(self.waits.idle),
            Phase::Head => self.waits.head,
            Phase::Idle => self.waits.idle,
            Phase::Farewell => FAREWELL,
            Phase::Over => return Poll::Ready(Ok(())),
        };
        let deadline = *self.read_deadline.get_or_insert_with(|| Instant::now() + allowance);
        ready!(self.alarm.poll(cx, deadline));
        self.silent_for_too_long(cx)
    }

    /// Starts the wait for the next request once the last one is answered. The library need not try
    /// to read then: it knows from its last attempt that nothing is there.
    fn watch_idle(&mut self, cx: &mut Context<'_>) {
        if self.seen != self.shared.begun() && !self.shared.is_busy() {
            // It has only just begun, so it is not over.
            let _pending = self.poll_silence(cx);
        }
    }

    fn silent_for_too_long(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.protocol == Protocol::Http2 && self.phase != Phase::Farewell {
            self.phase = Phase::Farewell;
            self.read_deadline = None;
            self.shared.drain();
            return self.poll_silence(cx);
        }
        if self.phase == Phase::Head && self.protocol == Protocol::Http1 {
            tracing::debug!("a client sent its request too slowly");
            // As much as fits: nobody is waited for here any more.
            let _best_effort = self.stream.try_write(HEAD_TIMEOUT);
        }
        self.phase = Phase::Over;
        Poll::Ready(Ok(()))
    }

    /// Bounds the wait for a client that does not read.
    fn poll_unwritten<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let wait = self.waits.write;
        let deadline = *self.write_deadline.get_or_insert_with(|| Instant::now() + wait);
        ready!(self.alarm.poll(cx, deadline));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }

    /// Whether the client may still be sending what nobody reads. Closing then would make the
    /// system reset the connection, and the client would lose the answer that tells it why.
    fn must_linger(&self) -> bool {
        self.shared.has_unread() || self.phase == Phase::Head && self.seen == self.shared.begun()
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.read_deadline.get_or_insert_with(|| Instant::now() + LINGER);
        let mut read = self.lingered.unwrap_or(0);
        let mut space = [0; 4096];
        while read < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => read += buf.filled().len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.lingered = Some(read);
                    return self.alarm.poll(cx, deadline);
                }
            }
        }
        Poll::Ready(())
    }
}

/// What a client speaks that begins with these bytes, once that is clear.
fn tell_protocol(start: &[u8]) -> Option<Protocol> {
    let compared = start.len().min(HTTP2_PREFACE.len());
    if start[..compared] != HTTP2_PREFACE[..compared] {
        return Some(Protocol::Http1);
    }
    (compared == HTTP2_PREFACE.len()).then_some(Protocol::Http2)
}

impl AsyncRead for ConnectionIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return self.poll_receive(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..count]);
        if count == self.prefix.len() {
            self.prefix = Vec::new();
        } else {
            self.prefix.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ConnectionIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                self.write_deadline = None;
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_unwritten(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, parts) {
            Poll::Ready(written) => {
                self.write_deadline = None;
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_unwritten(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when the library has nothing left to send, so this is where 1xx responses fit in.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shared.interim.is_pending() {
            self.watch_idle(cx);
            return Poll::Ready(Ok(()));
        }
        let shared = Arc::clone(&self.shared);
        shared.interim.poll_send(cx, |cx, bytes| self.as_mut().poll_write(cx, bytes))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingered.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.must_linger() {
                return Poll::Ready(Ok(()));
            }
            self.lingered = Some(0);
            self.read_deadline = None;
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_http2_from_http1_by_the_first_byte_that_differs() {
        assert_eq!(tell_protocol(b""), None);
        assert_eq!(tell_protocol(b"PRI * HT"), None);
        assert_eq!(tell_protocol(b"PRI"), None);
        assert_eq!(tell_protocol(b"POST"), Some(Protocol::Http1));
        assert_eq!(tell_protocol(b"GET / HTTP/1.1\r\n"), Some(Protocol::Http1));
        assert_eq!(tell_protocol(HTTP2_PREFACE), Some(Protocol::Http2));
        assert_eq!(tell_protocol(&[HTTP2_PREFACE, b"more"].concat()), Some(Protocol::Http2));
    }
}
