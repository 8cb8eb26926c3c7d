//! What the process runtime is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How to start the workers of a pool and how to speak with them.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// The command and its arguments. The first is looked up in the `PATH` of the server; one with
    /// a slash in it is relative to `directory`.
    pub command: Vec<String>,
    /// The working directory of the workers: that of `folk.toml`.
    pub directory: PathBuf,
    /// The environment of the workers. They get this, what the protocol adds, and nothing else.
    pub env: BTreeMap<String, String>,
    /// What carries the frames.
    pub relay: Relay,
    /// How contexts are encoded for workers that do not speak the folk dialect.
    pub codec: Codec,
    /// `RR_MODE`: `http` or `jobs`.
    pub mode: String,
    /// The server's RPC socket, where it has one.
    pub rpc: Option<PathBuf>,
    /// Where uploads and large bodies are kept while their request runs.
    pub upload_dir: PathBuf,
    /// The longest frame a worker may send, in bytes.
    pub max_answer: u32,
    /// The largest body that is gathered in memory, in bytes. Larger ones go to a file.
    pub memory_body: usize,
    /// How much memory the bodies and forms of requests that have no worker yet, and the forms of
    /// those that have one, may take together, in bytes. Beyond it requests are refused as busy.
    pub memory_prepared: u64,
    /// How much of answers whose readers are behind may wait in files in `upload_dir`, in bytes.
    /// Beyond it such an answer holds its worker.
    pub answer_files: u64,
    /// A command that runs the worker's command in its own place (same pid), put before it.
    pub launcher: Option<Vec<String>>,
}

impl ProcessSettings {
    /// Settings for `command`, run in `directory`, with the default of everything else.
    pub fn new(command: Vec<String>, directory: impl Into<PathBuf>) -> Self {
        Self {
            command,
            directory: directory.into(),
            env: BTreeMap::new(),
            relay: Relay::default(),
            codec: Codec::default(),
            mode: "http".to_owned(),
            rpc: None,
            upload_dir: std::env::temp_dir(),
            max_answer: 1 << 30,
            memory_body: 64 * 1024,
            memory_prepared: 128 << 20,
            answer_files: 1 << 30,
            launcher: None,
        }
    }
}

/// What carries the frames between server and worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Relay {
    /// A private Unix socket: nothing the application prints can get between the frames.
    #[default]
    UnixSocket,
    /// Standard input and output of the worker, for workers that know nothing else.
    Pipes,
}

/// How contexts are encoded for workers that do not speak the folk dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// JSON, which every `spiral/roadrunner-http` from 3 on reads without anything more.
    #[default]
    Json,
    /// Protocol buffers, from 3.5 on and with a protobuf runtime for PHP. Carries header bytes that
    /// are not UTF-8.
    Proto,
}
