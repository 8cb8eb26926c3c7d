//! One connection: its task, from the first byte to the last.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use folk_api::request::InterimSink;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::config::Limits;
use crate::exchange::Exchange;
use crate::interim::Sink;
use crate::service::{self, Service};
use crate::shared::Shared;
use crate::stream::{StreamBody, StreamExecutor};
use crate::transport::{ConnectionIo, Protocol, Waits};

/// Requests at a time on an HTTP/2 connection: what browsers and proxies expect of a server.
const MAX_STREAMS: u32 = 100;

/// What the library holds of an answer that the client has room for.
const STREAM_BUFFER: usize = 128 << 10;

/// What all requests of one connection have in common.
pub(crate) struct Connection {
    pub(crate) service: Arc<Service>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Whether it comes from a proxy that is believed.
    pub(crate) trusted: bool,
    sink: Mutex<Option<Arc<Sink>>>,
}

impl Connection {
    /// Where the interim responses of this request go.
    pub(crate) fn interim(&self, request: u64) -> Arc<dyn InterimSink> {
        let mut kept = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        Sink::renew(&mut kept, &self.shared, request)
    }
}

/// How the library is set up.
pub(crate) struct Protocols {
    http1: hyper::server::conn::http1::Builder,
    http2: Option<hyper::server::conn::http2::Builder<StreamExecutor>>,
    waits: Waits,
}

impl Protocols {
    pub(crate) fn new(limits: &Limits, h2c: bool) -> Self {
        let max_head = limits.max_head.0 as usize;
        let mut http1 = hyper::server::conn::http1::Builder::new();
        // The transport watches the time, with one timer for everything.
        http1.header_read_timeout(None).max_header_size(max_head);
        // The default is 100, and not saying so keeps the library's table on the stack.
        if limits.max_headers != 100 {
            http1.max_headers(limits.max_headers);
        }
        let http2 = h2c.then(|| {
            let executor = StreamExecutor(limits.write_timeout.0);
            let mut http2 = hyper::server::conn::http2::Builder::new(executor);
            http2
                .timer(TokioTimer::new())
                .max_header_list_size(max_head as u32)
                .max_concurrent_streams(MAX_STREAMS)
                .max_send_buf_size(STREAM_BUFFER);
            http2
        });
        Self { http1, http2, waits: Waits::from(limits) }
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    service: Arc<Service>,
    shared: Arc<Shared>,
) {
    std::future::poll_fn(|cx| {
        shared.set_task(cx.waker());
        Poll::Ready(())
    })
    .await;
    let Ok(local) = stream.local_addr() else { return };
    let mut io = ConnectionIo::new(stream, Arc::clone(&shared), service.protocols.waits);
    let protocol = match service.protocols.http2 {
        Some(_) => io.detect().await,
        None => Protocol::Http1,
    };
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    let connection = Arc::new(Connection {
        trusted: service.proxies.contain(remote.ip()),
        service: Arc::clone(&service),
        shared: Arc::clone(&shared),
        remote,
        local,
        sink: Mutex::new(None),
    });
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        // Here and not in the future: from now on the client is not the one who is waited for.
        let exchange = Exchange::begin(Arc::clone(&connection));
        async move { Ok::<_, Infallible>(service::answer(exchange, request).await) }
    });
    let ended = match (protocol, &service.protocols.http2) {
        (Protocol::None, _) => return,
        (Protocol::Http2, Some(http2)) => {
            // Boxed: an HTTP/1.1 connection should not reserve what only this one needs.
            let answer = service_fn(move |request| {
                let answered = answer.call(request);
                async move { Ok::<_, Infallible>(answered.await?.map(StreamBody::new)) }
            });
            let http2 = Box::pin(http2.serve_connection(TokioIo::new(io), answer));
            drive(http2, &shared, |c| c.get_mut().as_mut().graceful_shutdown()).await
        }
        _ => {
            let http1 = &service.protocols.http1;
            drive(http1.serve_connection(TokioIo::new(io), answer), &shared, |c| {
                c.graceful_shutdown();
            })
            .await
        }
    };
    if let Err(error) = ended {
        if error.is_parse() {
            service.metrics.malformed.add(1);
        }
        tracing::debug!(%error, "connection ended");
    }
}

/// Drives a connection to its end, and asks it to come to one when the server drains. A look at a
/// flag costs less than a second future that would have to be polled along.
async fn drive<C: Future>(
    connection: C,
    shared: &Shared,
    finish: impl Fn(Pin<&mut C>),
) -> C::Output {
    let mut connection = pin!(connection);
    let mut told = false;
    std::future::poll_fn(|cx| {
        loop {
            if !told && shared.is_draining() {
                told = true;
                finish(connection.as_mut());
            }
            let poll = connection.as_mut().poll(cx);
            if poll.is_ready() || told || !shared.is_draining() {
                return poll;
            }
        }
    })
    .await
}
