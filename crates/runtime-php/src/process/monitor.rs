//! One worker's process: who it is, how it is killed, how its end is noticed.
//!
//! A task per worker owns the [`Child`] and waits for its end, so that a death is noticed without
//! traffic. It kills what is left of the process group *before* it reaps the leader: until then
//! the pid, and with it the group's id, cannot belong to anybody else.

use std::io;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use folk_api::WorkerControl;
use folk_api::runtime::{Exit, ExitKind};
use rustix::process::{Pid, Signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::stderr::Tail;

/// How long the last output of a dead worker is waited for. Only a process that left the group
/// can keep its end of the pipes open for longer.
const LAST_OUTPUT: Duration = Duration::from_millis(100);
/// How often the end is looked for where the system cannot tell it.
const POLL: Duration = Duration::from_millis(20);

/// A process that runs, or ran.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Whether the pid still means this process. Held while a signal is sent.
    ours: Mutex<bool>,
    /// It was killed from here, and its end is only a matter of time.
    killed: AtomicBool,
    exit: watch::Sender<Option<ExitKind>>,
    tail: Arc<Tail>,
}

impl Process {
    /// Watches over `child`, the leader of its own process group. `logs` end when its output does.
    pub(crate) fn watch(child: Child, tail: Arc<Tail>, logs: JoinSet<()>) -> io::Result<Arc<Self>> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a process without a pid"))?;
        let exit = watch::Sender::new(None);
        let process = Arc::new(Self {
            pid,
            ours: Mutex::new(true),
            killed: AtomicBool::new(false),
            exit,
            tail,
        });
        let keeper = Keeper { child, process: Arc::clone(&process) };
        tokio::spawn(keeper.keep(logs));
        Ok(process)
    }

    /// Its pid.
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// How it ended, when it has.
    pub(crate) fn exit(&self) -> Option<ExitKind> {
        *self.exit.borrow()
    }

    /// Whether it was killed from here, or has ended already.
    pub(crate) fn is_doomed(&self) -> bool {
        self.killed.load(Ordering::Acquire) || self.exit().is_some()
    }

    /// Waits until it has ended, its output is read and it is reaped.
    pub(crate) async fn exited(&self) -> ExitKind {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(kind) => kind.unwrap_or(ExitKind::Unknown),
            // Not reached: the sender lives in `self`.
            Err(_) => ExitKind::Unknown,
        }
    }

    /// The same, for at most `patience`.
    pub(crate) async fn exited_within(&self, patience: Duration) -> Option<ExitKind> {
        if let Some(kind) = self.exit() {
            return Some(kind);
        }
        tokio::time::timeout(patience, self.exited()).await.ok()
    }

    /// What is to be told about an end of this kind.
    pub(crate) fn obituary(&self, kind: ExitKind) -> Exit {
        Exit { kind, last_words: self.last_words() }
    }

    /// The last lines it printed.
    pub(crate) fn last_words(&self) -> String {
        self.tail.text()
    }

    fn kill_group(&self) {
        self.killed.store(true, Ordering::Release);
        let ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        if *ours {
            // It fails only when nobody is left in the group.
            let _gone = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// Reaps the leader if it has ended, after the rest of its group was killed.
    fn reap(&self, child: &mut Child) -> Option<ExitKind> {
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        let _gone = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let status = match child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => Some(status),
            Err(_) => None,
        };
        *ours = false;
        Some(status.map_or(ExitKind::Unknown, exit_kind))
    }
}

impl WorkerControl for Process {
    fn pid(&self) -> Option<u32> {
        Some(self.id())
    }

    /// Stock PHP has no way to be asked.
    fn soft_stop(&self) -> bool {
        false
    }

    fn kill(&self) {
        self.kill_group();
    }

    fn memory(&self) -> Option<u64> {
        if self.exit().is_some() {
            return None;
        }
        resident_memory(self.pid)
    }
}

fn exit_kind(status: std::process::ExitStatus) -> ExitKind {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitKind::Code(code),
        (None, Some(signal)) => ExitKind::Signal(signal),
        (None, None) => ExitKind::Unknown,
    }
}

/// Owns the child until it is reaped.
struct Keeper {
    child: Child,
    process: Arc<Process>,
}

impl Keeper {
    async fn keep(mut self, mut logs: JoinSet<()>) {
        ended(self.process.pid).await;
        let kind = loop {
            if let Some(kind) = self.process.reap(&mut self.child) {
                break kind;
            }
            tokio::time::sleep(POLL).await;
        };
        let output = async { while logs.join_next().await.is_some() {} };
        let _late = tokio::time::timeout(LAST_OUTPUT, output).await;
        self.process.exit.send_replace(Some(kind));
    }
}

impl Drop for Keeper {
    /// Reached with a living child only when the async runtime goes down under it.
    fn drop(&mut self) {
        self.process.kill_group();
    }
}

/// Waits until the process has ended, without reaping it.
#[cfg(target_os = "linux")]
async fn ended(pid: Pid) {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    // The successor of `with_interest` is unsafe, for types that may close their descriptor early.
    // An `OwnedFd` does not.
    #[allow(deprecated)]
    let watched = pidfd_open(pid, PidfdFlags::NONBLOCK)
        .map_err(io::Error::from)
        .and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE));
    let readable = match &watched {
        Ok(fd) => fd.readable().await.is_ok(),
        Err(_) => false,
    };
    if !readable {
        // An old kernel, or no file descriptor left.
        ended_by_polling(pid).await;
    }
}

/// Waits until the process has ended, without reaping it.
#[cfg(not(target_os = "linux"))]
async fn ended(pid: Pid) {
    ended_by_polling(pid).await;
}

async fn ended_by_polling(pid: Pid) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while let Ok(None) = waitid(WaitId::Pid(pid), look) {
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(target_os = "linux")]
fn resident_memory(pid: Pid) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero())).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(not(target_os = "linux"))]
fn resident_memory(_pid: Pid) -> Option<u64> {
    None
}
