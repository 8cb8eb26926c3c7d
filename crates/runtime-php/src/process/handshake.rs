//! Meeting a new worker: it connects, says who it is and what it speaks.

use std::sync::Arc;
use std::time::Duration;

use folk_api::BootError;
use folk_api::runtime::ExitKind;
use folk_goridge::{FrameError, flags};
use serde::Deserialize;

use super::monitor::Process;
use super::php;
use super::spawn::{Door, explain};
use super::wire::{Broken, Link, Wire};
use super::worker::Dialect;
use super::{ProcessSettings, Relay};

/// The longest frame of the handshake, in bytes.
const LONGEST: u32 = 64 * 1024;
/// How long the end of a process that closed its connection is waited for.
const EXIT_PATIENCE: Duration = Duration::from_millis(500);

/// What a worker says about itself.
#[derive(Debug, Deserialize)]
struct Introduction {
    pid: u32,
    #[serde(default)]
    dialect: Option<String>,
    #[serde(default)]
    php: Option<String>,
}

/// Waits for the connection and the introduction of a worker, watching for its death meanwhile.
pub(crate) async fn meet(
    door: Door,
    process: &Arc<Process>,
    settings: &ProcessSettings,
) -> Result<(Wire, Dialect), BootError> {
    let mut introducing = std::pin::pin!(introduce(door, process, settings));
    let met = tokio::select! {
        met = &mut introducing => met,
        kind = process.exited() => {
            let said = match settings.relay {
                // What PHP said last is on the relay itself then, and that at its end.
                Relay::Pipes => tokio::time::timeout(EXIT_PATIENCE, introducing).await.ok(),
                Relay::UnixSocket => None,
            };
            let said = said.and_then(Result::err).and_then(Failed::said);
            return Err(exited(process, kind, settings, said));
        }
    };
    match met {
        Ok(met) => Ok(met),
        Err(Failed::Boot(error)) => Err(error),
        // Most likely it is just about to end, and its own words say more.
        Err(Failed::Broken(broken)) => match process.exited_within(patience(&broken)).await {
            Some(kind) => {
                let said = Failed::Broken(broken).said();
                Err(exited(process, kind, settings, said))
            }
            None => Err(not_a_worker(&broken, process, settings)),
        },
    }
}

fn patience(broken: &Broken) -> Duration {
    match broken {
        Broken::Closed { .. } => EXIT_PATIENCE,
        // It lives and prints: one moment, in case it printed its last words.
        Broken::Frame(_) | Broken::Protocol(_) | Broken::System(_) => EXIT_PATIENCE / 5,
    }
}

enum Failed {
    Boot(BootError),
    Broken(Broken),
}

