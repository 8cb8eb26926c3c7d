//! What a plugin hands to a worker.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use crate::Body;

/// One unit of work for a worker.
#[derive(Debug)]
pub enum Request {
    /// An HTTP request.
    Http(Box<HttpRequest>),
    /// A call of a named method of the application.
    Method(MethodCall),
    /// A task from the queue.
    Task(Box<Task>),
}

/// An HTTP request, already parsed and within its limits.
pub struct HttpRequest {
    /// Its method.
    pub method: Method,
    /// Its target as the client sent it: path and query, percent-encoded.
    pub uri: Uri,
    /// The protocol version the client speaks.
    pub version: Version,
    /// Its headers, repeated ones in their order; values are bytes, not text.
    pub headers: HeaderMap,
    /// Who sent it, after trusted proxies.
    pub remote: SocketAddr,
    /// Where it arrived.
    pub local: SocketAddr,
    /// Whether the client's connection is encrypted (possibly at a trusted proxy).
    pub secure: bool,
    /// Host and optional port the client asked for; empty when it named none.
    pub authority: String,
    /// Its id in logs and traces.
    pub id: RequestId,
    /// Its body.
    pub body: Body,
    /// Where 1xx responses go, when the connection can carry them.
    pub interim: Option<Arc<dyn InterimSink>>,
    /// What [`Runtime::prepare`](crate::Runtime::prepare) made of the body, for that runtime only.
    pub prepared: Option<Box<dyn Any + Send>>,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers hold secrets and stay out.
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("id", &self.id)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl HttpRequest {
    /// A request as tests and simple plugins make it: HTTP/1.1 from and to loopback.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self {
            method,
            uri,
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            remote: SocketAddr::from(([127, 0, 0, 1], 0)),
            local: SocketAddr::from(([127, 0, 0, 1], 0)),
            secure: false,
            authority: String::new(),
            id: RequestId::default(),
            body: Body::empty(),
            interim: None,
            prepared: None,
        }
    }
}

/// The id of a request in logs, traces and headers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// An id from its text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self(Arc::from("-"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sends informational (1xx) responses ahead of the final one.
pub trait InterimSink: Send + Sync {
    /// Queues one; it is on the wire before the final response. `status` is in 100..200 and
    /// neither 100 nor 101, which belong to the server.
    fn send(&self, status: StatusCode, headers: &HeaderMap);
}

/// A call of a named method of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodCall {
    /// The method's name, as the application registered it.
    pub method: String,
    /// Its argument, in whatever form caller and application agreed on.
    pub payload: Bytes,
}

/// A task from the queue: what was pushed, and which attempt this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id, unique within the queue's store.
    pub id: String,
    /// The name under which the application handles it.
    pub name: String,
    /// The queue it came from.
    pub queue: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Headers given with the push.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Its payload.
    pub payload: Bytes,
}
