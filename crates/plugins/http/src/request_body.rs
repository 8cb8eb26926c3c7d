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

/// The slowest a body may come, in bytes a second, beside one `body_timeout` in all.
const SLOWEST: f64 = 1024.0;

/// The body of a request. Ends with an error when it is too large, too slow or cut.
pub(crate) struct RequestBody {
    incoming: Incoming,
    limit: Option<u64>,
    received: u64,
    /// Between two parts.
    timeout: Duration,
    /// How long the client was waited for, and since when it is.
    waited: Duration,
    waits_since: Option<Instant>,
    /// Runs while a part is waited for. Made when the first wait begins: most bodies are there.
    timer: Option<Pin<Box<Sleep>>>,
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
            waited: Duration::ZERO,
            waits_since: None,
            timer: None,
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
        if self.waits_since.is_none() {
            let now = Instant::now();
            self.waits_since = Some(now);
            // Whoever sends a byte now and then to hold what the server keeps for a body gets no
            // further than one that sends nothing.
            let earned = Duration::from_secs_f64(self.received as f64 / SLOWEST);
            let left = (timeout + earned).saturating_sub(self.waited);
            timer.as_mut().reset(now + left.min(timeout));
        }
        timer.as_mut().poll(cx)
    }

    fn came(&mut self) {
        if let Some(since) = self.waits_since.take() {
            self.waited += since.elapsed();
        }
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
                self.came();
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
