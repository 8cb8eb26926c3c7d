//! Signals of the system as orders to the server.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What the server is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Finish what runs and end. Given again: end now.
    Stop,
    /// Take up new code.
    Reload,
}

/// Orders that wait to be carried out. Signals merge, so a few are plenty.
const WAITING: usize = 8;

/// SIGTERM, SIGINT and SIGQUIT stop, SIGHUP reloads.
///
/// # Errors
///
/// The system does not let signals be listened to.
pub fn orders_from_signals() -> std::io::Result<mpsc::Receiver<Order>> {
    let (sender, orders) = mpsc::channel(WAITING);
    for (kind, order) in [
        (SignalKind::terminate(), Order::Stop),
        (SignalKind::interrupt(), Order::Stop),
        (SignalKind::quit(), Order::Stop),
        (SignalKind::hangup(), Order::Reload),
    ] {
        let mut stream = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                match order {
                    // As many wait as there is room for, and reloads merge.
                    Order::Reload => drop(sender.try_send(order)),
                    // Never lost: it waits for room.
                    Order::Stop => drop(sender.send(order).await),
                }
            }
        });
    }
    Ok(orders)
}
