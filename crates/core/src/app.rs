//! The server put together: pools, plugins and the RPC socket, from boot to the last worker's end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use folk_api::events::{Event, EventBus};
use folk_api::health::HealthRegistry;
use folk_api::lifecycle::{Lifecycle, Phase};
use folk_api::plugin::{BootContext, Plugin, Pools, ServeContext};
use folk_api::rpc::{RpcRegistry, json_method};
use folk_api::{BootError, Executor, OneLine, Runtime};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::events::Bus;
use crate::health::Checks;
use crate::lifecycle::Order;
use crate::metrics::Metrics;
use crate::pool::{Pool, PoolSettings};
use crate::registry::Plugins;
use crate::rpc::{Methods, RpcServer};

/// How long a plugin may take to release what it holds.
const PLUGIN_SHUTDOWN: Duration = Duration::from_secs(5);

/// What a server is made of. Filled by whoever knows all parts, and [`run`](Self::run).
pub struct App {
    /// The pools, with the runtimes that make their workers.
    pub pools: Vec<(PoolSettings, Arc<dyn Runtime>)>,
    /// The plugins, configured, in the order they boot.
    pub plugins: Vec<Box<dyn Plugin>>,
    /// Where PHP calls the server, if it may.
    pub rpc: Option<PathBuf>,
    /// How long running requests may take to finish after the order to stop.
    pub shutdown_grace: Duration,
}

/// Why a server did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No worker of a pool could be booted.
    #[error("pool {pool}: no worker could be booted: {error}")]
    Boot {
        /// The pool.
        pool: String,
        /// Why.
        error: BootError,
    },
    /// A plugin did not start, or the RPC socket or a pool could not be made.
    #[error("{0:#}")]
    Start(anyhow::Error),
    /// A plugin stopped serving without having been told to.
    #[error("plugin {plugin} ended: {error:#}")]
    Plugin {
        /// The plugin.
        plugin: &'static str,
        /// Why.
        error: anyhow::Error,
    },
}

/// How an orderly end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything that ran was finished.
    Drained,
    /// The grace ended, or a second order to stop came, while requests were running.
    Cut,
}

/// The parts that everything else is registered with.
struct Registries {
    events: Arc<Bus>,
    metrics: Arc<Metrics>,
    checks: Arc<Checks>,
    methods: Arc<Methods>,
}

impl App {
    /// Boots the server, serves until told to stop, drains, ends.
    ///
    /// # Errors
    ///
    /// See [`AppError`]; whatever had been started by then is ended in order.
    pub async fn run(self, mut orders: mpsc::Receiver<Order>) -> Result<Ended, AppError> {
        let registries = Registries {
            events: Bus::new(),
            metrics: Arc::default(),
            checks: Arc::default(),
            methods: Arc::default(),
        };
        let (phase, lifecycle) = Lifecycle::channel();
        let pools = self.make_pools(&registries).map_err(AppError::Start)?;
        register_rpc(&registries.methods, &pools).map_err(AppError::Start)?;
        let rpc = match &self.rpc {
            Some(path) => Some(RpcServer::bind(path).await.map_err(AppError::Start)?),
            None => None,
        };
        // Before any worker is booted: a port in use shows at once.
        let cx = BootContext {
            pools: Arc::new(NamedPools(pools.clone())),
            rpc: Arc::clone(&registries.methods) as _,
            metrics: Arc::clone(&registries.metrics) as _,
            health: Arc::clone(&registries.checks) as _,
            events: Arc::clone(&registries.events) as _,
        };
        let plugins =
            Plugins::boot(self.plugins, &cx, PLUGIN_SHUTDOWN).await.map_err(AppError::Start)?;
        let rpc = rpc
            .map(|rpc| tokio::spawn(rpc.serve(Arc::clone(&registries.methods), lifecycle.clone())));
        let mut server = Server {
            pools,
            plugins,
            rpc,
            phase,
            lifecycle,
            events: registries.events,
            grace: self.shutdown_grace,
        };
        let served = server.serve(&mut orders).await;
        let ended = server.end(&mut orders).await;
        served.map(|()| ended)
    }

    fn make_pools(&self, registries: &Registries) -> anyhow::Result<BTreeMap<String, Arc<Pool>>> {
        let mut pools = BTreeMap::new();
        for (settings, runtime) in &self.pools {
            let events = Arc::clone(&registries.events) as Arc<dyn EventBus>;
            let runtime = Arc::clone(runtime);
            let pool = Pool::new(settings, runtime, &*registries.metrics, events)?;
            let checked = Arc::clone(&pool);
            let check = Arc::new(move || checked.health());
            registries.checks.register(&format!("pool.{}", settings.name), check)?;
            pools.insert(settings.name.clone(), pool);
        }
        Ok(pools)
    }
}

/// A server that was booted.
struct Server {
    pools: BTreeMap<String, Arc<Pool>>,
    plugins: Plugins,
    rpc: Option<JoinHandle<()>>,
    phase: watch::Sender<Phase>,
    lifecycle: Lifecycle,
    events: Arc<Bus>,
    grace: Duration,
}

