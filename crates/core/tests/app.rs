//! The server put together, from boot to end, with mock workers and a plugin stepped by hand.
#![allow(clippy::unwrap_used, clippy::panic)] // Tests fail by panicking; so do their helpers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use folk_api::config::Faults;
use folk_api::events::{Event, Received, Subscription};
use folk_api::plugin::{BootContext, ConfigureContext, Plugin, ServeContext, ShutdownContext};
use folk_api::{Error, Executor};
use folk_core::app::{AppError, Ended};
use folk_core::lifecycle::Order;
use folk_core::{App, PoolSettings};
use folk_goridge::flags;
use folk_testkit::mock::{Ended as WorkerEnded, MockHandle, MockRuntime, MockWorkerHandle, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What a [`Fake`] does once it is to serve.
#[derive(Clone, Copy, PartialEq)]
enum Serves {
    UntilTheDrain,
    ForEver,
    NotAtAll,
    AndFails,
    AndPanics,
}

/// A plugin, which hands out what it was given at boot.
struct Fake {
    pool: &'static str,
    serves: Serves,
    given: Mutex<Option<oneshot::Sender<Given>>>,
    diary: Arc<Mutex<Vec<&'static str>>>,
}

struct Given {
    executor: Arc<dyn Executor>,
    events: Box<dyn Subscription>,
}

#[async_trait]
impl Plugin for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn configure(&mut self, _cx: &ConfigureContext) -> Result<(), Faults> {
        Ok(())
    }

    async fn boot(&mut self, cx: &BootContext) -> anyhow::Result<()> {
        let given =
            Given { executor: cx.pools.executor(self.pool)?, events: cx.events.subscribe(64) };
        if let Some(sender) = self.given.lock().unwrap().take() {
            sender.send(given).ok();
        }
        Ok(())
    }

    async fn serve(self: Arc<Self>, cx: ServeContext) -> anyhow::Result<()> {
        self.diary.lock().unwrap().push("serve");
        match self.serves {
            Serves::UntilTheDrain => cx.lifecycle.draining().await,
            Serves::ForEver => std::future::pending().await,
            Serves::NotAtAll => {}
            Serves::AndFails => anyhow::bail!("lost its listener"),
            Serves::AndPanics => panic!("as told"),
        }
        Ok(())
    }

    async fn shutdown(&self, _cx: &ShutdownContext) -> anyhow::Result<()> {
        self.diary.lock().unwrap().push("shutdown");
        Ok(())
    }
}

/// A server that runs, and all its handles.
struct Bench {
    handle: MockHandle,
    orders: mpsc::Sender<Order>,
    given: Option<oneshot::Receiver<Given>>,
    diary: Arc<Mutex<Vec<&'static str>>>,
    run: JoinHandle<Result<Ended, AppError>>,
}

impl Bench {
    fn start(serves: Serves) -> Self {
        Self::start_with("default", serves, None)
    }

    fn start_with(pool: &'static str, serves: Serves, rpc: Option<PathBuf>) -> Self {
        let (runtime, handle) = MockRuntime::new();
        let (sender, given) = oneshot::channel();
        let diary = Arc::<Mutex<Vec<&'static str>>>::default();
        let given_to = Mutex::new(Some(sender));
        let plugin = Fake { pool, serves, given: given_to, diary: Arc::clone(&diary) };
        let app = App {
            pools: vec![(PoolSettings::new("default", 1), runtime as _)],
            plugins: vec![Box::new(plugin)],
            rpc,
            shutdown_grace: Duration::from_secs(20),
        };
        let (orders, receiver) = mpsc::channel(4);
        let run = tokio::spawn(app.run(receiver));
        Self { handle, orders, given: Some(given), diary, run }
    }

    async fn given(&mut self) -> Given {
        within("the boot of the plugin", self.given.take().unwrap()).await.unwrap()
    }

    async fn ended(&mut self) -> Result<Ended, AppError> {
        within("the end", &mut self.run).await.unwrap()
    }
}

fn call(executor: &Arc<dyn Executor>) -> JoinHandle<Result<Bytes, Error>> {
    let executor = Arc::clone(executor);
    tokio::spawn(async move { executor.execute_method("hello", Bytes::new()).await })
}

/// The next phase that is told on the bus.
async fn phase(events: &mut Box<dyn Subscription>) -> String {
    loop {
        match within("a phase", events.receive()).await {
            Some(Received::Event(event)) => match &*event {
                Event::Phase { phase } => return phase.clone(),
                _ => continue,
            },
            other => panic!("{other:?}"),
        }
    }
}

