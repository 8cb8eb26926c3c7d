//! Starting a worker's process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use folk_api::{BootError, WorkerSpec};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::net::unix::pipe;
use tokio::task::JoinSet;

use super::monitor::Process;
use super::php::find_program;
use super::stderr::{self, Name, Source, Tail};
use super::wire::Link;
use super::{ProcessSettings, Relay, leftovers};

/// The version of RoadRunner whose protocol this is; some of its PHP packages look at it.
const ROADRUNNER_VERSION: &str = "2025.1.0";

/// The longest path of a socket that every system takes, in bytes.
const LONGEST_SOCKET_PATH: usize = 100;

/// A worker's process, and where the connection to it comes from.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Arc<Process>,
    pub(crate) door: Door,
}

/// Where the connection to a worker comes from.
#[derive(Debug)]
pub(crate) enum Door {
    /// It connects to this socket.
    Socket(Socket),
    /// It is there from the start.
    Pipes(Link),
}

/// A listening socket; its file is removed with it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The directory goes in the end in any case.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// The private directory of a runtime's sockets, for this user alone.
pub(crate) fn socket_directory() -> Result<TempDir, BootError> {
    let mut last = None;
    let prefix = leftovers::sockets_prefix();
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    for parent in runtime_dir.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]) {
        // Room for the directory's and the socket's own names.
        if parent.as_os_str().len() + 50 > LONGEST_SOCKET_PATH {
            continue;
        }
        leftovers::sweep_sockets(&parent);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).permissions(PermissionsExt::from_mode(0o700));
        match builder.tempdir_in(&parent) {
            Ok(directory) => return Ok(directory),
            Err(error) => last = Some(format!("in {}: {error}", parent.display())),
        }
    }
    let why = last.unwrap_or_else(|| "every temporary directory has too long a path".to_owned());
    Err(BootError::permanent(format!("cannot make a directory for the sockets of workers {why}")))
}

/// Starts the process of a worker. `sockets` is the directory for its socket.
pub(crate) fn start(
    settings: &ProcessSettings,
    sockets: &Path,
    spec: &WorkerSpec,
) -> Result<Started, BootError> {
    let mut command = command(settings, spec)?;
    match settings.relay {
        Relay::UnixSocket => {
            let socket = listen(sockets.join(format!("{}.sock", spec.serial)))?;
            command.env("RR_RELAY", format!("unix://{}", socket.path.display()));
            command.stdin(Stdio::null());
            let process = run(command, spec, |child| {
                Ok((Streams { stdout: child.stdout.take().map(OwnedFd::from) }, ()))
            })?;
            Ok(Started { process: process.0, door: Door::Socket(socket) })
        }
        Relay::Pipes => {
            command.env("RR_RELAY", "pipes");
            command.stdin(Stdio::piped());
            let (process, link) = run(command, spec, |child| {
                let none = || io::Error::other("a process without pipes");
                let tx = OwnedFd::from(child.stdin.take().ok_or_else(none)?);
                let rx = OwnedFd::from(child.stdout.take().ok_or_else(none)?);
                let tx = pipe::Sender::from_owned_fd(tx)?;
                let rx = pipe::Receiver::from_owned_fd(rx)?;
                Ok((Streams { stdout: None }, Link::Pipes { rx, tx }))
            })?;
            Ok(Started { process, door: Door::Pipes(link) })
        }
    }
}

/// The streams of a worker that go to the log, beside its standard error.
struct Streams {
    stdout: Option<OwnedFd>,
}

fn run<T>(
    mut command: Command,
    spec: &WorkerSpec,
    take: impl FnOnce(&mut Child) -> io::Result<(Streams, T)>,
) -> Result<(Arc<Process>, T), BootError> {
    let mut child = command.spawn().map_err(|error| cannot_start(&command, &error))?;
    let started = || {
        let (streams, taken) = take(&mut child)?;
        let tail = Arc::new(Tail::default());
        let name = Name { pool: spec.pool.as_str().into(), slot: spec.slot, pid: child.id() };
        let mut logs = JoinSet::new();
        let stderr = child.stderr.take().map(OwnedFd::from);
        for (source, fd) in [(Source::Stdout, streams.stdout), (Source::Stderr, stderr)] {
            if let Some(fd) = fd {
                let stream = pipe::Receiver::from_owned_fd(fd)?;
                logs.spawn(stderr::log(stream, source, name.clone(), Arc::clone(&tail)));
            }
        }
        Ok((tail, logs, taken))
    };
    let watched = match started() {
        Ok((tail, logs, taken)) => {
            Process::watch(child, tail, logs).map(|process| (process, taken))
        }
        Err(error) => {
            // Nobody else knows of it yet.
            let _gone = child.kill().and_then(|()| child.wait());
            Err(error)
        }
    };
    watched.map_err(|error| {
        BootError::new(format!("cannot watch over a new worker: {}", explain(&error)))
    })
}

fn command(settings: &ProcessSettings, spec: &WorkerSpec) -> Result<Command, BootError> {
    let program = find_program(settings)?;
    let arguments = settings.command.iter().skip(1);
    let mut command = match settings.launcher.as_deref() {
        Some([launcher, before @ ..]) => {
            let mut command = Command::new(launcher);
            command.args(before).arg(&program);
            command
        }
        Some([]) | None => Command::new(&program),
    };
    command
        .args(arguments)
        .current_dir(&settings.directory)
        .process_group(0)
        .env_clear()
        .envs(&settings.env)
        .env("RR_MODE", &settings.mode)
        .env("RR_VERSION", ROADRUNNER_VERSION)
        .env("FOLK_VERSION", env!("CARGO_PKG_VERSION"))
        .env("FOLK_POOL", &spec.pool)
        .env("FOLK_SLOT", spec.slot.to_string())
        .env("FOLK_GENERATION", spec.generation.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(rpc) = &settings.rpc {
        command.env("RR_RPC", format!("unix://{}", rpc.display()));
    }
    Ok(command)
}

fn listen(path: PathBuf) -> Result<Socket, BootError> {
    let fail = |error: io::Error| {
        BootError::new(format!("cannot open the socket for a new worker: {}", explain(&error)))
    };
    let listener = UnixListener::bind(&path).map_err(fail)?;
    let socket = Socket { listener, path };
    std::fs::set_permissions(&socket.path, PermissionsExt::from_mode(0o600)).map_err(fail)?;
    Ok(socket)
}

fn cannot_start(command: &Command, error: &io::Error) -> BootError {
    let program = Path::new(command.get_program()).display();
    let message = format!("cannot start {program}: {}", explain(error));
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => BootError::permanent(message),
        _ => BootError::new(message),
    }
}

/// The error with its cure, where there is one.
pub(crate) fn explain(error: &io::Error) -> String {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            "no file descriptor left for this process; raise its limit (ulimit -n)".to_owned()
        }
        Some(Errno::NFILE) => {
            "no file descriptor left on this machine; raise fs.file-max".to_owned()
        }
        Some(Errno::AGAIN) => {
            "no process left for this user; raise its limit (ulimit -u, pids.max)".to_owned()
        }
        Some(Errno::NOMEM) => "no memory left for another process".to_owned(),
        Some(Errno::ACCESS) => "permission denied; it must be executable by this user".to_owned(),
        _ => error.to_string(),
    }
}
