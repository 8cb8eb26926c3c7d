//! Which answer a client gets when the application gave none: the one table of errors and statuses.
//!
//! | error | status | |
//! |---|---|---|
//! | `Busy`, `Timeout` while queued | 503 | `Retry-After` |
//! | `BootFailed` | 503 | |
//! | `Timeout` while running | 504 | |
//! | `NotTaken`, `Died`, `Protocol`, `Runtime` | 502 | |
//! | `Application` | its own code from 400 to 599, else 500 | |
//! | `BadRequest`, `Body` cut or malformed | 400 | closes |
//! | `Body` too large | 413 | closes |
//! | `Body` too slow | 408 | closes |
//! | `Storage` | 507 | closes |
//! | `ShuttingDown` | 503 | closes |
//! | `ClientGone` | 499 | only in log and metrics |

use folk_api::error::TimeoutPhase;
use folk_api::{Body, BodyError, Error, RequestId};
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::error_page;

/// What other servers call "the client closed the request"; never sent.
pub(crate) const CLIENT_CLOSED: u16 = 499;

/// How an error is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: StatusCode,
    /// The `outcome` of metrics and access log.
    pub(crate) label: &'static str,
    /// When another try is sensible, in seconds.
    pub(crate) retry_after: Option<u64>,
    /// Whether the connection ends with the answer: what is left on it cannot be relied on.
    pub(crate) close: bool,
    /// The methods there are, when it was the method that was wrong.
    pub(crate) allow: Option<&'static str>,
}

impl Verdict {
    fn new(status: StatusCode, label: &'static str) -> Self {
        Self { status, label, retry_after: None, close: false, allow: None }
    }

    fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// The table.
    pub(crate) fn of(error: &Error) -> Self {
        let label = error.label();
        match error {
            Error::Busy { retry_after, .. } => Self {
                retry_after: Some(whole_seconds(*retry_after)),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, label)
            },
            Error::Timeout(TimeoutPhase::Queued) => {
                Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, label) }
            }
            Error::Timeout(TimeoutPhase::Running) => Self::new(StatusCode::GATEWAY_TIMEOUT, label),
            Error::BootFailed(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, label),
            Error::NotTaken(_) | Error::Died(_) | Error::Protocol(_) | Error::Runtime(_) => {
                Self::new(StatusCode::BAD_GATEWAY, label)
            }
            Error::Application { code, .. } => Self::new(application_status(*code), label),
            Error::BadRequest(_) => Self::new(StatusCode::BAD_REQUEST, label).closing(),
            Error::Body(error) => Self::new(body_status(error), label).closing(),
            Error::Storage(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, label).closing(),
            Error::ShuttingDown => Self::new(StatusCode::SERVICE_UNAVAILABLE, label).closing(),
            Error::ClientGone => {
                let closed = StatusCode::from_u16(CLIENT_CLOSED);
                Self::new(closed.unwrap_or(StatusCode::BAD_REQUEST), label)
            }
            // The table of errors may grow; whatever it is, it is not the client's fault.
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, label),
        }
    }

    /// A method that is not served at all.
    pub(crate) fn method_not_allowed() -> Self {
        Self {
            allow: Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "bad_request").closing()
        }
    }

    /// More headers than are taken.
    pub(crate) fn too_many_headers() -> Self {
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "bad_request")
    }

    /// The response: a page for people, problem+json for programs. `detail` is what happened inside
    /// and is given in development only.
    pub(crate) fn response(
        &self,
        accept: Option<&HeaderValue>,
        id: &RequestId,
        detail: Option<&str>,
    ) -> Response<Body> {
        let (content_type, body) = if error_page::wants_html(accept) {
            ("text/html; charset=utf-8", error_page::html(self.status, id, detail))
        } else {
            ("application/problem+json", error_page::problem(self.status, id, detail))
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn application_status(code: Option<u16>) -> StatusCode {
    code.filter(|code| (400..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn body_status(error: &BodyError) -> StatusCode {
    match error {
        BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Rounded up: too early a second try is refused again.
fn whole_seconds(duration: std::time::Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use folk_api::error::BusyReason;
    use std::time::Duration;

    #[test]
    fn every_error_has_its_status() {
        let text = || "secret path".to_owned();
        let application = |code| Error::Application { code, message: text() };
        let busy = |millis| Error::Busy {
            reason: BusyReason::QueueFull,
            retry_after: Duration::from_millis(millis),
        };
        let too_large = Error::Body(BodyError::TooLarge { limit: 1 });
        // Error, status, Retry-After, whether it closes.
        let table = [
            (busy(2500), 503, Some(3), false),
            (busy(0), 503, Some(1), false),
            (Error::BootFailed(text()), 503, None, false),
            (Error::Timeout(TimeoutPhase::Running), 504, None, false),
            (Error::Timeout(TimeoutPhase::Queued), 503, Some(1), false),
            (Error::NotTaken(text()), 502, None, false),
            (Error::Died(text()), 502, None, false),
            (application(None), 500, None, false),
            (application(Some(404)), 404, None, false),
            (application(Some(200)), 500, None, false),
            (application(Some(42)), 500, None, false),
            (Error::Protocol(text()), 502, None, false),
            (Error::Runtime(text()), 502, None, false),
            (Error::BadRequest(text()), 400, None, true),
            (too_large, 413, None, true),
            (Error::Body(BodyError::Timeout), 408, None, true),
            (Error::Body(BodyError::Disconnected), 400, None, true),
            (Error::Body(BodyError::Failed(text())), 400, None, true),
            (Error::Storage(text()), 507, None, true),
            (Error::ShuttingDown, 503, None, true),
            (Error::ClientGone, 499, None, false),
        ];
        for (error, status, retry_after, close) in table {
            let verdict = Verdict::of(&error);
            assert_eq!(verdict.status.as_u16(), status, "{error}");
            assert_eq!(verdict.retry_after, retry_after, "{error}");
            assert_eq!(verdict.close, close, "{error}");
            assert_eq!(verdict.label, error.label());
        }
    }

    #[test]
    fn the_headers_of_an_error_say_what_to_do() {
        let error =
            Error::Busy { reason: BusyReason::QueueFull, retry_after: Duration::from_secs(2) };
        let response = Verdict::of(&error).response(None, &RequestId::new("id-1"), None);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert!(!response.headers().contains_key(CONNECTION));
        let refused = Verdict::method_not_allowed().response(None, &RequestId::default(), None);
        assert!(refused.headers().contains_key(ALLOW));
        assert_eq!(refused.headers()[CONNECTION], "close");
    }
}
