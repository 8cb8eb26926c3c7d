//! Who reads the body of an answer.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use folk_api::{BodyError, BodySender};
use tokio::time::Instant;

/// How long the reader of a broken body gets to make room for the news.
const NEWS_PATIENCE: Duration = Duration::from_millis(100);

/// Who reads the body of an answer.
#[derive(Debug)]
pub(crate) enum Reader {
    /// The head has not come yet.
    Waiting,
    Open(BodySender),
    /// Nobody: the rest is read and dropped.
    Gone,
}

impl Reader {
    /// Hands over a chunk; waits while the reader is behind.
    pub(crate) async fn send(&mut self, chunk: Bytes) {
        if let Self::Open(body) = self
            && body.send(chunk).await.is_err()
        {
            *self = Self::Gone;
        }
    }

    /// The same for as long as `patience` is left. Whether that was long enough.
    pub(crate) async fn send_within(&mut self, chunk: Bytes, patience: &mut Duration) -> bool {
        let Self::Open(body) = self else { return true };
        let began = Instant::now();
        match tokio::time::timeout(*patience, body.send(chunk)).await {
            Ok(Ok(())) => *patience = patience.saturating_sub(began.elapsed()),
            Ok(Err(_gone)) => *self = Self::Gone,
            Err(_behind) => return false,
        }
        true
    }

    /// Whether anybody reads on.
    pub(crate) fn is_there(&self) -> bool {
        matches!(self, Self::Open(body) if !body.is_closed())
    }

    /// Leaves the reader to somebody else.
    pub(crate) fn take(&mut self) -> Option<BodySender> {
        match std::mem::replace(self, Self::Gone) {
            Self::Open(body) => Some(body),
            Self::Waiting | Self::Gone => None,
        }
    }

    /// Says that the body will never be complete.
    pub(crate) async fn fail(&mut self, error: BodyError) {
        if let Some(body) = self.take() {
            // Dropped without the news the body is cut as well.
            let _late = tokio::time::timeout(NEWS_PATIENCE, body.fail(error)).await;
        }
    }

    /// Says that the body is complete.
    pub(crate) async fn finish(&mut self) {
        let Some(body) = self.take() else { return };
        let mut end = Box::pin(body.finish());
        let first = std::future::poll_fn(|cx| Poll::Ready(end.as_mut().poll(cx))).await;
        if first.is_pending() {
            // It is behind; the worker need not wait for that. Ends when it reads on or leaves.
            tokio::spawn(end);
        }
    }
}
