//! Whoever reads the log stalls, or the disk it goes to is full.

use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::process::{children, is_php, signal};
use crate::support::{Client, Project, until};

/// A server whose log goes where nobody helps it.
struct Unheard {
    child: Child,
    address: SocketAddr,
}

impl Unheard {
    fn serve(project: &Project, stderr: Stdio) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_folk"))
            .args(["serve", "-c"])
            .arg(project.path("folk.toml"))
            .args(["-o", &format!("http.listen={address}"), "-o", "pools.default.workers=2"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let unheard = Self { child, address };
        until("an answer", || (unheard.status("/") == Some(200)).then_some(()));
        unheard
    }

    fn status(&self, target: &str) -> Option<u16> {
        Some(Client::connect(self.address).ok()?.get(target).ok()?.status)
    }

    fn workers(&self) -> Vec<u32> {
        children(self.child.id()).into_iter().filter(|pid| is_php(*pid)).collect()
    }

    fn stop(mut self) -> Option<i32> {
        signal(self.child.id(), Signal::TERM);
        until("its end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_log_on_a_full_disk_costs_nothing_but_the_log() {
    let project = Project::serving("return 'hello';");
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let folk = Unheard::serve(&project, Stdio::from(full));
    for _ in 0..3 {
        let workers = until("two workers", || Some(folk.workers()).filter(|all| all.len() == 2));
        for worker in workers {
            signal(worker, Signal::KILL);
        }
        until("an answer", || (folk.status("/") == Some(200)).then_some(()));
    }
    assert_eq!(folk.stop(), Some(0));
}

#[test]
fn a_reader_of_the_log_that_stalls_stops_neither_requests_nor_the_end() {
    let project = Project::serving(
        "fwrite(STDERR, str_repeat(str_repeat('x', 500) . \"\\n\", 200)); return 'hello';",
    );
    let (unread, log) = std::io::pipe().unwrap();
    let folk = Unheard::serve(&project, Stdio::from(log));
    // A megabyte, where a pipe holds 64 KiB.
    for _ in 0..10 {
        assert_eq!(folk.status("/"), Some(200));
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(folk.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(unread);
}
