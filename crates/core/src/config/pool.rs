//! `[pools.NAME]`: a pool, the workers in it and the script they run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use folk_api::config::{Faults, Section};
use folk_api::units::{ByteSize, HumanDuration};
use serde::de::{
    self, Deserialize, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer,
};

use crate::pool::{PoolSettings, Workers};

/// The most workers a pool may have: a typing error should not fork the machine to death.
const MOST_WORKERS: usize = 4096;

/// A pool.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolSection {
    /// How workers are made: `process` starts the stock `php`, `embed` runs it inside a worker of
    /// the server's own, `auto` takes what is there. Default `auto`.
    pub runtime: RuntimeKind,
    /// `worker`: a script that loops over requests; `classic`: a script per request (embed only).
    /// Default `worker`.
    pub mode: Mode,
    /// The script; relative to the directory of `folk.toml`. Either this or `command`.
    pub script: Option<PathBuf>,
    /// The whole command line instead of a script (process only).
    pub command: Option<Vec<String>>,
    /// The PHP that runs `script` (process only): a name looked up in `PATH`, or a path. Default
    /// `php`.
    pub php: String,
    /// How the server speaks with workers (process only): `socket`, or `pipes` over standard input
    /// and output. Default `socket`.
    pub relay: Relay,
    /// The encoding for RoadRunner workers (process only): `json`, which every roadrunner-http 3
    /// reads and which needs no protobuf runtime, or `proto`, which carries bytes that are not
    /// UTF-8. Default `json`.
    pub codec: Codec,
    /// How many workers: a number, `auto` for one per core, or `{ min = 2, max = 16 }`. Default
    /// `auto`.
    pub workers: WorkerCount,
    /// `fork` from a booted template, or `cold` (embed only). Default `fork`.
    pub boot: Boot,
    /// How long a worker may take to become ready. Default `30s`.
    pub boot_timeout: HumanDuration,
    /// How long a request may take, from admission on. Default `30s`.
    pub exec_timeout: HumanDuration,
    /// Between the soft stop of a late request and the kill of its worker. Default `2s`.
    pub soft_timeout_grace: HumanDuration,
    /// How long a worker may take to end when it is asked to. Default `10s`.
    pub stop_timeout: HumanDuration,
    /// Requests after which a worker is replaced, less up to a tenth; 0 for no limit. Default 1000.
    pub max_jobs: u64,
    /// Age at which a worker is replaced, less up to a tenth; `0s` for no limit. Default `1h`.
    pub ttl: HumanDuration,
    /// Time without a request after which a worker is replaced; `0s`, the default, for no limit.
    pub idle_ttl: HumanDuration,
    /// Resident memory above which a worker is replaced; `0B` for no limit. Default `256MiB`.
    pub max_memory: ByteSize,
    /// Requests that wait for a worker. Default `{ max = 1024, timeout = "5s" }`.
    pub queue: QueueSection,
    /// What becomes of a running request whose client left: `finish` it, or `cancel` it by stopping
    /// its worker. Default `finish`.
    pub on_client_gone: OnClientGone,
    /// Where uploads and large bodies are kept meanwhile. Default: the system's directory for
    /// temporary files.
    pub upload_dir: Option<PathBuf>,
    /// The environment of the workers: just this, and what the server tells them. Default empty.
    pub env: BTreeMap<String, EnvValue>,
}

/// The queue of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSection {
    /// Requests that may wait; more are refused at once. Default 1024.
    pub max: usize,
    /// How long one may wait; it is refused then. Default `5s`.
    pub timeout: HumanDuration,
}

/// How workers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// What is there.
    Auto,
    /// PHP inside a worker of the server's own.
    Embed,
    /// The stock `php`.
    Process,
}

/// What a script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A loop over requests.
    Worker,
    /// One request.
    Classic,
}

/// How the server speaks with a worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relay {
    /// A private Unix socket.
    Socket,
    /// Standard input and output.
    Pipes,
}

/// The encoding of requests for RoadRunner workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Protocol buffers.
    Proto,
    /// JSON.
    Json,
}

/// How embedded workers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boot {
    /// As forks of a booted template.
    Fork,
    /// Each by itself.
    Cold,
}

/// What becomes of a running request whose client left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnClientGone {
    /// It is finished.
    Finish,
    /// Its worker is stopped.
    Cancel,
}

/// How many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCount {
    /// One per core.
    Auto,
    /// So many.
    Fixed(usize),
    /// Between two bounds.
    Between {
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
}

/// The value of an environment variable: a text, or a number or boolean written as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvValue(pub String);

