//! One HTTP/2 stream: its task, and the wait for a client that takes nothing of its answer.
//!
//! A client that keeps its window shut would hold an answer, and the worker that produces it, for
//! as long as it likes: the socket never fills, so the transport sees nothing wrong. The task of a
//! stream therefore watches whom its answer waits for. One that waits for the application may do so
//! for ever, as event streams do; one that waits for the client is given up after the write
//! timeout, and the other streams of the connection go on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use folk_api::BodyError;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::exchange::ResponseBody;

/// The most that is handed to the library at once. It takes a chunk whole as soon as the client has
/// room for one byte of it; what it has taken, the watch no longer sees.
const PIECE: usize = 16 << 10;

tokio::task_local! {
    /// The watch over the stream whose task this is.
    static WATCH: Arc<Watch>;
}

/// Whom the answer of a stream waits for.
#[derive(Debug, Default)]
struct Watch {
    /// Whether the library holds a piece that the client has no room for.
    waits_for_client: AtomicBool,
    /// Pieces handed over; another number is progress.
    pieces: AtomicU64,
    /// Whether the client was waited for in vain.
    given_up: AtomicBool,
}

/// Runs streams in tasks that end when the client takes nothing for this long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamExecutor(pub(crate) Duration);

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let watch = Arc::<Watch>::default();
        tokio::spawn(StreamTask {
            stream: Box::pin(WATCH.scope(Arc::clone(&watch), stream)),
            watch,
            patience: self.0,
            pieces: 0,
            deadline: None,
            alarm: Alarm::default(),
        });
    }
}

/// The task of a stream. Dropping what it drives resets the stream.
struct StreamTask<F> {
    stream: Pin<Box<F>>,
    watch: Arc<Watch>,
    patience: Duration,
    /// The number of pieces at the last look.
    pieces: u64,
    deadline: Option<Instant>,
    alarm: Alarm,
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !this.watch.waits_for_client.load(Ordering::Relaxed) {
            this.deadline = None;
            return Poll::Pending;
        }
        let pieces = this.watch.pieces.load(Ordering::Relaxed);
        if pieces != this.pieces {
            this.pieces = pieces;
            this.deadline = None;
        }
        let patience = this.patience;
        let deadline = *this.deadline.get_or_insert_with(|| Instant::now() + patience);
        ready!(this.alarm.poll(cx, deadline));
        this.watch.given_up.store(true, Ordering::Relaxed);
        tracing::debug!("a stream was reset: its client takes nothing");
        Poll::Ready(())
    }
}

/// The body of an answer, in pieces and watched. Made in the task of its stream.
pub(crate) struct StreamBody {
    body: ResponseBody,
    /// What is left of the chunk that is being handed over.
    rest: Bytes,
    watch: Option<Arc<Watch>>,
}

impl StreamBody {
    pub(crate) fn new(body: ResponseBody) -> Self {
        Self { body, rest: Bytes::new(), watch: WATCH.try_with(Arc::clone).ok() }
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE)))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let given_up =
            self.watch.as_ref().is_some_and(|watch| watch.given_up.load(Ordering::Relaxed));
        if given_up || !self.rest.is_empty() {
            self.body.give_up(self.rest.len());
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let poll = if self.rest.has_remaining() {
            Poll::Ready(Some(Ok(self.next_piece())))
        } else {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                    Ok(chunk) => {
                        self.rest = chunk;
                        self.next_piece()
                    }
                    Err(trailers) => trailers,
                }))),
                other => other,
            }
        };
        if let Some(watch) = &self.watch {
            // Asked again, the library has got rid of the piece before.
            watch.pieces.fetch_add(1, Ordering::Relaxed);
            watch.waits_for_client.store(poll.is_ready(), Ordering::Relaxed);
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}