impl Failed {
    /// What was on the relay instead of a frame.
    fn said(self) -> Option<String> {
        match self {
            Self::Broken(Broken::Frame(
                FrameError::NotAFrame { sample } | FrameError::Checksum { sample },
            )) => Some(sample),
            Self::Broken(_) | Self::Boot(_) => None,
        }
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

async fn introduce(
    door: Door,
    process: &Arc<Process>,
    settings: &ProcessSettings,
) -> Result<(Wire, Dialect), Failed> {
    let link = match door {
        Door::Pipes(link) => link,
        Door::Socket(socket) => {
            let accepted = socket.listener.accept().await;
            accepted.and_then(|(stream, _)| Link::socket(stream)).map_err(|error| {
                let why = explain(&error);
                let message = format!("cannot take the connection of a new worker: {why}");
                Failed::Boot(BootError::new(message))
            })?
        }
    };
    let mut wire = Wire::new(link, LONGEST, Arc::clone(process));
    let hello = format!("{{\"pid\":{}}}", std::process::id());
    match wire.write_frame(flags::CONTROL | flags::JSON, 0, hello.as_bytes()).await {
        // What it said before it closed the connection can still be read, and tells more.
        Ok(()) | Err(Broken::Closed { .. }) => {}
        Err(broken) => return Err(broken.into()),
    }
    let head = wire.head().await?;
    let frame = wire.frame(head).await?;
    let dialect = judge(&frame, process).map_err(Failed::Boot)?;
    wire.set_limit(settings.max_answer);
    Ok((wire, dialect))
}

fn judge(frame: &folk_goridge::Frame, process: &Process) -> Result<Dialect, BootError> {
    let text = || String::from_utf8_lossy(&frame.payload[..frame.payload.len().min(500)]);
    if frame.head.has(flags::ERROR) {
        return Err(BootError::new(format!("the worker refused to start: {}", text())));
    }
    if !frame.head.has(flags::CONTROL) {
        let message = "the worker sent an answer before it was asked anything; \
                       it must speak the worker protocol (Folk\\serve or spiral/roadrunner-worker)";
        return Err(BootError::new(message));
    }
    let Ok(who) = serde_json::from_slice::<Introduction>(&frame.payload) else {
        return Err(BootError::new(format!("the worker did not tell its pid, but: {}", text())));
    };
    if who.pid != process.id() {
        return Err(BootError::permanent(format!(
            "the worker says its pid is {}, but the started process is {}: `command` runs php \
             through a shell or wrapper; let that end with `exec php …`, or name php itself",
            who.pid,
            process.id()
        )));
    }
    if let Some(php) = &who.php
        && php::version(php).is_some_and(|found| found < php::OLDEST_PHP)
    {
        return Err(php::too_old(php, None));
    }
    match who.dialect.as_deref() {
        None => Ok(Dialect::RoadRunner),
        Some("folk/1") => Ok(Dialect::Folk),
        Some(other) => Err(BootError::permanent(format!(
            "the worker speaks {other}, this server folk/1; bring folk/sdk and server to the same version"
        ))),
    }
}

/// The error for a worker that ended before it was ready.
fn exited(
    process: &Process,
    kind: ExitKind,
    settings: &ProcessSettings,
    said: Option<String>,
) -> BootError {
    let mut exit = process.obituary(kind);
    if let Some(said) = said {
        exit.last_words = format!("{}\n{}", said.trim(), exit.last_words);
    }
    if let Some(rest) = exit.last_words.split("Could not open input file: ").nth(1) {
        let name = rest.lines().next().unwrap_or_default().trim();
        return php::missing_script(&settings.directory.join(name));
    }
    if kind == ExitKind::Code(127) && exit.last_words.is_empty() {
        return BootError::new(
            "worker exited with code 127 before it was ready: its command was not found",
        );
    }
    let hint = if kind == ExitKind::Code(0) {
        "; the script must go on to serve requests (Folk\\serve or a RoadRunner worker loop)"
    } else {
        ""
    };
    BootError::new(format!("worker ended before it was ready: {exit}{hint}"))
}

/// The error for a connection that carried something else than the handshake.
fn not_a_worker(broken: &Broken, process: &Process, settings: &ProcessSettings) -> BootError {
    let cure = match settings.relay {
        Relay::Pipes => {
            "is something printed to stdout? with relay = \"pipes\" it carries the protocol; \
             remove the output, or use the default relay"
        }
        Relay::UnixSocket => {
            "only the worker protocol belongs on the socket of RR_RELAY \
             (Folk\\serve or spiral/roadrunner-worker)"
        }
    };
    let message = match broken {
        Broken::Frame(error) => format!("the worker did not introduce itself: {error}; {cure}"),
        Broken::Protocol(what) | Broken::System(what) => {
            format!("the worker did not introduce itself: {what}")
        }
        Broken::Closed { .. } => match process.last_words().as_str() {
            "" => "the worker closed its connection before it introduced itself".to_owned(),
            words => format!(
                "the worker closed its connection before it introduced itself; it said: {words}"
            ),
        },
    };
    BootError::new(message)
}
