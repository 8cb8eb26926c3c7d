//! One timer for all the waits of a connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes its task at some deadline that keeps moving.
///
/// Moving the deadline later costs nothing: the timer stays where it is, wakes the task early once,
/// and is set anew then. A connection that is busy therefore touches the timer wheel about once an
/// idle timeout and not once a request.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Whether `deadline` has passed; the task is woken at it or before. Must always be polled by
    /// the same task: a timer that is set already is not told who waits.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = match &mut self.0 {
            None => self.0.insert(Box::pin(sleep_until(deadline))),
            Some(sleep) if sleep.deadline() <= deadline && !sleep.is_elapsed() => {
                return Poll::Pending;
            }
            Some(sleep) if sleep.deadline() >= deadline && sleep.is_elapsed() => {
                return Poll::Ready(());
            }
            Some(sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
        };
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn rings_at_the_deadline_whichever_way_it_was_moved() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        let far = start + Duration::from_secs(75);
        let near = start + Duration::from_secs(10);
        poll_fn(|cx| {
            assert!(alarm.poll(cx, far).is_pending());
            assert!(alarm.poll(cx, near).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| alarm.poll(cx, near)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        poll_fn(|cx| alarm.poll(cx, far)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(75));
    }
}
