//! Clients that ask without pause, and how they fared.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::{Client, until};

/// Clients that ask until told to stop. Each keeps its connection.
pub struct Load {
    clients: Vec<JoinHandle<Tally>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

/// How the clients fared.
#[derive(Debug, Default)]
pub struct Tally {
    /// The bodies of requests that were answered with 200.
    pub bodies: Vec<String>,
    /// What became of the others.
    pub failed: Vec<String>,
    /// Those that got no answer at all for as long as a client waits.
    pub hung: usize,
}

impl Load {
    pub fn start(address: SocketAddr, clients: usize, target: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let clients = (0..clients)
            .map(|_| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                let target = target.to_owned();
                std::thread::spawn(move || ask_until(&stop, &answered, address, &target))
            })
            .collect();
        Self { clients, stop, answered }
    }

    /// Waits until so many more requests were answered.
    pub fn wait_for(&self, more: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        until(&format!("{wanted} requests"), || {
            (self.answered.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Tally::default();
        for client in self.clients {
            let tally = client.join().unwrap();
            total.bodies.extend(tally.bodies);
            total.failed.extend(tally.failed);
            total.hung += tally.hung;
        }
        total
    }
}

impl Tally {
    pub fn assert_none_failed(&self) {
        assert!(self.failed.is_empty(), "{} failed: {:?}", self.failed.len(), self.failed);
        assert!(!self.bodies.is_empty(), "nothing was asked");
    }
}

fn ask_until(
    stop: &AtomicBool,
    answered: &AtomicUsize,
    address: SocketAddr,
    target: &str,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let asked = ask(&mut connection, address, target);
        answered.fetch_add(1, Ordering::Relaxed);
        match asked {
            Ok(answer) if answer.status == 200 => {
                if answer.text("connection").as_deref() == Some("close") {
                    connection = None;
                }
                tally.bodies.push(answer.body());
            }
            Ok(answer) => {
                connection = None;
                tally.failed.push(format!("{answer:?}"));
            }
            Err(error) => {
                use io::ErrorKind::{TimedOut, WouldBlock};
                connection = None;
                tally.hung += usize::from(matches!(error.kind(), TimedOut | WouldBlock));
                tally.failed.push(error.to_string());
            }
        }
    }
    tally
}

fn ask(
    connection: &mut Option<Client>,
    address: SocketAddr,
    target: &str,
) -> io::Result<super::Answer> {
    let client = match connection {
        Some(client) => client,
        None => connection.insert(Client::connect(address)?),
    };
    client.get(target)
}