impl Server {
    /// Serves until told to stop.
    async fn serve(&mut self, orders: &mut mpsc::Receiver<Order>) -> Result<(), AppError> {
        for pool in self.pools.values() {
            pool.start().await;
        }
        tokio::select! {
            ready = self.pools_ready() => ready?,
            () = told_to_stop(orders) => return Ok(()),
        }
        self.enter(Phase::Serving);
        self.plugins.serve(&ServeContext { lifecycle: self.lifecycle.clone() });
        let reloader = Reloader::start(self.pools.clone());
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Reload) => reloader.ask(),
                    Some(Order::Stop) | None => return Ok(()),
                },
                Some((plugin, ended)) = self.plugins.next_ended() => {
                    let error = match ended {
                        Err(error) => error,
                        Ok(()) => anyhow::anyhow!("it returned while it should serve"),
                    };
                    return Err(AppError::Plugin { plugin, error });
                }
            }
        }
    }

    async fn pools_ready(&self) -> Result<(), AppError> {
        for (name, pool) in &self.pools {
            pool.ready().await.map_err(|error| AppError::Boot { pool: name.clone(), error })?;
        }
        Ok(())
    }

    /// Drains within the grace, then ends everything.
    async fn end(&mut self, orders: &mut mpsc::Receiver<Order>) -> Ended {
        self.enter(Phase::Draining);
        let deadline = Instant::now() + self.grace;
        let ended = tokio::select! {
            () = self.drain() => Ended::Drained,
            () = tokio::time::sleep_until(deadline) => {
                tracing::warn!(target: "folk", grace = ?self.grace, "the grace is over; what still runs is cut");
                self.cut()
            }
            () = told_to_stop(orders) => {
                tracing::warn!(target: "folk", "told to stop again; what still runs is cut");
                self.cut()
            }
        };
        self.enter(Phase::Stopping);
        // All at once: each has a bound of its own, and they must not add up.
        futures_util::future::join_all(self.pools.values().map(|pool| pool.stop())).await;
        self.plugins.shutdown().await;
        if let Some(rpc) = self.rpc.take() {
            // It watches the phase, and holds no more than connections.
            let _ended = tokio::time::timeout(PLUGIN_SHUTDOWN, rpc).await;
        }
        ended
    }

    /// Whether ending now cuts a request: workers that only take their time to end are none.
    fn cut(&self) -> Ended {
        // A plugin serves on while it has an answer to bring out.
        let works = self.plugins.is_serving() || self.pools.values().any(|pool| pool.is_working());
        if works { Ended::Cut } else { Ended::Drained }
    }

    async fn drain(&mut self) {
        // First those who bring work in, then the pools that do it.
        while let Some((plugin, ended)) = self.plugins.next_ended().await {
            if let Err(error) = ended {
                tracing::error!(target: "folk", plugin, error = format!("{error:#}"), "failed to drain");
            }
        }
        for pool in self.pools.values() {
            pool.drain().await;
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
        let name = match phase {
            Phase::Booting => "booting",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
        };
        tracing::info!(target: "folk", phase = name, "phase");
        self.events.publish(Event::Phase { phase: name.to_owned() });
    }
}

/// Reloads every pool when asked to. What is asked while a reload runs makes one more after it,
/// however often it was asked.
struct Reloader {
    asked: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Reloader {
    fn start(pools: BTreeMap<String, Arc<Pool>>) -> Self {
        let asked = Arc::new(Notify::new());
        let waits = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                waits.notified().await;
                let reloads = pools.iter().map(|(name, pool)| reload(name, pool));
                futures_util::future::join_all(reloads).await;
            }
        });
        Self { asked, task }
    }

    fn ask(&self) {
        self.asked.notify_one();
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reloads a pool; the log tells how it went.
async fn reload(name: &str, pool: &Pool) {
    match pool.reload().await {
        Ok(generation) => {
            tracing::info!(target: "folk", pool = name, r#gen = generation, "reloaded");
        }
        Err(error) => tracing::error!(
            target: "folk", pool = name, error = %OneLine(&error),
            "the reload failed; the old code goes on serving"
        ),
    }
}

/// Waits for the order to stop; others are not for now.
async fn told_to_stop(orders: &mut mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        if order == Order::Stop {
            return;
        }
        tracing::info!(target: "folk", ?order, "not now; it is left out");
    }
    // Nobody can give orders any more: only what ends by itself ends.
    std::future::pending::<()>().await;
}

struct NamedPools(BTreeMap<String, Arc<Pool>>);

impl Pools for NamedPools {
    fn executor(&self, pool: &str) -> anyhow::Result<Arc<dyn Executor>> {
        match self.0.get(pool) {
            Some(found) => Ok(Arc::clone(found) as Arc<dyn Executor>),
            None => {
                let names: Vec<_> = self.0.keys().map(|name| format!("[pools.{name}]")).collect();
                anyhow::bail!("there is no pool {pool:?}; configured are {}", names.join(", "))
            }
        }
    }
}

/// What PHP can ask of the server itself.
fn register_rpc(methods: &Methods, pools: &BTreeMap<String, Arc<Pool>>) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    methods.register("rpc.Version", json_method(move |_| Ok(version.into())))?;
    let named = pools.clone();
    let list = json_method(move |_| Ok(named.keys().cloned().collect::<Vec<_>>().into()));
    methods.register("informer.List", list)?;
    let named = pools.clone();
    let workers = json_method(move |argument| {
        let wanted = argument.as_str().unwrap_or("default");
        let pool = named.get(wanted).ok_or_else(|| {
            folk_api::rpc::RpcError::BadArgument(format!("there is no pool {wanted:?}"))
        })?;
        serde_json::to_value(serde_json::json!({ "workers": pool.slots() }))
            .map_err(|error| folk_api::rpc::RpcError::Failed(error.to_string()))
    });
    methods.register("informer.Workers", workers)
}
