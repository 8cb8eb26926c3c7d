//! From what the HTTP library speaks to what a worker takes, and back.

use folk_api::{Body, Error, HttpRequest, RequestId, Response};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body::Body as _;

use crate::connection::Connection;
use crate::head::is_authority;
use crate::proxies::Forwarded;
use crate::request_body::RequestBody;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// The request as a worker takes it.
pub(crate) fn incoming(
    connection: &Connection,
    parts: Parts,
    body: Option<RequestBody>,
    authority: String,
    id: RequestId,
    said: Forwarded,
) -> HttpRequest {
    let mut request = HttpRequest::new(parts.method, parts.uri);
    request.version = parts.version;
    request.headers = parts.headers;
    request.remote = connection.remote;
    request.local = connection.local;
    request.authority = authority;
    request.id = id;
    if let Some(body) = body {
        request.body = Body::boxed(body);
    }
    // PHP would take it for the address of a proxy that the application is to use.
    request.headers.remove(PROXY);
    apply_forwarded(&mut request, said);
    settle_host(&mut request);
    request
}

fn apply_forwarded(request: &mut HttpRequest, said: Forwarded) {
    if let Some(client) = said.client {
        request.remote = client;
    }
    if let Some(secure) = said.secure {
        request.secure = secure;
    }
    if let Some(host) = said.host.filter(|host| is_authority(host.as_bytes())) {
        request.authority = host;
    }
}

/// Makes the host header say what the authority says: applications read the one or the other, and
/// must not be told two things. A target in absolute form, a proxy and HTTP/2 name the host elsewhere.
fn settle_host(request: &mut HttpRequest) {
    let authority = request.authority.as_bytes();
    let agrees = request.headers.get(HOST).is_some_and(|host| host.as_bytes() == authority);
    if agrees || authority.is_empty() {
        return;
    }
    if let Ok(host) = HeaderValue::from_bytes(authority) {
        request.headers.insert(HOST, host);
    }
}

/// The response as a client takes it: what belongs to a single connection is left out, and its
/// length and its body agree.
pub(crate) fn outgoing(response: Response, is_head: bool) -> Result<http::Response<Body>, Error> {
    let Response { status, mut headers, mut body } = response;
    if !(200..600).contains(&status.as_u16()) {
        return Err(Error::Protocol(format!("{} is not the status of an answer", status.as_u16())));
    }
    remove_hop_by_hop(&mut headers);
    let bodiless = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    if bodiless {
        body = Body::empty();
        if status != StatusCode::NOT_MODIFIED {
            headers.remove(CONTENT_LENGTH);
        }
    }
    settle_length(&mut headers, &body, is_head || bodiless);
    if is_head {
        body = Body::empty();
    }
    let mut out = http::Response::new(body);
    *out.status_mut() = status;
    *out.headers_mut() = headers;
    Ok(out)
}

/// Connection-bound headers describe the connection to the worker, which there is none of.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const NAMES: [HeaderName; 7] =
        [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let any = headers.keys().any(|name| NAMES.contains(name));
    if any {
        for name in NAMES {
            headers.remove(name);
        }
    }
}

/// Makes the `Content-Length` true: a body of known length has just that one, and one that is no
/// number is none.
fn settle_length(headers: &mut HeaderMap, body: &Body, sends_no_body: bool) {
    let known = body.size_hint().exact();
    if headers.contains_key(CONTENT_LENGTH) {
        let announced = announced_length(headers);
        let keeps = match (announced, known) {
            (None, _) => false,
            // An answer to HEAD announces what it does not carry.
            (Some(_), Some(0)) if sends_no_body => true,
            (Some(announced), Some(known)) => announced == known,
            (Some(_), None) => true,
        };
        if !keeps {
            headers.remove(CONTENT_LENGTH);
        }
    }
    if sends_no_body
        && !headers.contains_key(CONTENT_LENGTH)
        && let Some(length) = known.filter(|length| *length > 0)
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The length, when there is one and it is a number.
pub(crate) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let first = values.next()?;
    let digits = first.to_str().ok()?.trim();
    if values.next().is_some() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&'static str, &'static str)], body: Body) -> Response {
        let mut response = Response::ok(body);
        response.status = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers.append(*name, HeaderValue::from_static(value));
        }
        response
    }

    fn length(response: Response, is_head: bool) -> Option<String> {
        let out = outgoing(response, is_head).unwrap();
        out.headers().get(CONTENT_LENGTH).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn headers_of_the_connection_do_not_pass() {
        let out = outgoing(
            response(
                200,
                &[
                    ("connection", "close"),
                    ("transfer-encoding", "chunked"),
                    ("keep-alive", "timeout=5"),
                    ("upgrade", "h2c"),
                    ("set-cookie", "a=1"),
                    ("set-cookie", "b=2"),
                ],
                Body::full("x"),
            ),
            false,
        )
        .unwrap();
        assert_eq!(out.headers().len(), 2);
        assert_eq!(out.headers().get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn length_and_body_agree() {
        let stream = || Body::channel(1, None).1;
        let with = |value| [("content-length", value)];
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(length(response(200, &with("3"), Body::full("abc")), false), some("3"));
        assert_eq!(length(response(200, &with("9"), Body::full("abc")), false), None);
        assert_eq!(length(response(200, &with("9"), Body::empty()), false), None);
        assert_eq!(length(response(200, &with("9"), stream()), false), some("9"));
        assert_eq!(length(response(200, &with("+9"), stream()), false), None);
        let twice = [("content-length", "9"), ("content-length", "9")];
        assert_eq!(length(response(200, &twice, stream()), false), None);
        // HEAD
        assert_eq!(length(response(200, &with("9"), Body::empty()), true), some("9"));
        assert_eq!(length(response(200, &[], Body::full("abc")), true), some("3"));
        assert_eq!(length(response(200, &[], stream()), true), None);
    }

    #[test]
    fn statuses_without_a_body_have_none() {
        for status in [204, 205, 304] {
            let out =
                outgoing(response(status, &[("content-length", "3")], Body::full("abc")), false);
            let out = out.unwrap();
            assert!(out.body().is_empty(), "{status}");
            assert_eq!(out.headers().contains_key(CONTENT_LENGTH), status == 304, "{status}");
        }
    }

    #[test]
    fn a_status_that_ends_nothing_breaks_the_protocol() {
        for status in [100, 101, 103, 199, 600, 999] {
            let refused = outgoing(response(status, &[], Body::empty()), false);
            assert!(matches!(refused, Err(Error::Protocol(_))), "{status}");
        }
    }
}
