//! `folk serve`: load, build, serve, drain.

use std::path::PathBuf;

use anyhow::Context;
use folk_core::app::{App, AppError, Ended};
use folk_core::lifecycle::orders_from_signals;
use folk_runtime_php::process;

use crate::cli::Options;
use crate::exit_code::Failure;
use crate::settings::Settings;
use crate::{logging, settings, wiring};

/// Serves until told to stop.
pub(crate) fn serve(options: &Options) -> Result<(), Failure> {
    let settings = settings::load(options)?;
    logging::init(&settings.log).map_err(folk_api::config::Faults::from)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if settings.server.threads > 0 {
        runtime.worker_threads(settings.server.threads);
    }
    let runtime = runtime
        .thread_name("folk")
        .enable_all()
        .build()
        .context("failed to start the server's threads")?;
    let ended = runtime.block_on(run(settings))?;
    match ended {
        Ended::Drained => Ok(()),
        Ended::Cut => Err(Failure::Cut),
    }
}

async fn run(settings: Settings) -> Result<Ended, Failure> {
    // Listened to from the beginning: an order to stop during the boot is one.
    let orders = orders_from_signals().context("failed to listen to signals")?;
    let app = build(settings).await?;
    Ok(app.run(orders).await?)
}

async fn build(settings: Settings) -> Result<App, Failure> {
    let base = settings.config.base().to_owned();
    let rpc = rpc_socket(&settings);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut pools = Vec::new();
    for (name, section) in &settings.pools {
        let boot_failed = |error| AppError::Boot { pool: name.clone(), error };
        let process = wiring::process_settings(section, &base, rpc.as_deref());
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
