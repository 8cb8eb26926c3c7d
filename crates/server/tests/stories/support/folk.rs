//! The real server, as a child process.

use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::log::Log;
use super::process::{children, is_alive, is_php, signal};
use super::{Answer, Ask, Client, Project, until};

/// A running `folk`. Killed when it is dropped, and nothing of it is left then.
pub struct Folk<'p> {
    project: &'p Project,
    child: Child,
    address: OnceLock<SocketAddr>,
    /// Standard error: the log.
    pub log: Log,
    /// Standard output: answers of subcommands, the access log.
    pub out: Log,
}

/// A `folk` that ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub log: String,
    pub out: String,
    pub took: Duration,
}

impl Ended {
    /// Its last line on standard error and those that belong to it: what it says went wrong.
    pub fn error(&self) -> &str {
        self.log.rfind("folk: ").map_or("", |start| &self.log[start..])
    }
}

impl<'p> Folk<'p> {
    pub(super) fn spawn(project: &'p Project, arguments: &[String], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_folk"));
        command.args(arguments);
        Self::start(project, command, env)
    }

    pub(super) fn spawn_below_shell(
        project: &'p Project,
        limits: &str,
        arguments: &[String],
    ) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limits}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_folk")]);
        command.args(arguments);
        Self::start(project, command, &[])
    }

    fn start(project: &'p Project, mut command: Command, env: &[(&str, &str)]) -> Self {
        let mut child = command
            .current_dir(project.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            // Whatever it leaves there is seen.
            .env("TMPDIR", project.path("tmp"))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        let out = Log::follow(child.stdout.take().unwrap());
        Self { project, child, address: OnceLock::new(), log, out }
    }

    pub(super) fn wait_until_it_listens(&self) {
        let said = "http listening on http://";
        let line = self.log.wait_for(said);
        let (_, address) = line.split_once(said).unwrap();
        // As JSON the line goes on behind it.
        let address = address.split('"').next().unwrap();
        self.address.set(address.parse().unwrap()).unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        *self.address.get().expect("it does not listen")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its workers that have become PHP by now.
    pub fn workers(&self) -> Vec<u32> {
        children(self.pid()).into_iter().filter(|&pid| is_php(pid)).collect()
    }

    pub fn wait_for_workers(&self, count: usize) -> Vec<u32> {
        until(&format!("{count} workers"), || {
            let workers = self.workers();
            (workers.len() == count).then_some(workers)
        })
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address()).unwrap()
    }

    /// Asks on a connection of its own.
    pub fn get(&self, target: &str) -> Answer {
        self.ask(&Ask::get(target))
    }

    /// As [`get`](Self::get), for more than a path.
    pub fn ask(&self, ask: &Ask) -> Answer {
        self.connect().ask(ask).unwrap()
    }

    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits until it has ended.
    pub fn wait_for_end(mut self) -> Ended {
        let started = Instant::now();
        let status = until("the end of the server", || self.child.try_wait().unwrap());
        let took = started.elapsed();
        Ended { code: status.code(), log: self.log.whole(), out: self.out.whole(), took }
    }

    /// Has it end in order.
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    /// Kills it, workers and all else being none of its business any more.
    pub fn kill(&mut self) -> std::io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Folk<'_> {
    fn drop(&mut self) {
        let workers = children(self.pid());
        let killed = self.kill();
        if std::thread::panicking() {
            eprintln!(
                "--- the log of {}\n{}\n---",
                self.project.path("").display(),
                self.log.end()
            );
            return;
        }
        killed.unwrap();
        for worker in workers {
            until("the end of a worker whose server is gone", || (!is_alive(worker)).then_some(()));
        }
    }
}
