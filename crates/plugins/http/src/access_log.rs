//! The access log: a line a request, written by a thread of its own.
//!
//! Requests hand their lines over without waiting; when the writer is behind, lines are lost and
//! counted rather than requests held up. What could hold a secret stays out: `Authorization`,
//! cookies, and the query strings of target and referer.

mod format;

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use folk_api::RequestId;
use folk_api::metrics::Counter;
use http::request::Parts;
use http::{HeaderValue, Method, Uri, Version};
use tokio::sync::oneshot;

use crate::config::AccessLogFormat;
use crate::head::Noted;

/// Lines that wait for the writer at a time.
const CAPACITY: usize = 8192;

/// Bytes after which the writer writes even though more lines wait.
const BATCH: usize = 64 << 10;

/// What is known of a request when it comes in.
pub(crate) struct Entry {
    pub(crate) client: IpAddr,
    pub(crate) time: SystemTime,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) id: RequestId,
}

impl Entry {
    pub(crate) fn new(parts: &Parts, noted: &Noted, id: &RequestId, client: IpAddr) -> Self {
        Self {
            client,
            time: SystemTime::now(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            referer: noted.referer.clone(),
            user_agent: noted.user_agent.clone(),
            id: id.clone(),
        }
    }
}

/// A line to be written.
pub(crate) struct Line {
    pub(crate) entry: Box<Entry>,
    pub(crate) status: u16,
    pub(crate) sent: u64,
    pub(crate) took: Duration,
    pub(crate) outcome: &'static str,
}

enum Message {
    Line(Line),
    /// Says when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// The access log.
pub(crate) struct AccessLog {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    lost_metric: Arc<dyn Counter>,
}

impl AccessLog {
    /// Starts the writer; `None` when the log is off.
    pub(crate) fn start(
        format: AccessLogFormat,
        out: impl Write + Send + 'static,
        lost_metric: Arc<dyn Counter>,
    ) -> anyhow::Result<Option<Self>> {
        let format = match format {
            AccessLogFormat::Off => return Ok(None),
            AccessLogFormat::Text => format::text,
            AccessLogFormat::Json => format::json,
        };
        let (lines, waiting) = sync_channel(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer { waiting, out, format, lost: Arc::clone(&lost) };
        // Standard output may block, which must not hold up a task of the runtime.
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok(Some(Self { lines, lost, lost_metric }))
    }

    /// Hands a line over. Never waits.
    pub(crate) fn write(&self, line: Line) {
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.lost_metric.add(1);
        }
    }

    /// Waits until everything handed over so far is written. Bounded by the caller.
    pub(crate) async fn flush(&self) {
        let (tx, rx) = oneshot::channel();
        let mut message = Message::Flush(tx);
        while let Err(std::sync::mpsc::TrySendError::Full(back)) = self.lines.try_send(message) {
            message = back;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The writer being gone means that there is nothing left to write.
        let _gone = rx.await;
    }
}

struct Writer<W> {
    waiting: Receiver<Message>,
    out: W,
    format: fn(&Line, &mut Vec<u8>),
    lost: Arc<AtomicU64>,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        let mut batch = Vec::new();
        while let Ok(first) = self.waiting.recv() {
            let mut flushed = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Line(line) => (self.format)(&line, &mut batch),
                    Message::Flush(done) => flushed.push(done),
                }
                next = if batch.len() < BATCH { self.waiting.try_recv().ok() } else { None };
            }
            self.write_out(&batch);
            batch.clear();
            batch.shrink_to(2 * BATCH);
            for done in flushed {
                // Whoever asked does not wait any more, which is fine.
                let _left = done.send(());
            }
        }
    }

    fn write_out(&mut self, batch: &[u8]) {
        if let Err(error) = self.out.write_all(batch).and_then(|()| self.out.flush()) {
            tracing::warn!(%error, "cannot write the access log");
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "the access log's reader is too slow; lines were lost");
        }
    }
}

#[cfg(test)]
mod tests;
