//! What is done with one request.

use std::future::poll_fn;
use std::sync::Arc;

use folk_api::{Body, Executor, OneLine, Request, RequestId};
use http::header::{ALLOW, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::access_log::AccessLog;
use crate::compression::Compression;
use crate::connection::{Connection, Protocols};
use crate::exchange::{Exchange, ResponseBody};
use crate::head::{Noted, Refusal, Target, check};
use crate::metrics::Metrics;
use crate::proxies::{Forwarded, TrustedProxies};
use crate::request_body::RequestBody;
use crate::request_id::{RequestIds, X_REQUEST_ID};
use crate::sendfile::Sendfile;
use crate::static_files::StaticFiles;
use crate::{Settings, convert};

/// Everything that is the same for all requests.
pub(crate) struct Service {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) settings: Settings,
    pub(crate) protocols: Protocols,
    pub(crate) proxies: TrustedProxies,
    pub(crate) metrics: Metrics,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) ids: Option<RequestIds>,
    /// The id of requests that have none.
    pub(crate) no_id: RequestId,
    pub(crate) static_files: Option<StaticFiles>,
    pub(crate) sendfile: Sendfile,
    pub(crate) compression: Option<Compression>,
}

/// Answers one request.
pub(crate) async fn answer(
    mut exchange: Exchange,
    request: hyper::Request<Incoming>,
) -> Response<ResponseBody> {
    let connection = Arc::clone(&exchange.connection);
    let service = &connection.service;
    let (mut parts, incoming) = request.into_parts();
    let body = RequestBody::of(
        incoming,
        service.settings.body_limit,
        service.settings.body_timeout,
        &connection.shared,
    );
    let noted = Noted::of(&parts.headers);
    let (id, id_header) = service.identify(&parts, connection.trusted);
    if let Some(id_header) = &id_header {
        parts.headers.insert(X_REQUEST_ID, id_header.clone());
    }
    let said = match connection.trusted {
        true => service.proxies.read(&parts.headers),
        false => Forwarded::default(),
    };
    exchange.note(&parts, &noted, &id, said.client);

    let is_head = parts.method == Method::HEAD;
    let request = Arrived { parts, body, said };
    let outcome = process(&connection, request, &noted, &id, &mut exchange).await;
    let mut response = match outcome {
        Ok(response) => response,
        Err(refusal) => service.refuse(&refusal, &noted, &id, &mut exchange),
    };
    if is_head && !response.body().is_empty() {
        *response.body_mut() = Body::empty();
    }
    if let Some(id_header) = id_header {
        response.headers_mut().insert(X_REQUEST_ID, id_header);
    }
    exchange.answer(response)
}

/// What came in.
struct Arrived {
    parts: Parts,
    body: Option<RequestBody>,
    /// What a trusted proxy says of the client.
    said: Forwarded,
}

async fn process(
    connection: &Connection,
    request: Arrived,
    noted: &Noted,
    id: &RequestId,
    exchange: &mut Exchange,
) -> Result<Response<Body>, Refusal> {
    let service = &connection.service;
    let Arrived { mut parts, body, said } = request;
    // Over HTTP/1.1 the library counts.
    if parts.version == Version::HTTP_2 && noted.count > service.settings.max_headers {
        return Err(Refusal::TooManyHeaders);
    }
    let authority = match check(&mut parts, noted, &connection.shared)? {
        Target::Path(authority) => authority,
        Target::Server => return Ok(options()),
    };
    if let Some(body) = &body {
        body.check_announced().map_err(folk_api::Error::Body)?;
    }
    let is_head = parts.method == Method::HEAD;
    if let Some(files) = &service.static_files
        && (is_head || parts.method == Method::GET)
        // Boxed, as below: what few requests need would be reserved by every connection.
        && let Some(response) =
            Box::pin(files.answer(&parts.uri, &parts.headers, is_head)).await
    {
        return Ok(service.compress(response, noted, is_head));
    }
    let speaks_interim = parts.version == Version::HTTP_11;
    let mut request = convert::incoming(connection, parts, body, authority, id.clone(), said);
    if speaks_interim {
        request.interim = Some(connection.interim(exchange.number));
    }
    let deadline = service.executor.deadline();
    let answer = service.executor.execute(Request::Http(Box::new(request)), deadline).await;
    if speaks_interim {
        // What came in time goes out first; what comes from now on is too late.
        connection.shared.interim.close();
        poll_fn(|_cx| connection.shared.interim.poll_sent()).await;
    }
    let response = convert::outgoing(answer?, is_head)?;
    let response = match Sendfile::is_asked_for(&response) {
        true => Box::pin(service.sendfile.apply(response, noted, is_head)).await?,
        false => response,
    };
    Ok(service.compress(response, noted, is_head))
}

impl Service {
    fn identify(&self, parts: &Parts, trusted: bool) -> (RequestId, Option<HeaderValue>) {
        match &self.ids {
            None => (self.no_id.clone(), None),
            Some(ids) => {
                let (id, header) = ids.assign(&parts.headers, trusted);
                (id, Some(header))
            }
        }
    }

    fn compress(&self, response: Response<Body>, noted: &Noted, is_head: bool) -> Response<Body> {
        match &self.compression {
            None => response,
            Some(compression) => {
                compression.apply(response, noted.accept_encoding.as_ref(), is_head)
            }
        }
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        noted: &Noted,
        id: &RequestId,
        exchange: &mut Exchange,
    ) -> Response<Body> {
        let verdict = refusal.verdict();
        let detail = refusal.detail();
        exchange.failed(verdict.label);
        // Overload would otherwise fill the log with what the metrics say already.
        let is_failure =
            verdict.status.is_server_error() && verdict.status != StatusCode::SERVICE_UNAVAILABLE;
        if is_failure {
            tracing::warn!(%id, status = verdict.status.as_u16(), error = %OneLine(&detail), "request failed");
        } else {
            tracing::debug!(%id, status = verdict.status.as_u16(), error = %OneLine(&detail), "request refused");
        }
        let shown = self.settings.debug.then_some(detail.as_str());
        verdict.response(noted.accept.as_ref(), id, shown)
    }
}

/// The answer to `OPTIONS *`, which asks about the server and not about the application.
fn options() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(ALLOW, methods);
    response
}
