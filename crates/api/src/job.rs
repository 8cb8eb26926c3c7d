//! A request on its way to a worker, and the one place where its answer goes.
//!
//! [`Reply`] and [`Answer`] are the two ends of a cell that is filled once. Several parties may
//! hold a [`Reply`] (the worker that runs the request, the supervisor that watches the deadline);
//! the first answer wins and every later one is dropped, so that a late answer of a worker that
//! timed out reaches nobody. When the last [`Reply`] is dropped without an answer, the caller gets
//! an error instead of waiting for ever.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use crate::{Deadline, Error, Request, Response};

/// One request on its way to a worker.
#[derive(Debug)]
pub struct Job {
    /// What is to be done.
    pub request: Request,
    /// By when.
    pub deadline: Deadline,
    /// Where the answer goes.
    pub reply: Reply,
    /// How often it was handed to a worker that did not take it: once after a death, more often where
    /// workers only asked to be stopped.
    pub handovers: u32,
    /// Since when it has been on its way.
    pub since: Instant,
}

impl Job {
    /// A job and the answer to wait for.
    pub fn new(request: Request, deadline: Deadline) -> (Self, Answer) {
        let (reply, answer) = Reply::new();
        let since = Instant::now();
        (Self { request, deadline, reply, handovers: 0, since }, answer)
    }
}

type Outcome = Result<Response, Error>;

#[derive(Debug)]
struct Cell(Mutex<State>);

#[derive(Debug)]
struct State {
    value: Option<Outcome>,
    answered: bool,
    abandoned: bool,
    replies: usize,
    reader: Option<Waker>,
    watchers: Vec<Waker>,
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under this lock, so a poisoned one is still consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the answer to a request goes. The first answer wins.
#[derive(Debug)]
pub struct Reply(Arc<Cell>);

impl Reply {
    fn new() -> (Self, Answer) {
        let cell = Arc::new(Cell(Mutex::new(State {
            value: None,
            answered: false,
            abandoned: false,
            replies: 1,
            reader: None,
            watchers: Vec::new(),
        })));
        (Self(Arc::clone(&cell)), Answer(cell))
    }

    /// Answers. `false` when it was answered before or nobody waits: the answer is dropped then,
    /// and with it the body it carries.
    pub fn send(&self, outcome: Outcome) -> bool {
        let waker = {
            let mut state = self.0.lock();
            if state.answered || state.abandoned {
                return false;
            }
            state.answered = true;
            state.value = Some(outcome);
            state.reader.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Whether the caller left before it was answered.
    pub fn is_abandoned(&self) -> bool {
        self.0.lock().abandoned
    }

    /// Waits until the caller leaves. Never ends once it was answered. A few tasks may wait.
    pub async fn abandoned(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.abandoned {
                return Poll::Ready(());
            }
            if !state.watchers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.watchers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Clone for Reply {
    fn clone(&self) -> Self {
        self.0.lock().replies += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.lock();
            state.replies -= 1;
            if state.replies > 0 || state.answered || state.abandoned {
                return;
            }
            state.answered = true;
            state.value = Some(Err(Error::Runtime("the request was dropped unanswered".into())));
            state.reader.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The caller's end: a future of the answer. Dropping it tells the worker's side that nobody waits.
#[derive(Debug)]
pub struct Answer(Arc<Cell>);

impl Future for Answer {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = self.0.lock();
        if let Some(outcome) = state.value.take() {
            return Poll::Ready(outcome);
        }
        replace_waker(&mut state.reader, cx);
        Poll::Pending
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let (unread, watchers) = {
            let mut state = self.0.lock();
            if !state.answered {
                state.abandoned = true;
            }
            (state.value.take(), std::mem::take(&mut state.watchers))
        };
        // Outside the lock: dropping an unread response runs code of others.
        drop(unread);
        for watcher in watchers {
            watcher.wake();
        }
    }
}

fn replace_waker(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *slot = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Body;

    fn ok(text: &'static str) -> Outcome {
        Ok(Response::ok(Body::full(text)))
    }

    #[tokio::test]
    async fn the_first_answer_wins_and_later_ones_are_dropped() {
        let (reply, answer) = Reply::new();
        let late = reply.clone();
        assert!(reply.send(ok("first")));
        assert!(!late.send(ok("second")));
        let body = answer.await.unwrap().body.collect(10).await.unwrap();
        assert_eq!(&body[..], b"first");
    }

    #[tokio::test]
    async fn a_caller_never_waits_for_an_answer_that_nobody_will_give() {
        let (reply, answer) = Reply::new();
        let second = reply.clone();
        drop(reply);
        let waiting = tokio::spawn(answer);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "one side can still answer");
        drop(second);
        assert!(matches!(waiting.await.unwrap(), Err(Error::Runtime(_))));
    }

    #[tokio::test]
    async fn a_caller_who_leaves_is_noticed() {
        let (reply, answer) = Reply::new();
        let watched = reply.clone();
        let watch = tokio::spawn(async move { watched.abandoned().await });
        tokio::task::yield_now().await;
        drop(answer);
        watch.await.unwrap();
        assert!(reply.is_abandoned());
        assert!(!reply.send(ok("nobody reads this")));
    }
}
