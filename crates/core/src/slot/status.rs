//! What a slot looks like from outside, kept up to date by its supervisor.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

use super::control::Control;
use super::state::SlotState;

/// A slot at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlotInfo {
    /// Its number, from 0.
    pub slot: u32,
    /// What it does.
    pub state: SlotState,
    /// Its worker's process.
    pub pid: Option<u32>,
    /// The generation its worker booted from.
    pub generation: Option<u64>,
    /// Requests its worker has finished.
    pub jobs: u64,
    /// Seconds since it has been in this state.
    pub since_seconds: f64,
    /// Seconds since its worker became ready.
    pub age_seconds: Option<f64>,
    /// Its worker's resident memory in bytes, where that can be told.
    pub memory_bytes: Option<u64>,
    /// Whether its worker may be replaced by limits and reloads.
    pub recyclable: bool,
    /// Boots that failed in a row.
    pub failures: u32,
    /// Why the last boot failed.
    pub last_error: Option<String>,
}

/// The shared record behind [`SlotInfo`].
#[derive(Debug)]
pub(crate) struct SlotStatus(Mutex<Record>);

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) state: SlotState,
    pub(crate) pid: Option<u32>,
    pub(crate) generation: Option<u64>,
    pub(crate) jobs: u64,
    pub(crate) since: Instant,
    pub(crate) ready_at: Option<Instant>,
    pub(crate) recyclable: bool,
    pub(crate) failures: u32,
    pub(crate) last_error: Option<String>,
    /// Tells the worker's memory to whoever asks.
    pub(crate) control: Option<Control>,
}

impl SlotStatus {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Record {
            state: SlotState::Booting,
            pid: None,
            generation: None,
            jobs: 0,
            since: Instant::now(),
            ready_at: None,
            recyclable: true,
            failures: 0,
            last_error: None,
            control: None,
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn info(&self, slot: u32) -> SlotInfo {
        let record = self.lock().clone();
        SlotInfo {
            slot,
            state: record.state,
            pid: record.pid,
            generation: record.generation,
            jobs: record.jobs,
            since_seconds: record.since.elapsed().as_secs_f64(),
            age_seconds: record.ready_at.map(|at| at.elapsed().as_secs_f64()),
            memory_bytes: record.control.and_then(|control| control.memory()),
            recyclable: record.recyclable,
            failures: record.failures,
            last_error: record.last_error,
        }
    }
}
