//! Listening, accepting, draining.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use folk_api::lifecycle::Lifecycle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::connection;
use crate::service::Service;
use crate::shared::Shared;

/// Connections the system may hold that were not accepted yet.
const BACKLOG: u32 = 4096;

/// How long accepting pauses when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Refused connections that are seen off politely at a time; beyond that they are just closed.
const MAX_FAREWELLS: usize = 64;

/// What a connection too many is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 0\r\n\r\n";

/// Binds an address.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of the server before may still be in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| explain_bind(address, error))
}

fn explain_bind(address: SocketAddr, error: io::Error) -> anyhow::Error {
    let ip = match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "address {address} is in use; stop the other server or pass -o http.listen={ip}:PORT"
        ),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "not allowed to listen on {address}; ports below 1024 need CAP_NET_BIND_SERVICE, or \
             pass -o http.listen={ip}:PORT with a higher one"
        ),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "address {address} is none of this machine; pass -o http.listen=0.0.0.0:{} to listen \
             on all of them",
            address.port()
        ),
        _ => anyhow::Error::new(error).context(format!("cannot listen on {address}")),
    }
}

/// Takes connections until the server drains, then sees them to their end.
pub(crate) async fn run(
    listeners: Vec<TcpListener>,
    service: Arc<Service>,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    let connections = Arc::new(Connections::new(service.settings.max_connections));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let (service, connections) = (Arc::clone(&service), Arc::clone(&connections));
        accepting.spawn(accept_all(listener, move |stream, remote| {
            connections.take(stream, remote, &service);
        }));
    }
    lifecycle.draining().await;
    // Closes the listeners: whoever connects now is refused by the system and goes elsewhere.
    accepting.shutdown().await;
    connections.drain();
    tokio::select! {
        () = connections.all_gone() => {}
        () = lifecycle.stopping() => {
            let cut = connections.cut();
            if cut > 0 {
                tracing::warn!(connections = cut, "the grace is over; open connections were cut");
            }
            let gone = timeout(Duration::from_secs(1), connections.all_gone()).await;
            gone.context("connections that were cut did not end")?;
        }
    }
    Ok(())
}

/// Where connections come from; the tests have one that fails.
trait Accept {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        TcpListener::accept(self)
    }
}

/// Accepts for ever. No error ends it: they are all of one connection or of the moment.
async fn accept_all(listener: impl Accept, take: impl Fn(TcpStream, SocketAddr)) {
    let mut pause = PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                pause = PAUSE;
                take(stream, remote);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if pause == PAUSE {
                    tracing::error!(
                        %error,
                        "cannot accept connections; trying again (raise the limit of open files \
                         or lower http.limits.max_connections if this stays)"
                    );
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The open connections.
struct Connections {
    max: usize,
    open: Mutex<Open>,
    changed: Notify,
    farewells: AtomicUsize,
}

#[derive(Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, (Arc<Shared>, Option<AbortHandle>)>,
}

impl Connections {
    fn new(max: usize) -> Self {
        let open = Mutex::new(Open::default());
        Self { max, open, changed: Notify::new(), farewells: AtomicUsize::new(0) }
    }

    /// Serves a connection in a task of its own, or refuses it when there are too many.
    fn take(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr, service: &Arc<Service>) {
        let shared = Shared::new();
        let Some(number) = self.enter(&shared) else {
            service.metrics.refused.add(1);
            self.refuse(stream);
            return;
        };
        // Answers are written whole; waiting for more to send would only delay them.
        let _best_effort = stream.set_nodelay(true);
        let guard = Guard { connections: Arc::clone(self), number, service: Arc::clone(service) };
        service.metrics.connections.add(1.0);
        let service = Arc::clone(service);
        let task = tokio::spawn(async move {
            let _guard = guard;
            connection::serve(stream, remote, service, shared).await;
        });
        if let Some((_, abort)) = self.lock().by_number.get_mut(&number) {
            *abort = Some(task.abort_handle());
        }
    }

    fn enter(&self, shared: &Arc<Shared>) -> Option<u64> {
        let mut open = self.lock();
        if open.by_number.len() >= self.max {
            return None;
        }
        open.next += 1;
        let number = open.next;
        open.by_number.insert(number, (Arc::clone(shared), None));
        Some(number)
    }

    /// Tells a client that it is one too many. At most a few at a time get to hear it for sure.
    fn refuse(self: &Arc<Self>, mut stream: TcpStream) {
        if self.farewells.fetch_add(1, Ordering::AcqRel) >= MAX_FAREWELLS {
            self.farewells.fetch_sub(1, Ordering::AcqRel);
            let _best_effort = stream.try_write(FULL);
            return;
        }
        let connections = Arc::clone(self);
        tokio::spawn(async move {
            let farewell = async {
                stream.write_all(FULL).await?;
                stream.shutdown().await?;
                // Closing with something unread would reset the connection and the answer with it.
                let mut unread = (&mut stream).take(64 << 10);
                tokio::io::copy(&mut unread, &mut tokio::io::sink()).await
            };
            let _either_way = timeout(Duration::from_secs(1), farewell).await;
            connections.farewells.fetch_sub(1, Ordering::AcqRel);
        });
    }

    fn drain(&self) {
        for (shared, _) in self.lock().by_number.values() {
            shared.drain();
        }
    }

    /// Ends what is left; returns how many that were.
    fn cut(&self) -> usize {
        let open = self.lock();
        for (_, abort) in open.by_number.values() {
            if let Some(abort) = abort {
                abort.abort();
            }
        }
        open.by_number.len()
    }

    async fn all_gone(&self) {
        loop {
            let changed = self.changed.notified();
            if self.lock().by_number.is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a connection off the list, however its task ends.
struct Guard {
    connections: Arc<Connections>,
    number: u64,
    service: Arc<Service>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.service.metrics.connections.add(-1.0);
        let is_last = {
            let mut open = self.connections.lock();
            open.by_number.remove(&self.number);
            open.by_number.is_empty()
        };
        if is_last {
            self.connections.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_what_to_do() {
        let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "address {address} is in use; stop the other server or pass -o http.listen=127.0.0.1:PORT"
            )
        );
    }

    #[test]
    fn other_reasons_not_to_listen_are_named_too() {
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        let explain = |kind: io::ErrorKind| explain_bind(address, kind.into()).to_string();
        assert!(explain(io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(explain(io::ErrorKind::AddrNotAvailable).contains("http.listen=0.0.0.0:80"));
    }

    /// Fails a number of times before it has a connection.
    struct OutOfFiles {
        failures: AtomicU32,
        listener: TcpListener,
    }

    impl Accept for OutOfFiles {
        async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
            let left = self.failures.load(Ordering::SeqCst);
            if left > 0 {
                self.failures.store(left - 1, Ordering::SeqCst);
                return Err(io::Error::from_raw_os_error(24)); // EMFILE
            }
            self.listener.accept().await
        }
    }

    #[tokio::test]
    async fn running_out_of_files_pauses_accepting_and_does_not_end_it() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        let started = tokio::time::Instant::now();
        let accepting = tokio::spawn(accept_all(
            OutOfFiles { failures: AtomicU32::new(3), listener },
            move |stream, _| tx.send(stream).unwrap(),
        ));
        let _client = TcpStream::connect(address).await.unwrap();
        rx.recv().await.unwrap();
        assert!(started.elapsed() >= PAUSE + 2 * PAUSE + 4 * PAUSE);
        accepting.abort();
    }
}
