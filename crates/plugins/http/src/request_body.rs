//! The body of a request, within its limits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use folk_api::BodyError;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::shared::Shared;

/// The body of a request. Ends with an error when it is too large, too slow or cut.
pub(crate) struct RequestBody {
    incoming: Incoming,
    limit: Option<u64>,
    received: u64,
    /// Between two parts.
    timeout: Duration,
    /// Runs while a part is waited for. Made when the first wait begins: most bodies are there.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    done: bool,
    shared: Arc<Shared>,
}

impl RequestBody {
    /// The body, or `None` where there is none.
    pub(crate) fn of(
        incoming: Incoming,
        limit: Option<u64>,
        timeout: Duration,
        shared: &Arc<Shared>,
    ) -> Option<Self> {
        (!incoming.is_end_stream()).then(|| Self {
            incoming,
            limit,
            received: 0,
            timeout,
            timer: None,
            waiting: false,
            done: false,
            shared: Arc::clone(shared),
        })
    }

    /// Refuses a body whose announced length is beyond the limit, before any of it is read.
    pub(crate) fn check_announced(&self) -> Result<(), BodyError> {
        match self.limit {
            Some(limit) if self.incoming.size_hint().lower() > limit => {
                Err(BodyError::TooLarge { limit })
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.limit {
            Some(limit) if self.received > limit => Err(BodyError::TooLarge { limit }),
            _ => Ok(frame),
        }
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + timeout);
        }
        timer.as_mut().poll(cx)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let result = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(None) => {
                self.done = true;
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = false;
                self.take(frame)
            }
            Poll::Ready(Some(Err(error))) => Err(cause(&error)),
            Poll::Pending => {
                ready!(self.poll_timeout(cx));
                Err(BodyError::Timeout)
            }
        };
        if result.is_err() {
            self.done = true;
            self.shared.leave_unread();
        }
        Poll::Ready(Some(result))
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.is_end_stream() {
            self.shared.leave_unread();
        }
    }
}

/// What went wrong, from the library's error: only a malformed transfer coding is told apart.
fn cause(error: &hyper::Error) -> BodyError {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(error) if matches!(error.kind(), InvalidData | InvalidInput) => {
            BodyError::Failed("its chunked coding is malformed".to_owned())
        }
        _ => BodyError::Disconnected,
    }
}
