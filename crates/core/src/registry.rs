//! The plugins of the server, through their lives.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use folk_api::plugin::{BootContext, Plugin, ServeContext, ShutdownContext};
use futures_util::FutureExt;
use tokio::task::JoinSet;

/// How long a plugin may take to boot.
const BOOT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a plugin that serves may take to notice that it was cut. Only one that blocks its thread
/// takes longer.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Booted plugins, in the order they were booted.
#[derive(Default)]
pub struct Plugins {
    booted: Vec<Arc<dyn Plugin>>,
    serving: JoinSet<(&'static str, anyhow::Result<()>)>,
    shutdown_timeout: Duration,
}

impl Plugins {
    /// Boots `plugins` in order. When one fails, those before it, and what it took itself, are
    /// released in reverse order.
    ///
    /// # Errors
    ///
    /// What the plugin said, under its name.
    pub async fn boot(
        plugins: Vec<Box<dyn Plugin>>,
        cx: &BootContext,
        shutdown_timeout: Duration,
    ) -> anyhow::Result<Self> {
        let mut registry = Self { shutdown_timeout, ..Self::default() };
        for mut plugin in plugins {
            let name = plugin.name();
            let booting = AssertUnwindSafe(plugin.boot(cx)).catch_unwind();
            let booted = match tokio::time::timeout(BOOT_TIMEOUT, booting).await {
                Ok(Ok(booted)) => booted,
                Ok(Err(_panic)) => Err(anyhow::anyhow!("panicked while booting")),
                Err(_elapsed) => Err(anyhow::anyhow!("did not boot within {BOOT_TIMEOUT:?}")),
            };
            // Also the one that failed: it may hold part of what it came for.
            registry.booted.push(Arc::from(plugin));
            if let Err(error) = booted {
                registry.shutdown().await;
                return Err(error.context(format!("failed to start plugin {name}")));
            }
            tracing::debug!(target: "folk::plugin", plugin = name, "booted");
        }
        Ok(registry)
    }

    /// Lets every plugin take work.
    pub fn serve(&mut self, cx: &ServeContext) {
        for plugin in &self.booted {
            let name = plugin.name();
            let serving = Arc::clone(plugin).serve(cx.clone());
            self.serving.spawn(async move {
                let served = AssertUnwindSafe(serving).catch_unwind().await;
                (name, served.unwrap_or_else(|_| Err(anyhow::anyhow!("panicked while serving"))))
            });
        }
    }

    /// Waits until the next plugin stopped serving, and says which and how. `None` when all did.
    pub async fn next_ended(&mut self) -> Option<(&'static str, anyhow::Result<()>)> {
        match self.serving.join_next().await? {
            Ok(ended) => Some(ended),
            Err(error) => Some(("?", Err(error.into()))),
        }
    }

    /// Whether one still serves.
    pub fn is_serving(&self) -> bool {
        !self.serving.is_empty()
    }

