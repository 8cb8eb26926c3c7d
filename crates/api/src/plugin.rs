//! What brings work in, and how it lives.
//!
//! A plugin goes through four steps, each with a context that holds just what the step may touch:
//!
//! | step | called | may | must not |
//! |---|---|---|---|
//! | [`configure`](Plugin::configure) | once, also by `folk check` | read its section | do I/O |
//! | [`boot`](Plugin::boot) | once, in order of registration | bind, register, get executors | take work |
//! | [`serve`](Plugin::serve) | once, as a task of its own | take work until the drain | outlive `stopping` |
//! | [`shutdown`](Plugin::shutdown) | once, in reverse order | release what `boot` took | wait for ever |
//!
//! If a `boot` fails, the plugins booted before it are shut down in reverse order and the server
//! does not start. Every `shutdown` has a deadline; a panic in any step is contained and named.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config::{Faults, Section};
use crate::events::EventBus;
use crate::executor::Executor;
use crate::health::HealthRegistry;
use crate::lifecycle::Lifecycle;
use crate::metrics::MetricsRegistry;
use crate::rpc::RpcRegistry;

/// A part of the server that brings work in.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// Its name, which is also that of its section in `folk.toml`.
    fn name(&self) -> &'static str;

    /// Takes its settings. Every fault of the section is returned, not only the first.
    fn configure(&mut self, cx: &ConfigureContext) -> Result<(), Faults>;

    /// Binds its listeners, registers its methods, metrics and checks. Takes no work yet.
    async fn boot(&mut self, cx: &BootContext) -> anyhow::Result<()>;

    /// Takes work until [`Lifecycle::draining`], finishes what runs, returns. What still runs at
    /// [`Lifecycle::stopping`] is dropped. A plugin that returns before the drain ends the server: it
    /// cannot do its work any more. One that has nothing to do here leaves this as it is.
    async fn serve(self: Arc<Self>, cx: ServeContext) -> anyhow::Result<()> {
        cx.lifecycle.draining().await;
        Ok(())
    }

    /// Releases what [`boot`](Self::boot) took.
    async fn shutdown(&self, cx: &ShutdownContext) -> anyhow::Result<()> {
        let _ = cx;
        Ok(())
    }
}

/// What [`Plugin::configure`] may touch.
#[derive(Debug, Clone)]
pub struct ConfigureContext {
    /// The plugin's section of the configuration.
    pub section: Section,
    /// The names of the configured pools.
    pub pools: Vec<String>,
}

/// What [`Plugin::boot`] may touch.
#[derive(Clone)]
pub struct BootContext {
    /// The pools, by name.
    pub pools: Arc<dyn Pools>,
    /// Methods for PHP.
    pub rpc: Arc<dyn RpcRegistry>,
    /// Numbers for operators.
    pub metrics: Arc<dyn MetricsRegistry>,
    /// Checks for load balancers.
    pub health: Arc<dyn HealthRegistry>,
    /// What happens in the server.
    pub events: Arc<dyn EventBus>,
}

/// What [`Plugin::serve`] may touch.
#[derive(Clone)]
pub struct ServeContext {
    /// When to stop taking work, and when to be gone.
    pub lifecycle: Lifecycle,
}

/// What [`Plugin::shutdown`] may touch.
#[derive(Debug, Clone)]
pub struct ShutdownContext {
    /// How long it may take; it is dropped after.
    pub timeout: Duration,
}

/// The pools of the server.
pub trait Pools: Send + Sync {
    /// The executor of the pool of this name.
    ///
    /// # Errors
    ///
    /// There is no such pool; the message names those there are.
    fn executor(&self, pool: &str) -> anyhow::Result<Arc<dyn Executor>>;
}