/// A server that serves, with its one worker.
async fn serving(serves: Serves) -> (Bench, Given, MockWorkerHandle) {
    let mut bench = Bench::start(serves);
    let mut given = bench.given().await;
    let mut worker = bench.handle.spawned().await;
    worker.ready();
    assert_eq!(phase(&mut given.events).await, "serving");
    (bench, given, worker)
}

#[tokio::test(start_paused = true)]
async fn an_order_to_stop_finishes_what_runs_and_goes_through_every_phase() {
    let (mut bench, mut given, mut worker) = serving(Serves::UntilTheDrain).await;
    let running = call(&given.executor);
    let run = worker.running().await;
    bench.orders.send(Order::Stop).await.unwrap();
    assert_eq!(phase(&mut given.events).await, "draining");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!worker.is_ended() && !bench.run.is_finished());
    assert_eq!(call(&given.executor).await.unwrap(), Err(Error::ShuttingDown));
    run.answer("done");
    assert_eq!(running.await.unwrap(), Ok("done".into()));
    assert_eq!(worker.ended().await, WorkerEnded::Asked);
    assert_eq!(phase(&mut given.events).await, "stopping");
    assert!(matches!(bench.ended().await, Ok(Ended::Drained)));
    assert_eq!(*bench.diary.lock().unwrap(), ["serve", "shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_order_cuts_what_runs() {
    let (mut bench, mut given, mut worker) = serving(Serves::UntilTheDrain).await;
    let running = call(&given.executor);
    let _run = worker.running().await;
    let begun = Instant::now();
    bench.orders.send(Order::Stop).await.unwrap();
    assert_eq!(phase(&mut given.events).await, "draining");
    bench.orders.send(Order::Reload).await.unwrap();
    bench.orders.send(Order::Stop).await.unwrap();
    assert_eq!(running.await.unwrap(), Err(Error::ShuttingDown));
    assert_eq!(worker.ended().await, WorkerEnded::Killed);
    assert!(matches!(bench.ended().await, Ok(Ended::Cut)));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_when_the_grace_ends_is_cut() {
    for serves in [Serves::UntilTheDrain, Serves::ForEver] {
        let (mut bench, given, mut worker) = serving(serves).await;
        let running = call(&given.executor);
        let _run = worker.running().await;
        let begun = Instant::now();
        bench.orders.send(Order::Stop).await.unwrap();
        assert_eq!(running.await.unwrap(), Err(Error::ShuttingDown));
        assert!(begun.elapsed() >= Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(matches!(bench.ended().await, Ok(Ended::Cut)));
    }
}

#[tokio::test(start_paused = true)]
async fn when_nobody_can_give_orders_any_more_the_server_ends() {
    let (mut bench, _given, _worker) = serving(Serves::UntilTheDrain).await;
    bench.orders = mpsc::channel(1).0;
    assert!(matches!(bench.ended().await, Ok(Ended::Drained)));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_cannot_start_ends_the_start_before_any_worker_is_booted() {
    let mut bench = Bench::start_with("tasks", Serves::UntilTheDrain, None);
    let error = bench.ended().await.unwrap_err();
    assert!(matches!(error, AppError::Start(_)));
    assert_eq!(
        error.to_string(),
        "failed to start plugin fake: there is no pool \"tasks\"; configured are [pools.default]"
    );
    assert_eq!(bench.handle.spawns(), 0);
    assert_eq!(*bench.diary.lock().unwrap(), ["shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_boot_ends_the_start_with_its_cause() {
    let mut bench = Bench::start(Serves::UntilTheDrain);
    let mut given = bench.given().await;
    for _ in 0..3 {
        bench.handle.spawned().await.fail_boot("PHP Parse error: unexpected '}'");
    }
    assert_eq!(phase(&mut given.events).await, "draining", "it never served");
    let error = bench.ended().await.unwrap_err();
    assert!(matches!(&error, AppError::Boot { pool, .. } if pool == "default"));
    assert_eq!(
        error.to_string(),
        "pool default: no worker could be booted: PHP Parse error: unexpected '}'"
    );
    assert_eq!(*bench.diary.lock().unwrap(), ["shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_ends_by_itself_ends_the_server_and_is_named() {
    for (serves, text) in [
        (Serves::NotAtAll, "plugin fake ended: it returned while it should serve"),
        (Serves::AndFails, "plugin fake ended: lost its listener"),
        (Serves::AndPanics, "plugin fake ended: panicked while serving"),
    ] {
        let (mut bench, _given, mut worker) = serving(serves).await;
        let error = bench.ended().await.unwrap_err();
        assert!(matches!(error, AppError::Plugin { plugin: "fake", .. }));
        assert_eq!(error.to_string(), text);
        assert_eq!(worker.ended().await, WorkerEnded::Asked, "the pool is drained all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_to_stop_ends_a_boot_too() {
    let mut bench = Bench::start(Serves::UntilTheDrain);
    let mut worker = bench.handle.spawned().await;
    bench.orders.send(Order::Stop).await.unwrap();
    assert_eq!(worker.ended().await, WorkerEnded::Dropped);
    assert!(matches!(bench.ended().await, Ok(Ended::Drained)));
    assert_eq!(*bench.diary.lock().unwrap(), ["shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_to_reload_takes_up_new_code_or_goes_on_with_the_old() {
    let (mut bench, given, mut worker) = serving(Serves::UntilTheDrain).await;
    bench.orders.send(Order::Reload).await.unwrap();
    bench.handle.spawned().await.fail_boot("syntax error");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let served = call(&given.executor);
    worker.running().await.answer("old");
    assert_eq!(served.await.unwrap(), Ok("old".into()));

    bench.orders.send(Order::Reload).await.unwrap();
    let mut successor = bench.handle.spawned().await;
    assert_eq!(successor.spec.generation, 3, "the number of the broken code is not used again");
    successor.ready();
    assert_eq!(worker.ended().await, WorkerEnded::Asked);
    let served = call(&given.executor);
    successor.running().await.answer("new");
    assert_eq!(served.await.unwrap(), Ok("new".into()));
    bench.orders.send(Order::Stop).await.unwrap();
    assert!(matches!(bench.ended().await, Ok(Ended::Drained)));
}

/// Calls a method of the server over its socket.
async fn rpc(stream: &mut UnixStream, method: &str, argument: &str) -> (u8, String) {
    let mut call = BytesMut::new();
    let payload = format!("{method}{argument}");
    let options = [1, u32::try_from(method.len()).unwrap()];
    folk_goridge::encode(&mut call, flags::JSON, 0, &options, payload.as_bytes());
    stream.write_all(&call).await.unwrap();
    let mut input = BytesMut::new();
    loop {
        if let Some(frame) = folk_goridge::decode(&mut input, 1 << 20).unwrap() {
            let text = String::from_utf8(frame.payload[method.len()..].to_vec()).unwrap();
            return (frame.head.flags, text);
        }
        assert!(stream.read_buf(&mut input).await.unwrap() > 0, "the server hung up");
    }
}

/// On the real clock, as sockets take real time.
#[tokio::test]
async fn php_can_ask_the_server_for_its_pools_and_workers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rpc.sock");
    let mut bench = Bench::start_with("default", Serves::UntilTheDrain, Some(path.clone()));
    let mut given = bench.given().await;
    let mut worker = bench.handle.spawned().await;
    worker.set_memory(4096);
    worker.ready();
    assert_eq!(phase(&mut given.events).await, "serving");

    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(rpc(&mut stream, "informer.List", "").await.1, "[\"default\"]");
    let (_, version) = rpc(&mut stream, "rpc.Version", "").await;
    assert_eq!(version, format!("\"{}\"", env!("CARGO_PKG_VERSION")));
    let (_, workers) = rpc(&mut stream, "informer.Workers", "\"default\"").await;
    let workers: serde_json::Value = serde_json::from_str(&workers).unwrap();
    let told = &workers["workers"][0];
    assert_eq!(told["state"], "idle");
    assert_eq!(told["pid"], worker.pid);
    assert_eq!(told["generation"], 1);
    assert_eq!(told["memory_bytes"], 4096);
    let (answer_flags, text) = rpc(&mut stream, "informer.Workers", "\"tasks\"").await;
    assert!(answer_flags & flags::ERROR != 0);
    assert_eq!(text, "bad argument: there is no pool \"tasks\"");

    bench.orders.send(Order::Stop).await.unwrap();
    assert!(matches!(bench.ended().await, Ok(Ended::Drained)));
    assert!(!path.exists(), "the socket goes with the server");
}
