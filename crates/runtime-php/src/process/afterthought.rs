//! What a RoadRunner worker says after it answered with an error.
//!
//! The worker loop that RoadRunner documents answers a failed request with status 500 *and* reports
//! the exception in an ERROR frame. That second frame would be read as the answer to the next
//! request. Such workers answer the question for their pid at any time, in order, so after an
//! answer from 500 on the question is asked and everything up to its answer is taken off.

use std::time::Duration;

use folk_api::{Error, OneLine};
use folk_goridge::flags;

use super::monitor::Process;
use super::wire::{Broken, Wire};
use super::worker::fault;

/// How long the worker may take for it. It is between two requests and does nothing else.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many reports are heard; a worker that never ends is replaced.
const MOST: usize = 16;

/// Takes the reports off the connection and logs them.
pub(crate) async fn hear_out(wire: &mut Wire, process: &Process) -> Result<(), Error> {
    match tokio::time::timeout(PATIENCE, ask(wire, process)).await {
        Ok(heard) => heard.map_err(fault),
        Err(_elapsed) => {
            Err(Error::Protocol("did not say after an error that it is well".to_owned()))
        }
    }
}

async fn ask(wire: &mut Wire, process: &Process) -> Result<(), Broken> {
    let question = format!("{{\"pid\":{}}}", std::process::id());
    wire.write_frame(flags::CONTROL | flags::JSON, 0, question.as_bytes()).await?;
    for _ in 0..MOST {
        let head = wire.head().await?;
        let frame = wire.frame(head).await?;
        if frame.head.has(flags::CONTROL) {
            return Ok(());
        }
        if !frame.head.has(flags::ERROR) {
            return Err(Broken::Protocol("it answered more than it was asked".to_owned()));
        }
        let report = String::from_utf8_lossy(&frame.payload);
        let report = OneLine(report);
        tracing::warn!(target: "folk::worker", pid = process.id(), %report, "the application failed");
    }
    Err(Broken::Protocol(format!("it reported more than {MOST} errors of one request")))
}
