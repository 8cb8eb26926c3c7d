//! The HTTP plugin: HTTP/1.1 and h2c in front of a pool of PHP workers.
//!
//! ```text
//! server      listens, accepts, drains
//! connection  one task a connection; transport and shared are what it stands on
//! stream      one task an HTTP/2 request, which ends when the client takes nothing
//! service     one request: head, static_files, convert, the pool, sendfile, compression
//! respond     the one table of errors and statuses; error_page is what they look like
//! exchange    travels with a request to the last byte; metrics and access_log hear of it there
//! ```
//!
//! What it does not do: TLS, HTTP/3, and upgrades of a running HTTP/1.1 connection to h2c or
//! WebSocket. 1xx responses go to HTTP/1.1 clients only.

mod access_log;
mod alarm;
mod compression;
pub mod config;
mod connection;
mod convert;
mod error_page;
mod exchange;
mod file;
mod head;
mod head_copy;
mod interim;
mod metrics;
mod proxies;
mod request_body;
mod request_id;
mod respond;
mod sendfile;
mod server;
mod service;
mod shared;
mod static_files;
mod stream;
mod transport;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use folk_api::config::Faults;
use folk_api::plugin::{BootContext, ConfigureContext, Plugin, ServeContext, ShutdownContext};
use folk_api::{Executor, RequestId};
use tokio::net::TcpListener;

pub use config::HttpConfig;

use access_log::AccessLog;
use compression::Compression;
use connection::Protocols;
use metrics::Metrics;
use proxies::TrustedProxies;
use request_id::RequestIds;
use sendfile::Sendfile;
use service::Service;
use static_files::StaticFiles;

/// The HTTP plugin.
#[derive(Default)]
pub struct HttpPlugin {
    config: HttpConfig,
    /// Where the access log goes instead of to standard output.
    log_out: Mutex<Option<Box<dyn Write + Send>>>,
    booted: Option<Booted>,
}

/// What `boot` made.
struct Booted {
    service: Arc<Service>,
    addresses: Vec<SocketAddr>,
    /// Taken by `serve`.
    listeners: Mutex<Vec<TcpListener>>,
}

/// The settings that are looked at for every request.
#[derive(Debug)]
pub(crate) struct Settings {
    body_limit: Option<u64>,
    body_timeout: Duration,
    max_connections: usize,
    max_headers: usize,
    debug: bool,
}

impl HttpPlugin {
    /// A plugin with the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has the access log written there instead of to standard output.
    pub fn log_to(self, out: impl Write + Send + 'static) -> Self {
        Self { log_out: Mutex::new(Some(Box::new(out))), ..self }
    }

    /// Where it listens; empty before it has booted.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.booted.as_ref().map_or(&[], |booted| &booted.addresses)
    }

    /// The first of the addresses it listens on; `None` before it has booted.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs().first().copied()
    }

    fn service(&self, executor: Arc<dyn Executor>, metrics: Metrics) -> anyhow::Result<Service> {
        let config = &self.config;
        let limits = &config.limits;
        if let Some(root) = &config.root {
            let found = std::fs::metadata(root);
            let found =
                found.with_context(|| format!("cannot use http.root {}", root.display()))?;
            anyhow::ensure!(found.is_dir(), "http.root {} is not a directory", root.display());
        }
        let lost = Arc::clone(&metrics.log_lines_lost);
        let out = self.log_out.lock().unwrap_or_else(PoisonError::into_inner).take();
        let out = out.unwrap_or_else(|| Box::new(std::io::stdout()));
        let access_log = AccessLog::start(config.access_log, out, lost)?;
        Ok(Service {
            executor,
            settings: Settings {
                body_limit: limits.body_limit(),
                body_timeout: limits.body_timeout.0,
                max_connections: limits.max_connections,
                max_headers: limits.max_headers,
                debug: config.debug,
            },
            protocols: Protocols::new(limits, config.h2c),
            proxies: TrustedProxies::new(&config.trusted_proxies, &config.forwarded),
            metrics,
            access_log,
            ids: config.request_id.then(RequestIds::new),
            no_id: RequestId::default(),
            static_files: config
                .root
                .clone()
                .map(|root| StaticFiles::new(root, config.index.clone(), &config.forbid)),
            sendfile: Sendfile::new(config.sendfile.clone()),
            compression: Compression::new(&config.compression),
        })
    }
}

#[async_trait]
impl Plugin for HttpPlugin {
    fn name(&self) -> &'static str {
        "http"
    }

    fn configure(&mut self, cx: &ConfigureContext) -> Result<(), Faults> {
        self.config = HttpConfig::read(&cx.section, &cx.pools)?;
        Ok(())
    }

    async fn boot(&mut self, cx: &BootContext) -> anyhow::Result<()> {
        let executor = cx.pools.executor(&self.config.pool)?;
        let metrics = Metrics::register(cx.metrics.as_ref())?;
        let service = Arc::new(self.service(executor, metrics)?);
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in &self.config.listen.0 {
            let listener = server::bind(address.0)?;
            addresses.push(listener.local_addr()?);
            listeners.push(listener);
        }
        self.booted = Some(Booted { service, addresses, listeners: Mutex::new(listeners) });
        Ok(())
    }

    async fn serve(self: Arc<Self>, cx: ServeContext) -> anyhow::Result<()> {
        let booted = self.booted.as_ref().context("the plugin was not booted")?;
        let listeners = {
            let mut held = booted.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *held)
        };
        for address in &booted.addresses {
            tracing::info!("http listening on http://{address}");
        }
        server::run(listeners, Arc::clone(&booted.service), cx.lifecycle).await
    }

    async fn shutdown(&self, cx: &ShutdownContext) -> anyhow::Result<()> {
        let Some(booted) = &self.booted else { return Ok(()) };
        // Held still if `serve` was never called.
        booted.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(log) = &booted.service.access_log {
            let flushed = tokio::time::timeout(cx.timeout, log.flush()).await;
            flushed.context("the access log could not be written out in time")?;
        }
        Ok(())
    }
}
