//! One request and its answer, from the first look at the head to the last byte of the body.
//!
//! An [`Exchange`] travels with the request, then with the body of the answer; when it is dropped,
//! however that comes about, the request is counted and logged.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use folk_api::{Body, BodyError, OneLine, RequestId};
use http::request::Parts;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::access_log::{Entry, Line};
use crate::connection::Connection;
use crate::convert::announced_length;
use crate::head::Noted;
use crate::respond::CLIENT_CLOSED;

/// One request and its answer.
pub(crate) struct Exchange {
    pub(crate) connection: Arc<Connection>,
    /// The number of the request on its connection.
    pub(crate) number: u64,
    started: Instant,
    status: u16,
    outcome: &'static str,
    /// What the outcome is when it ends here.
    cut: Option<&'static str>,
    sent: u64,
    /// What there is to send, where that is known.
    length: Option<u64>,
    entry: Option<Box<Entry>>,
}

impl Exchange {
    pub(crate) fn begin(connection: Arc<Connection>) -> Self {
        let number = connection.shared.begin();
        Self {
            connection,
            number,
            started: Instant::now(),
            status: CLIENT_CLOSED,
            outcome: "ok",
            cut: Some("client_gone"),
            sent: 0,
            length: None,
            entry: None,
        }
    }

    /// Notes what the access log says of the request; nothing when there is none.
    /// `client` is who the proxies say it is.
    pub(crate) fn note(
        &mut self,
        parts: &Parts,
        noted: &Noted,
        id: &RequestId,
        client: Option<SocketAddr>,
    ) {
        if self.connection.service.access_log.is_some() {
            let client = client.unwrap_or(self.connection.remote).ip();
            self.entry = Some(Box::new(Entry::new(parts, noted, id, client)));
        }
    }

    /// Notes why the application gave no answer.
    pub(crate) fn failed(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }

    /// The response, which from here on the exchange travels with.
    pub(crate) fn answer(mut self, response: http::Response<Body>) -> http::Response<ResponseBody> {
        self.status = response.status().as_u16();
        if http_body::Body::is_end_stream(response.body()) {
            self.cut = None;
        }
        self.length = http_body::Body::size_hint(response.body())
            .exact()
            .or_else(|| announced_length(response.headers()));
        response.map(|body| ResponseBody { body, exchange: self })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.shared.end();
        let took = self.started.elapsed();
        let outcome = self.cut.unwrap_or(self.outcome);
        let service = &self.connection.service;
        service.metrics.ended(self.status, outcome, took);
        if let (Some(log), Some(entry)) = (&service.access_log, self.entry.take()) {
            log.write(Line { entry, status: self.status, sent: self.sent, took, outcome });
        }
    }
}

/// The body of a response.
pub(crate) struct ResponseBody {
    body: Body,
    exchange: Exchange,
}

impl ResponseBody {
    /// The client did not take the end of it, of which this many bytes were handed over already.
    pub(crate) fn give_up(&mut self, untaken: usize) {
        self.exchange.cut = Some("client_gone");
        self.exchange.sent = self.exchange.sent.saturating_sub(untaken as u64);
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                this.exchange.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                // The library stops asking once it has all of a body of known length.
                if this.body.is_end_stream() || this.exchange.length == Some(this.exchange.sent) {
                    this.exchange.cut = None;
                }
            }
            Some(Err(error)) => {
                tracing::warn!(error = %OneLine(error), "an answer was cut: its body failed");
                this.exchange.cut = Some("truncated");
            }
            None => this.exchange.cut = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
