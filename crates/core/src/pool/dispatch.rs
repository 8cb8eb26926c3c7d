//! Who waits and who is free: the one meeting place of requests and slots.
//!
//! Everything is behind one short lock, so that "take the idle slot", "queue the request" and "take
//! the slot out of the rotation" cannot interleave. Idle slots stand in a line and are taken from
//! its front; a slot that becomes idle goes to its end: a rotation among the idle, never into a
//! busy one. Requests that found no idle slot stand in a line of their own, bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use folk_api::Job;
use folk_api::metrics::Gauge;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(i64);

/// What became of a request that asked for admission.
#[derive(Debug)]
pub(crate) enum Admission {
    /// A slot has it.
    Assigned,
    /// It waits.
    Queued(Ticket),
    /// As many wait as may.
    Full,
    /// No slot can boot a worker; the text says why.
    Failing(String),
    /// The pool takes no more.
    Draining,
}

/// What a slot gets that offers itself.
#[derive(Debug)]
pub(crate) enum Offered {
    /// A queued request.
    Job(Box<Job>),
    /// A place in the rotation.
    Idle,
    /// The pool drains and nothing waits.
    Drained,
}

/// What follows from a slot that cannot boot.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Whether no slot can.
    pub(crate) all_failing: bool,
    /// The requests that waited, to be refused: none will come free for them.
    pub(crate) refused: Vec<Job>,
}

/// See the module.
pub(crate) struct Dispatch {
    state: Mutex<State>,
    /// Tells that the pool drains and nothing waits any more.
    drained: Notify,
    /// How many wait, for operators.
    depth: Arc<dyn Gauge>,
    /// Wakes a slot's supervisor when a request is put down for it.
    wakers: Vec<AtomicWaker>,
    queue_max: usize,
}

#[derive(Debug)]
struct State {
    idle: VecDeque<usize>,
    queue: VecDeque<(Ticket, Box<Job>)>,
    /// A request on its way to a slot that left the rotation for it.
    assigned: Vec<Option<Box<Job>>>,
    /// Why a slot cannot boot, for those that cannot.
    failing: Vec<Option<String>>,
    /// Tickets ascend along the queue: new requests count up, those put back before them count down.
    next_ticket: i64,
    front_ticket: i64,
    draining: bool,
}