    /// Cuts what still serves and releases everything, in reverse order, each within its time.
    pub async fn shutdown(&mut self) {
        self.serving.abort_all();
        let cutting = async { while self.serving.join_next().await.is_some() {} };
        if tokio::time::timeout(CUT_TIMEOUT, cutting).await.is_err() {
            tracing::error!(target: "folk::plugin", "a plugin blocks its thread and cannot be cut");
        }
        let cx = ShutdownContext { timeout: self.shutdown_timeout };
        while let Some(plugin) = self.booted.pop() {
            let name = plugin.name();
            let ending = AssertUnwindSafe(plugin.shutdown(&cx)).catch_unwind();
            match tokio::time::timeout(cx.timeout, ending).await {
                Ok(Ok(Ok(()))) => {
                    tracing::debug!(target: "folk::plugin", plugin = name, "shut down");
                }
                Ok(Ok(Err(error))) => {
                    tracing::error!(target: "folk::plugin", plugin = name, error = format!("{error:#}"), "failed to shut down");
                }
                Ok(Err(_panic)) => {
                    tracing::error!(target: "folk::plugin", plugin = name, "panicked while shutting down");
                }
                Err(_elapsed) => {
                    tracing::error!(target: "folk::plugin", plugin = name, timeout = ?cx.timeout, "did not shut down in time");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use folk_api::Executor;
    use folk_api::config::Faults;
    use folk_api::plugin::{ConfigureContext, Pools};

    use super::*;
    use crate::events::Bus;
    use crate::health::Checks;
    use crate::metrics::Metrics;
    use crate::rpc::Methods;

    type Diary = Arc<Mutex<Vec<String>>>;

    #[derive(Clone, Copy, PartialEq)]
    enum Mood {
        Good,
        FailsToBoot,
        PanicsInBoot,
        HangsInShutdown,
        PanicsInShutdown,
    }

    struct Fake(&'static str, Mood, Diary);

    impl Fake {
        fn note(&self, what: &str) {
            self.2.lock().unwrap().push(format!("{} {what}", self.0));
        }
    }

    #[async_trait]
    impl Plugin for Fake {
        fn name(&self) -> &'static str {
            self.0
        }

        fn configure(&mut self, _cx: &ConfigureContext) -> Result<(), Faults> {
            Ok(())
        }

        async fn boot(&mut self, _cx: &BootContext) -> anyhow::Result<()> {
            self.note("boot");
            match self.1 {
                Mood::FailsToBoot => anyhow::bail!("no luck"),
                Mood::PanicsInBoot => panic!("no luck"),
                _ => Ok(()),
            }
        }

        async fn serve(self: Arc<Self>, _cx: ServeContext) -> anyhow::Result<()> {
            Ok(())
        }

        async fn shutdown(&self, _cx: &ShutdownContext) -> anyhow::Result<()> {
            self.note("shutdown");
            match self.1 {
                Mood::HangsInShutdown => std::future::pending().await,
                Mood::PanicsInShutdown => panic!("no luck"),
                _ => Ok(()),
            }
        }
    }

    struct NoPools;

    impl Pools for NoPools {
        fn executor(&self, pool: &str) -> anyhow::Result<Arc<dyn Executor>> {
            anyhow::bail!("there is no pool {pool}")
        }
    }

    fn context() -> BootContext {
        BootContext {
            pools: Arc::new(NoPools),
            rpc: Arc::new(Methods::default()),
            metrics: Arc::new(Metrics::default()),
            health: Arc::new(Checks::default()),
            events: Bus::new(),
        }
    }

    async fn boot(moods: [Mood; 3]) -> (anyhow::Result<Plugins>, Diary) {
        let diary = Diary::default();
        let names = ["a", "b", "c"].into_iter().zip(moods);
        let plugins = names
            .map(|(name, mood)| Box::new(Fake(name, mood, Arc::clone(&diary))) as Box<dyn Plugin>)
            .collect();
        (Plugins::boot(plugins, &context(), Duration::from_secs(1)).await, diary)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_boot_rolls_back_in_reverse_order_and_names_the_plugin() {
        for mood in [Mood::FailsToBoot, Mood::PanicsInBoot] {
            let (booted, diary) = boot([Mood::Good, mood, Mood::Good]).await;
            let error = format!("{:#}", booted.err().unwrap());
            assert!(error.starts_with("failed to start plugin b: "), "{error}");
            assert_eq!(*diary.lock().unwrap(), ["a boot", "b boot", "b shutdown", "a shutdown"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_that_hangs_or_panics_in_shutdown_keeps_no_other_from_it() {
        let moods = [Mood::Good, Mood::HangsInShutdown, Mood::PanicsInShutdown];
        let (booted, diary) = boot(moods).await;
        booted.unwrap().shutdown().await;
        assert_eq!(diary.lock().unwrap()[3..], ["c shutdown", "b shutdown", "a shutdown"]);
    }
}
