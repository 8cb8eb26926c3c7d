//! Message bodies: nothing, bytes, or a stream with backpressure.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is larger than the limit, in bytes.
    #[error("larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Its next part did not come in time.
    #[error("its next part did not come in time")]
    Timeout,
    /// The other side went away in the middle of it.
    #[error("the other side went away in the middle of it")]
    Disconnected,
    /// Whoever produced it failed; the text says how.
    #[error("{0}")]
    Failed(String),
}

type BoxBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

/// A message body. Implements [`http_body::Body`].
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Channel {
        rx: mpsc::Receiver<Part>,
        /// What is still to come, when the length was announced.
        left: Option<u64>,
        done: bool,
    },
    Boxed(BoxBody),
}

enum Part {
    Data(Bytes),
    Fail(BodyError),
    End,
}

impl Body {
    /// A body without content.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A body of known content.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(if bytes.is_empty() { Kind::Empty } else { Kind::Full(bytes) })
    }

    /// Any [`http_body::Body`].
    pub fn boxed<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self(Kind::Boxed(Box::pin(body)))
    }

    /// A body fed by a [`BodySender`], holding at most `capacity` chunks that nobody has read yet.
    /// `length` is its length in bytes, where that is known before.
    pub fn channel(capacity: usize, length: Option<u64>) -> (BodySender, Self) {
        let (tx, rx) = mpsc::channel(capacity.max(1));
        (BodySender { tx, ended: false }, Self(Kind::Channel { rx, left: length, done: false }))
    }

    /// Its content, when all of it is in memory already.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Empty => Some(&[]),
            Kind::Full(bytes) => Some(bytes),
            Kind::Channel { .. } | Kind::Boxed(_) => None,
        }
    }

    /// Whether it is known to have no content.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }

    /// Its next chunk; `None` at its end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let frame =
                std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *self), cx))
                    .await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// All of it, when that is at most `limit` bytes.
    pub async fn collect(mut self, limit: u64) -> Result<Bytes, BodyError> {
        if let Kind::Full(bytes) = self.0 {
            if bytes.len() as u64 > limit {
                return Err(BodyError::TooLarge { limit });
            }
            return Ok(bytes);
        }
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await {
            let chunk = chunk?;
            if (all.len() + chunk.len()) as u64 > limit {
                return Err(BodyError::TooLarge { limit });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Channel { done: true, .. } => Poll::Ready(None),
            Kind::Channel { rx, left, done } => {
                Poll::Ready(match std::task::ready!(rx.poll_recv(cx)) {
                    Some(Part::Data(data)) => {
                        if let Some(left) = left {
                            *left = left.saturating_sub(data.len() as u64);
                        }
                        Some(Ok(Frame::data(data)))
                    }
                    Some(Part::End) => {
                        *done = true;
                        None
                    }
                    Some(Part::Fail(error)) => {
                        *done = true;
                        Some(Err(error))
                    }
                    None => {
                        *done = true;
                        Some(Err(BodyError::Disconnected))
                    }
                })
            }
            Kind::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Channel { done, .. } => *done,
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Channel { left: Some(left), .. } => SizeHint::with_exact(*left),
            Kind::Channel { left: None, .. } => SizeHint::default(),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::full(text)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Empty => f.write_str("Body(empty)"),
            Kind::Full(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Channel { .. } | Kind::Boxed(_) => f.write_str("Body(stream)"),
        }
    }
}

/// Feeds a [`Body`] made with [`Body::channel`].
///
/// Dropping it without [`finish`](Self::finish) makes the body fail with
/// [`BodyError::Disconnected`], so that a producer that dies is never mistaken for one that is done.
#[derive(Debug)]
pub struct BodySender {
    tx: mpsc::Sender<Part>,
    ended: bool,
}

/// Nobody reads the body any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the body any more")]
pub struct ReaderGone;

impl BodySender {
    /// Hands over a chunk; waits while the reader is behind.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), ReaderGone> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.tx.send(Part::Data(chunk)).await.map_err(|_| ReaderGone)
    }

    /// Says that the body is complete.
    pub async fn finish(mut self) -> Result<(), ReaderGone> {
        self.ended = true;
        self.tx.send(Part::End).await.map_err(|_| ReaderGone)
    }

    /// Says that the body will never be complete; the connection it goes out on is cut.
    pub async fn fail(mut self, error: BodyError) {
        self.ended = true;
        // Nobody being left to tell is fine: it was to be cut anyway.
        let _gone = self.tx.send(Part::Fail(error)).await;
    }

    /// Waits until nobody reads the body any more.
    pub async fn closed(&self) {
        self.tx.closed().await;
    }

    /// Whether nobody reads the body any more.
    pub fn is_closed(&self) -> bool {
        self.tx.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sender_dropped_before_the_end_makes_the_body_fail() {
        let (mut tx, mut body) = Body::channel(2, None);
        tx.send(Bytes::from_static(b"half")).await.unwrap();
        drop(tx);
        assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"half"))));
        assert_eq!(body.next().await, Some(Err(BodyError::Disconnected)));
        assert_eq!(body.next().await, None);
    }

    #[tokio::test]
    async fn a_finished_body_ends_without_error() {
        let (mut tx, body) = Body::channel(2, Some(4));
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(4));
        tx.send(Bytes::from_static(b"full")).await.unwrap();
        tx.finish().await.unwrap();
        assert_eq!(body.collect(4).await, Ok(Bytes::from_static(b"full")));
    }

    #[tokio::test]
    async fn collecting_more_than_the_limit_is_refused() {
        let body = Body::full("12345");
        assert_eq!(body.collect(4).await, Err(BodyError::TooLarge { limit: 4 }));
    }
}