impl Dispatch {
    /// A meeting place for `slots` slots and at most `queue_max` waiting requests.
    pub(crate) fn new(slots: usize, queue_max: usize, depth: Arc<dyn Gauge>) -> Self {
        Self {
            state: Mutex::new(State {
                idle: VecDeque::with_capacity(slots),
                queue: VecDeque::new(),
                assigned: (0..slots).map(|_| None).collect(),
                failing: vec![None; slots],
                next_ticket: 0,
                front_ticket: 0,
                draining: false,
            }),
            drained: Notify::new(),
            depth,
            wakers: (0..slots).map(|_| AtomicWaker::new()).collect(),
            queue_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under this lock, so a poisoned one is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands `job` to an idle slot, or lets it wait. What is refused is dropped.
    pub(crate) fn admit(&self, job: Box<Job>) -> Admission {
        let mut state = self.lock();
        if state.draining {
            return Admission::Draining;
        }
        if let Some(slot) = state.idle.pop_front() {
            self.assign(state, slot, job);
            return Admission::Assigned;
        }
        if let Some(reason) = state.all_failing() {
            return Admission::Failing(reason);
        }
        if state.queue.len() >= self.queue_max {
            return Admission::Full;
        }
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        state.queue.push_back((ticket, job));
        self.queue_changed(&state);
        Admission::Queued(ticket)
    }

    /// Whether a request that asked for admission now would be refused, and how.
    pub(crate) fn refuses(&self) -> Option<Admission> {
        let state = self.lock();
        if state.draining {
            return Some(Admission::Draining);
        }
        if !state.idle.is_empty() {
            return None;
        }
        if let Some(reason) = state.all_failing() {
            return Some(Admission::Failing(reason));
        }
        (state.queue.len() >= self.queue_max).then_some(Admission::Full)
    }

    /// Takes back a request that a slot did not take: it goes before all others, above the bound
    /// by at most one a slot. Where it has to wait, the ticket of its place.
    pub(crate) fn put_back(&self, job: Box<Job>) -> Option<Ticket> {
        let mut state = self.lock();
        if let Some(slot) = state.idle.pop_front() {
            self.assign(state, slot, job);
            return None;
        }
        state.front_ticket -= 1;
        let ticket = Ticket(state.front_ticket);
        state.queue.push_front((ticket, job));
        self.queue_changed(&state);
        Some(ticket)
    }

    fn assign(&self, mut state: MutexGuard<'_, State>, slot: usize, job: Box<Job>) {
        state.assigned[slot] = Some(job);
        drop(state);
        self.wakers[slot].wake();
    }

    /// Takes a waiting request out of the queue. `None` when a slot took it meanwhile.
    pub(crate) fn withdraw_request(&self, ticket: Ticket) -> Option<Box<Job>> {
        let mut state = self.lock();
        let index = state.queue.binary_search_by_key(&ticket, |(other, _)| *other).ok()?;
        let removed = state.queue.remove(index);
        self.queue_changed(&state);
        removed.map(|(_, job)| job)
    }

    /// The next request for `slot`, or a place in the rotation.
    pub(crate) fn offer(&self, slot: usize) -> Offered {
        let mut abandoned = Vec::new();
        let mut state = self.lock();
        state.failing[slot] = None;
        let waited = !state.queue.is_empty();
        let offered = loop {
            match state.queue.pop_front() {
                // Nobody waits for it any more. Dropped outside the lock.
                Some((_, job)) if job.reply.is_abandoned() => abandoned.push(job),
                Some((_, job)) => break Offered::Job(job),
                None if state.draining => break Offered::Drained,
                None => {
                    state.idle.push_back(slot);
                    break Offered::Idle;
                }
            }
        };
        if waited {
            self.queue_changed(&state);
        }
        drop(state);
        offered
    }

    /// Takes `slot` out of the rotation. `false` when a request is on its way to it instead.
    pub(crate) fn withdraw(&self, slot: usize) -> bool {
        let mut state = self.lock();
        if state.assigned[slot].is_some() {
            return false;
        }
        state.idle.retain(|idle| *idle != slot);
        true
    }

    /// The request that was put down for `slot`.
    pub(crate) fn take_assigned(&self, slot: usize) -> Option<Box<Job>> {
        self.lock().assigned[slot].take()
    }

    /// Waits for a request that is put down for `slot`.
    pub(crate) fn poll_assigned(&self, slot: usize, cx: &mut Context<'_>) -> Poll<Box<Job>> {
        self.wakers[slot].register(cx.waker());
        match self.take_assigned(slot) {
            Some(job) => Poll::Ready(job),
            None => Poll::Pending,
        }
    }

    /// Notes that `slot` cannot boot a worker.
    pub(crate) fn fail(&self, slot: usize, reason: &str) -> Failed {
        let mut state = self.lock();
        state.failing[slot] = Some(reason.to_owned());
        let all_failing = state.all_failing().is_some();
        let refused = if all_failing { self.empty(&mut state) } else { Vec::new() };
        Failed { all_failing, refused }
    }

    /// Takes no more requests from now on.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        self.queue_changed(&state);
    }

    /// Waits until nothing waits any more, once [`drain`](Self::drain) was called. One task may.
    pub(crate) async fn drained(&self) {
        self.drained.notified().await;
    }

    /// Takes a slot that ends out of everything. The request that was on its way to it, if any.
    pub(crate) fn leave(&self, slot: usize) -> Option<Box<Job>> {
        let mut state = self.lock();
        state.idle.retain(|idle| *idle != slot);
        state.assigned[slot].take()
    }

    /// Whether it takes no more requests.
    pub(crate) fn is_draining(&self) -> bool {
        self.lock().draining
    }

    /// Requests that wait.
    pub(crate) fn queued(&self) -> usize {
        self.lock().queue.len()
    }

    /// Everything that still waits, to be refused when the pool stops.
    pub(crate) fn abandon_queue(&self) -> Vec<Job> {
        self.empty(&mut self.lock())
    }

    fn empty(&self, state: &mut State) -> Vec<Job> {
        let jobs = state.queue.drain(..).map(|(_, job)| *job).collect();
        self.queue_changed(state);
        jobs
    }

    fn queue_changed(&self, state: &State) {
        self.depth.set(state.queue.len() as f64);
        if state.draining && state.queue.is_empty() {
            self.drained.notify_one();
        }
    }
}

impl State {
    /// Why no slot can boot, when none can.
    fn all_failing(&self) -> Option<String> {
        if self.failing.iter().any(Option::is_none) {
            return None;
        }
        self.failing.iter().flatten().next().cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use folk_api::metrics::{MetricSpec, MetricsRegistry};
    use folk_api::{Answer, Deadline, MethodCall, Request};

    use super::*;
    use crate::metrics::Metrics;

    fn job(name: &str) -> (Box<Job>, Answer) {
        let call = MethodCall { method: name.into(), payload: bytes::Bytes::new() };
        let (job, answer) =
            Job::new(Request::Method(call), Deadline::after(Duration::from_secs(1)));
        (Box::new(job), answer)
    }

    fn dispatch(slots: usize, queue_max: usize) -> Dispatch {
        let help = "Requests that wait";
        let spec = MetricSpec { name: "queued", help, labels: &[] };
        Dispatch::new(slots, queue_max, Metrics::default().gauge(spec).unwrap())
    }

    fn name(job: &Job) -> &str {
        match &job.request {
            Request::Method(call) => &call.method,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn idle_slots_are_taken_in_rotation_and_busy_ones_never() {
        let dispatch = dispatch(3, 10);
        for slot in 0..3 {
            assert!(matches!(dispatch.offer(slot), Offered::Idle));
        }
        let mut answers = Vec::new();
        for expected in [0, 1, 2] {
            let (job, answer) = job("x");
            answers.push(answer);
            assert!(matches!(dispatch.admit(job), Admission::Assigned));
            assert!(dispatch.take_assigned(expected).is_some(), "slot {expected} is next");
        }
        // Slot 1 comes free first: it, and not its turn by number, gets the next one.
        assert!(matches!(dispatch.offer(1), Offered::Idle));
        let (next, _answer) = job("y");
        assert!(matches!(dispatch.admit(next), Admission::Assigned));
        assert!(dispatch.take_assigned(1).is_some());
    }

    #[tokio::test]
    async fn waiting_requests_are_served_in_order_and_bounded() {
        let dispatch = dispatch(1, 2);
        let (first, _a) = job("first");
        let (second, _b) = job("second");
        let (third, _c) = job("third");
        assert!(matches!(dispatch.admit(first), Admission::Queued(_)));
        assert!(matches!(dispatch.admit(second), Admission::Queued(_)));
        assert!(matches!(dispatch.admit(third), Admission::Full));
        let Offered::Job(job) = dispatch.offer(0) else { panic!("a request waits") };
        assert_eq!(name(&job), "first");
    }

    #[tokio::test]
    async fn a_request_whose_caller_left_is_dropped_before_it_starts() {
        let dispatch = dispatch(1, 2);
        let (first, left) = job("first");
        let (second, _b) = job("second");
        dispatch.admit(first);
        dispatch.admit(second);
        drop(left);
        let Offered::Job(job) = dispatch.offer(0) else { panic!("a request waits") };
        assert_eq!(name(&job), "second");
    }

    #[tokio::test]
    async fn a_request_that_was_put_back_goes_first_and_others_keep_their_tickets() {
        let dispatch = dispatch(1, 4);
        let (first, _a) = job("first");
        let (second, _b) = job("second");
        let Admission::Queued(first_ticket) = dispatch.admit(first) else { panic!() };
        let Admission::Queued(second_ticket) = dispatch.admit(second) else { panic!() };
        let (back, _c) = job("back");
        assert!(dispatch.put_back(back).is_some());
        assert_eq!(name(&dispatch.withdraw_request(first_ticket).unwrap()), "first");
        assert!(dispatch.withdraw_request(first_ticket).is_none());
        assert_eq!(name(&dispatch.withdraw_request(second_ticket).unwrap()), "second");
        let Offered::Job(job) = dispatch.offer(0) else { panic!("a request waits") };
        assert_eq!(name(&job), "back");
    }

    #[tokio::test]
    async fn a_slot_leaves_the_rotation_only_when_no_request_is_on_its_way() {
        let dispatch = dispatch(1, 4);
        dispatch.offer(0);
        assert!(dispatch.withdraw(0));
        let (waits, _a) = job("waits");
        assert!(matches!(dispatch.admit(waits), Admission::Queued(_)));
        assert!(matches!(dispatch.offer(0), Offered::Job(_)));
        dispatch.offer(0);
        let (taken, _b) = job("taken");
        dispatch.admit(taken);
        assert!(!dispatch.withdraw(0), "a request is on its way");
    }

    #[tokio::test]
    async fn requests_are_refused_at_once_when_no_slot_can_boot() {
        let dispatch = dispatch(2, 4);
        let (waits, _a) = job("waits");
        assert!(matches!(dispatch.admit(waits), Admission::Queued(_)));
        assert!(!dispatch.fail(0, "syntax error").all_failing, "the other slot may still boot");
        assert_eq!(dispatch.fail(1, "syntax error").refused.len(), 1);
        let (refused, _b) = job("refused");
        assert!(
            matches!(dispatch.admit(refused), Admission::Failing(why) if why == "syntax error")
        );
        dispatch.offer(1);
        let (served, _c) = job("served");
        assert!(matches!(dispatch.admit(served), Admission::Assigned));
    }

    #[tokio::test]
    async fn a_slot_that_ends_leaves_nothing_behind() {
        let dispatch = dispatch(2, 4);
        dispatch.offer(0);
        dispatch.offer(1);
        let (on_its_way, _a) = job("on its way");
        dispatch.admit(on_its_way);
        assert_eq!(dispatch.leave(0).map(|job| name(&job).to_owned()), Some("on its way".into()));
        assert!(dispatch.leave(1).is_none());
        let (back, _b) = job("back");
        assert!(
            dispatch.put_back(back).is_some(),
            "it waits, and is not given to a slot that ended"
        );
    }
}
