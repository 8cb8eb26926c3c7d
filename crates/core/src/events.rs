//! The event bus: bounded subscribers that lose old metrics, but never a state change unsaid.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use folk_api::events::{Event, EventBus, Received, Subscription};
use tokio::sync::Notify;

/// The bus of the server.
#[derive(Debug, Default)]
pub struct Bus {
    subscribers: Mutex<Vec<Weak<Mailbox>>>,
}

#[derive(Debug)]
struct Mailbox {
    content: Mutex<Content>,
    filled: Notify,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Content {
    events: VecDeque<Arc<Event>>,
    /// State events lost since the subscriber was last told.
    lost: u64,
    closed: bool,
}

impl Bus {
    /// A bus without subscribers.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Weak<Mailbox>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventBus for Bus {
    fn publish(&self, event: Event) {
        let mut subscribers = self.subscribers();
        if subscribers.is_empty() {
            return;
        }
        let event = Arc::new(event);
        subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(mailbox) => {
                mailbox.put(Arc::clone(&event));
                true
            }
            None => false,
        });
    }

    fn subscribe(&self, capacity: usize) -> Box<dyn Subscription> {
        let mailbox = Arc::new(Mailbox {
            content: Mutex::default(),
            filled: Notify::new(),
            capacity: capacity.max(1),
        });
        self.subscribers().push(Arc::downgrade(&mailbox));
        Box::new(Subscriber(mailbox))
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        for mailbox in self.subscribers().iter().filter_map(Weak::upgrade) {
            mailbox.lock().closed = true;
            mailbox.filled.notify_one();
        }
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, event: Arc<Event>) {
        let mut content = self.lock();
        if content.events.len() >= self.capacity {
            match content.events.iter().position(|event| event.is_metric()) {
                // The oldest metric goes: the next of its kind makes it worthless anyway.
                Some(oldest) => drop(content.events.remove(oldest)),
                // Nothing but state is waiting, and a metric is not worth any of it.
                None if event.is_metric() => return,
                None => {
                    content.events.pop_front();
                    content.lost += 1;
                }
            }
        }
        content.events.push_back(event);
        drop(content);
        self.filled.notify_one();
    }
}

struct Subscriber(Arc<Mailbox>);

#[async_trait]
impl Subscription for Subscriber {
    async fn receive(&mut self) -> Option<Received> {
        loop {
            {
                let mut content = self.0.lock();
                if content.lost > 0 {
                    return Some(Received::Lagged(std::mem::take(&mut content.lost)));
                }
                if let Some(event) = content.events.pop_front() {
                    return Some(Received::Event(event));
                }
                if content.closed {
                    return None;
                }
            }
            self.0.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(topic: &str) -> Event {
        plugin(topic, false)
    }

    fn metric(topic: &str) -> Event {
        plugin(topic, true)
    }

    fn plugin(topic: &str, metric: bool) -> Event {
        let data = serde_json::Value::Null;
        Event::Plugin { plugin: "test".into(), topic: topic.into(), metric, data }
    }

    async fn topics(mut subscription: Box<dyn Subscription>) -> Vec<String> {
        let mut topics = Vec::new();
        while let Some(received) = subscription.receive().await {
            topics.push(match received {
                Received::Lagged(lost) => format!("lost {lost}"),
                Received::Event(event) => match &*event {
                    Event::Plugin { topic, .. } => topic.clone(),
                    other => format!("{other:?}"),
                },
            });
        }
        topics
    }

    #[tokio::test]
    async fn a_slow_subscriber_loses_old_metrics_before_any_state() {
        let bus = Bus::new();
        let subscription = bus.subscribe(3);
        for event in [metric("m1"), state("s1"), metric("m2"), state("s2"), state("s3")] {
            bus.publish(event);
        }
        drop(bus);
        assert_eq!(topics(subscription).await, ["s1", "s2", "s3"]);
    }

    #[tokio::test]
    async fn the_loss_of_a_state_change_is_told() {
        let bus = Bus::new();
        let subscription = bus.subscribe(2);
        for event in [state("s1"), state("s2"), metric("m1"), state("s3"), state("s4")] {
            bus.publish(event);
        }
        drop(bus);
        assert_eq!(topics(subscription).await, ["lost 2", "s3", "s4"]);
    }

    #[tokio::test]
    async fn a_subscriber_that_leaves_costs_nothing_more() {
        let bus = Bus::new();
        drop(bus.subscribe(1));
        bus.publish(state("s1"));
        assert!(bus.subscribers().is_empty());
    }
}
