//! Many requests on several threads, on the real clock, with workers that fail at random.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use folk_api::runtime::{ExitKind, NotTaken};
use folk_api::{
    Body, BootError, Exit, Job, Outcome, Response, Runtime, Worker, WorkerControl, WorkerSpec,
};
use tokio::sync::Notify;

use super::*;

const REQUESTS: usize = 20_000;
const CALLERS: usize = 64;

/// What the workers of [`Unreliable`] have begun and finished.
#[derive(Debug, Default)]
struct Record {
    taken: AtomicU64,
    killed: AtomicU64,
}

/// A runtime whose workers echo, and now and then die, hang, panic or do not take a request.
struct Unreliable(Arc<Record>);

struct UnreliableWorker {
    killed: Arc<Notify>,
    record: Arc<Record>,
    /// Set once it is of no use: a request it gets after that is a fault of the pool.
    finished: bool,
}

struct Kill(Arc<Notify>, Arc<Record>);

impl WorkerControl for Kill {
    fn pid(&self) -> Option<u32> {
        None
    }

    fn soft_stop(&self) -> bool {
        false
    }

    fn kill(&self) {
        self.1.killed.fetch_add(1, Ordering::Relaxed);
        self.0.notify_one();
    }

    fn memory(&self) -> Option<u64> {
        None
    }
}

fn exit() -> Exit {
    Exit { kind: ExitKind::Signal(9), last_words: String::new() }
}

#[async_trait]
impl Runtime for Unreliable {
    fn name(&self) -> &'static str {
        "unreliable"
    }

    async fn spawn(&self, _spec: &WorkerSpec) -> Result<Box<dyn Worker>, BootError> {
        let (killed, record) = (Arc::default(), Arc::clone(&self.0));
        Ok(Box::new(UnreliableWorker { killed, record, finished: false }))
    }
}

#[async_trait]
impl Worker for UnreliableWorker {
    fn control(&self) -> Arc<dyn WorkerControl> {
        Arc::new(Kill(Arc::clone(&self.killed), Arc::clone(&self.record)))
    }

    async fn ready(&mut self) -> Result<(), BootError> {
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn execute(&mut self, job: Box<Job>) -> Outcome {
        assert!(!self.finished, "a worker that was of no use was given another request");
        let fate = fastrand::u32(0..2000);
        self.finished = fate < 12;
        match fate {
            0..2 => return Outcome::NotTaken { job, why: NotTaken::Stopping },
            2..4 => return Outcome::NotTaken { job, why: NotTaken::Died(exit()) },
            4..8 => return Outcome::Failed(Error::Died("at random".to_owned())),
            8..10 => panic!("at random"),
            _ => self.record.taken.fetch_add(1, Ordering::Relaxed),
        };
        if fate < 12 {
            // Until its deadline kills it.
            self.killed.notified().await;
            job.reply.send(Ok(Response::ok(Body::full("a late answer"))));
            return Outcome::Failed(Error::Died("killed".to_owned()));
        }
        if fate % 4 == 0 {
            tokio::task::yield_now().await;
        }
        let Request::Method(call) = job.request else { panic!("only methods are called") };
        job.reply.send(Ok(Response::ok(Body::full(call.payload))));
        Outcome::Done
    }

    async fn died(&mut self) -> Exit {
        std::future::pending().await
    }

    async fn terminate(&mut self, _grace: Duration) -> Exit {
        exit()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_request_gets_exactly_its_own_answer_whatever_the_workers_do() {
    let record = Arc::<Record>::default();
    let settings = PoolSettings { max_jobs: 200, queue_timeout: secs(20), ..calm(8) };
    let (metrics, bus) = (Metrics::default(), Bus::new());
    let runtime = Arc::new(Unreliable(Arc::clone(&record)));
    let pool = Pool::new(&settings, runtime, &metrics, bus).unwrap();
    pool.start().await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                let mut outcomes = (0, 0, 0);
                for n in (caller..REQUESTS).step_by(CALLERS) {
                    let name = n.to_string();
                    let payload = Bytes::from(name.clone());
                    let call = Request::Method(MethodCall { method: String::new(), payload });
                    let deadline = Deadline::after(millis(100));
                    if n % 100 == 0 {
                        // This one does not stay for the answer.
                        let leaves = pool.execute(call, deadline);
                        drop(tokio::time::timeout(Duration::from_micros(50), leaves).await);
                        outcomes.2 += 1;
                        continue;
                    }
                    match pool.execute(call, deadline).await {
                        Ok(response) => {
                            let body = response.into_bytes(100).await.unwrap();
                            assert_eq!(&body[..], name.as_bytes(), "the answer of another");
                            outcomes.0 += 1;
                        }
                        Err(_) => outcomes.1 += 1,
                    }
                }
                outcomes
            })
        })
        .collect();
    let all = async {
        let mut sum = (0, 0, 0);
        for caller in callers {
            let (ok, failed, left) = caller.await.unwrap();
            sum = (sum.0 + ok, sum.1 + failed, sum.2 + left);
        }
        sum
    };
    let (ok, failed, left) = tokio::time::timeout(secs(60), all).await.expect("a request hangs");
    assert_eq!(ok + failed + left, REQUESTS);
    assert!(failed < REQUESTS / 5, "{failed} of {REQUESTS} failed");
    assert!(record.killed.load(Ordering::Relaxed) > 0, "some must run into their deadline");
    assert!(record.taken.load(Ordering::Relaxed) as usize <= REQUESTS);
    tokio::time::timeout(secs(10), pool.drain()).await.expect("the drain hangs");
    assert_eq!(pool.queued(), 0);
}

/// Callers who come while the pool ends: each is answered, if only with a refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_hangs_when_the_pool_ends_under_load() {
    for round in 0..60 {
        let runtime = Arc::new(Unreliable(Arc::default()));
        let pool = Pool::new(&calm(4), runtime, &Metrics::default(), Bus::new()).unwrap();
        pool.start().await;
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let pool = Arc::clone(&pool);
                tokio::spawn(async move {
                    loop {
                        let call = MethodCall { method: String::new(), payload: Bytes::new() };
                        let deadline = Deadline::after(millis(50));
                        let called = pool.execute(Request::Method(call), deadline).await;
                        if matches!(called, Err(Error::ShuttingDown)) {
                            return;
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(millis(round % 4 + 1)).await;
        if round % 2 == 0 {
            tokio::time::timeout(secs(10), pool.drain()).await.expect("the drain hangs");
        }
        tokio::time::timeout(secs(10), pool.stop()).await.expect("the stop hangs");
        for caller in callers {
            tokio::time::timeout(secs(10), caller).await.expect("a caller hangs").unwrap();
        }
    }
}
