//! The process runtime: stock `php`, one process a worker, Goridge frames over a private Unix
//! socket or over pipes. The protocol is in `spec/02-worker-protocol.md`.
//!
//! ```text
//! prepare   body     a body read before a worker is taken: memory, file, form
//! spawn     spawn    socket, environment, process ─▶ monitor: who notices its end
//! ready     handshake
//! execute   worker   outgoing (http_context | roadrunner: proto, JSON) ─▶ wire ─▶ answer ─▶ head
//!                    backlog: an answer whose reader is behind
//! ```

mod afterthought;
mod answer;
mod backlog;
mod body;
mod budget;
mod form;
mod handshake;
mod head;
mod http_context;
mod leftovers;
mod monitor;
mod outgoing;
mod php;
mod php_value;
mod proto;
mod reader;
mod roadrunner;
mod settings;
mod spawn;
mod stderr;
mod wire;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use folk_api::{BootError, Error, Request, Runtime, Worker, WorkerSpec};
use tempfile::TempDir;

pub use php::{OLDEST_PHP, check, php_command};
pub use settings::{Codec, ProcessSettings, Relay};

use backlog::Backlog;
use body::Preparer;
use worker::ProcessWorker;

/// The parsers of bytes from outside, for the fuzz targets.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::form::{Array, Form, Key, Node, Upload, parse_multipart, parse_urlencoded};
    pub use super::head::{Encoding, HeadError, ResponseHead, parse as parse_head};
    pub use super::php_value::{Malformed, Reader, Token, Writer};
}

/// Makes workers out of processes that run `php`, or whatever the command is.
#[derive(Debug)]
pub struct ProcessRuntime {
    settings: Arc<ProcessSettings>,
    preparer: Preparer,
    backlog: Arc<Backlog>,
    /// Where the sockets of workers are until they connect.
    sockets: TempDir,
}

impl ProcessRuntime {
    /// A runtime for one pool. [`check`] tells more about what is wrong with the settings.
    ///
    /// # Errors
    ///
    /// There is no directory for its sockets to be made in.
    pub fn new(settings: ProcessSettings) -> Result<Self, BootError> {
        leftovers::sweep_uploads(&settings.upload_dir);
        Ok(Self {
            preparer: Preparer::new(&settings),
            backlog: Arc::new(Backlog::new(settings.upload_dir.clone(), settings.answer_files)),
            settings: Arc::new(settings),
            sockets: spawn::socket_directory()?,
        })
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn name(&self) -> &'static str {
        "process"
    }

    fn needs_preparation(&self, request: &Request) -> bool {
        matches!(request, Request::Http(http) if body::needs_preparation(http))
    }

    async fn prepare(&self, mut request: Request) -> Result<Request, Error> {
        if let Request::Http(http) = &mut request
            && body::needs_preparation(http)
        {
            self.preparer.prepare(http).await?;
        }
        Ok(request)
    }

    async fn spawn(&self, spec: &WorkerSpec) -> Result<Box<dyn Worker>, BootError> {
        let started = spawn::start(&self.settings, self.sockets.path(), spec)?;
        let (settings, backlog) = (Arc::clone(&self.settings), Arc::clone(&self.backlog));
        Ok(Box::new(ProcessWorker::new(settings, backlog, started)))
    }
}
