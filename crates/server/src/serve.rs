//! `folk serve`: load, build, serve, drain.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use folk_core::app::{App, AppError, Ended};
use folk_core::lifecycle::orders_from_signals;
use folk_runtime_php::process;

use crate::cli::Options;
use crate::exit_code::Failure;
use crate::settings::Settings;
use crate::{logging, open_files, settings, wiring};

/// How long threads that still do something may take to end, at the very end.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Serves until told to stop.
pub(crate) fn serve(options: &Options) -> Result<(), Failure> {
    let settings = settings::load(options)?;
    let _log = logging::init(&settings.log).map_err(folk_api::config::Faults::from)?;
    let open_files = open_files::current();
    open_files::raise();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if settings.server.threads > 0 {
        runtime.worker_threads(settings.server.threads);
    }
    let runtime = runtime
        .thread_name("folk")
        .enable_all()
        .build()
        .context("failed to start the server's threads")?;
    let ended = runtime.block_on(run(settings, open_files));
    // A thread that hangs in the kernel must not keep the process from ending.
    runtime.shutdown_timeout(LAST_THREADS);
    match ended? {
        Ended::Drained => Ok(()),
        Ended::Cut => Err(Failure::Cut),
    }
}

async fn run(settings: Settings, open_files: Option<u64>) -> Result<Ended, Failure> {
    // Listened to from the beginning: an order to stop during the boot is one.
    let orders = orders_from_signals().context("failed to listen to signals")?;
    let app = build(settings, open_files).await?;
    Ok(app.run(orders).await?)
}

async fn build(settings: Settings, open_files: Option<u64>) -> Result<App, Failure> {
    let base = settings.config.base().to_owned();
    let rpc = rpc_socket(&settings);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut pools = Vec::new();
    for (name, section) in &settings.pools {
        let boot_failed = |error| AppError::Boot { pool: name.clone(), error };
        let process = wiring::process_settings(section, &base, rpc.as_deref(), open_files);
        process::check(&process).await.map_err(boot_failed)?;
        let runtime = wiring::runtime(process).map_err(boot_failed)?;
        pools.push((section.settings(name, cores), runtime));
    }
    tracing::info!(
        target: "folk",
        version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "starting"
    );
    Ok(App {
        pools,
        plugins: settings.plugins,
        rpc,
        shutdown_grace: settings.server.shutdown_grace.0,
    })
}

fn rpc_socket(settings: &Settings) -> Option<PathBuf> {
    let path = &settings.server.rpc;
    (!path.as_os_str().is_empty()).then(|| settings.config.base().join(path))
}
