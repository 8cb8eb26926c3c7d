//! The `[http.limits]` table.

use std::time::Duration;

use folk_api::units::{ByteSize, HumanDuration};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// What a client may ask of the server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Size of the request line and all headers, 1KiB to 256KiB. Default `"32KiB"`: the largest
    /// cookies in use fit. Beyond it: 431.
    #[serde(deserialize_with = "head_size")]
    pub max_head: ByteSize,
    /// How many headers a request has, 1 to 1000. Default `100`. Beyond it: 431.
    #[serde(deserialize_with = "header_count")]
    pub max_headers: usize,
    /// Size of a request's body, uploads included; `"0B"` is no limit. Default `"64MiB"`.
    /// Beyond it: 413.
    pub max_body: ByteSize,
    /// Connections at a time, at least 1. Default `10000`, which takes about 200 MiB when all are
    /// in use. Beyond it: 503 at once, and the connection is closed.
    #[serde(deserialize_with = "connections")]
    pub max_connections: usize,
    /// From the first byte of a request to the last of its headers; also for a new connection that
    /// says nothing. Default `"10s"`: a slow mobile client needs less, and whoever sends a byte a
    /// second to hold connections gets no more. Beyond it: 408.
    #[serde(deserialize_with = "positive")]
    pub head_timeout: HumanDuration,
    /// Between two parts of a request's body; and beside one such time, a body comes at 1 KiB a second
    /// at least. Default `"30s"`. Beyond it: 408.
    #[serde(deserialize_with = "positive")]
    pub body_timeout: HumanDuration,
    /// How long a connection without a request is kept. Default `"75s"`: longer than the 60 s that
    /// balancers in front keep theirs, so that they close first.
    #[serde(deserialize_with = "positive")]
    pub idle_timeout: HumanDuration,
    /// How long a client that reads nothing is waited for. Default `"30s"`. Beyond it the connection
    /// is cut, and the worker is free again. Over HTTP/2 a client may also read nothing of a single
    /// answer; beyond it that answer is reset and the others go on.
    #[serde(deserialize_with = "positive")]
    pub write_timeout: HumanDuration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = |seconds| HumanDuration(Duration::from_secs(seconds));
        Self {
            max_head: ByteSize(32 << 10),
            max_headers: 100,
            max_body: ByteSize(64 << 20),
            max_connections: 10_000,
            head_timeout: seconds(10),
            body_timeout: seconds(30),
            idle_timeout: seconds(75),
            write_timeout: seconds(30),
        }
    }
}

impl Limits {
    /// The largest body in bytes; `None` is no limit.
    pub fn body_limit(&self) -> Option<u64> {
        (self.max_body.0 > 0).then_some(self.max_body.0)
    }
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HumanDuration, D::Error> {
    let duration = HumanDuration::deserialize(deserializer)?;
    if duration.0.is_zero() {
        return Err(D::Error::custom(
            "is zero; no wait is without an end, write a long one instead",
        ));
    }
    Ok(duration)
}

fn head_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    if !(1 << 10..=256 << 10).contains(&size.0) {
        return Err(D::Error::custom(format!("is {size}; must be between 1KiB and 256KiB")));
    }
    Ok(size)
}

fn header_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let count = usize::deserialize(deserializer)?;
    if !(1..=1000).contains(&count) {
        return Err(D::Error::custom(format!("is {count}; must be between 1 and 1000")));
    }
    Ok(count)
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let count = usize::deserialize(deserializer)?;
    if count == 0 {
        return Err(D::Error::custom("is 0, which would serve nobody; must be at least 1"));
    }
    Ok(count)
}