impl Default for PoolSection {
    fn default() -> Self {
        Self {
            runtime: RuntimeKind::Auto,
            mode: Mode::Worker,
            script: None,
            command: None,
            php: "php".to_owned(),
            relay: Relay::Socket,
            codec: Codec::Json,
            workers: WorkerCount::Auto,
            boot: Boot::Fork,
            boot_timeout: HumanDuration(Duration::from_secs(30)),
            exec_timeout: HumanDuration(Duration::from_secs(30)),
            soft_timeout_grace: HumanDuration(Duration::from_secs(2)),
            stop_timeout: HumanDuration(Duration::from_secs(10)),
            max_jobs: 1000,
            ttl: HumanDuration(Duration::from_secs(3600)),
            idle_ttl: HumanDuration(Duration::ZERO),
            max_memory: ByteSize(256 << 20),
            queue: QueueSection::default(),
            on_client_gone: OnClientGone::Finish,
            upload_dir: None,
            env: BTreeMap::new(),
        }
    }
}

impl Default for QueueSection {
    fn default() -> Self {
        Self { max: 1024, timeout: HumanDuration(Duration::from_secs(5)) }
    }
}

impl PoolSection {
    /// Reads and checks a pool's section.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn read(section: &Section) -> Result<Self, Faults> {
        let read: Self = section.read()?;
        let mut faults = Faults::default();
        let mut fault = |key: &str, message: String| faults.push(section.fault(key, message));
        match read.workers {
            WorkerCount::Fixed(0) | WorkerCount::Between { max: 0, .. } => {
                fault("workers", "must be at least 1: nobody would answer".into());
            }
            WorkerCount::Between { min, max } if min > max => {
                fault("workers", format!("min is {min}, more than max, which is {max}"));
            }
            WorkerCount::Fixed(count) | WorkerCount::Between { max: count, .. }
                if count > MOST_WORKERS =>
            {
                fault("workers", format!("is {count}, more than {MOST_WORKERS}"));
            }
            _ => {}
        }
        for (key, duration) in [
            ("boot_timeout", read.boot_timeout),
            ("exec_timeout", read.exec_timeout),
            ("stop_timeout", read.stop_timeout),
        ] {
            if duration.0.is_zero() {
                fault(key, "must be longer than zero: every wait has an end".into());
            }
        }
        match (&read.script, &read.command) {
            (None, None) => fault("script", "is missing; name the worker script".into()),
            (Some(_), Some(_)) => fault("command", "stands beside script; keep one".into()),
            (None, Some(command)) if command.first().is_none_or(String::is_empty) => {
                fault("command", "is empty".into());
            }
            _ => {}
        }
        if read.mode == Mode::Classic && read.runtime == RuntimeKind::Process {
            fault("mode", "classic needs runtime = \"embed\"".into());
        }
        for key in read.env.keys().filter(|key| key.is_empty() || key.contains(['=', '\0'])) {
            fault("env", format!("{key:?} is not a name of a variable"));
        }
        faults.or_ok(read)
    }

    /// What the pool itself needs of it. `cores` are those of the machine.
    pub fn settings(&self, name: &str, cores: usize) -> PoolSettings {
        PoolSettings {
            name: name.to_owned(),
            workers: match self.workers {
                WorkerCount::Auto => Workers::fixed(cores.max(1)),
                WorkerCount::Fixed(count) => Workers::fixed(count),
                WorkerCount::Between { min, max } => Workers { min, max },
            },
            boot_timeout: self.boot_timeout.0,
            exec_timeout: self.exec_timeout.0,
            soft_timeout_grace: self.soft_timeout_grace.0,
            terminate_grace: self.stop_timeout.0,
            max_jobs: self.max_jobs,
            ttl: self.ttl.0,
            idle_ttl: self.idle_ttl.0,
            max_memory: self.max_memory.0,
            queue_max: self.queue.max,
            queue_timeout: self.queue.timeout.0,
            cancel_abandoned: self.on_client_gone == OnClientGone::Cancel,
        }
    }
}

impl<'de> Deserialize<'de> for WorkerCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;

        impl<'de> Visitor<'de> for CountVisitor {
            type Value = WorkerCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"auto\" or { min = 2, max = 16 }")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<WorkerCount, E> {
                Ok(WorkerCount::Fixed(usize::try_from(count).unwrap_or(usize::MAX)))
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<WorkerCount, E> {
                let count = u64::try_from(count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(count), &self))?;
                self.visit_u64(count)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WorkerCount, E> {
                match text {
                    "auto" => Ok(WorkerCount::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WorkerCount, A::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Bounds {
                    min: usize,
                    max: usize,
                }
                let bounds = Bounds::deserialize(MapAccessDeserializer::new(map))?;
                Ok(WorkerCount::Between { min: bounds.min, max: bounds.max })
            }
        }

        deserializer.deserialize_any(CountVisitor)
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl Visitor<'_> for ValueVisitor {
            type Value = EnvValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<EnvValue, E> {
                Ok(EnvValue(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<EnvValue, E> {
                Ok(EnvValue(flag.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<EnvValue, E> {
                Ok(EnvValue(number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<EnvValue, E> {
                Ok(EnvValue(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<EnvValue, E> {
                Ok(EnvValue(number.to_string()))
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}
