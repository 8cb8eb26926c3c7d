//! What the head of a request says, and whether it may say that.

use folk_api::Error;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE, REFERER, TRANSFER_ENCODING, USER_AGENT,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::respond::Verdict;
use crate::shared::Shared;

/// The headers that the server itself has a use for, found in one pass over all of them.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// How many headers the client sent.
    pub(crate) count: usize,
    host: Option<HeaderValue>,
    hosts: u32,
    /// Transfer-Encoding headers, and whether one of them says anything but `chunked`.
    codings: u32,
    foreign_coding: bool,
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) accept_encoding: Option<HeaderValue>,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    /// Those of range and conditional requests.
    pub(crate) conditions: Vec<(HeaderName, HeaderValue)>,
}

impl Noted {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut noted = Self { count: headers.len(), ..Self::default() };
        for (name, value) in headers {
            match *name {
                HOST => {
                    noted.hosts += 1;
                    noted.host = Some(value.clone());
                }
                TRANSFER_ENCODING => {
                    noted.codings += 1;
                    let coding = value.as_bytes().trim_ascii();
                    noted.foreign_coding |= !coding.eq_ignore_ascii_case(b"chunked");
                }
                ACCEPT => noted.accept = Some(value.clone()),
                ACCEPT_ENCODING => noted.accept_encoding = Some(value.clone()),
                REFERER => noted.referer = Some(value.clone()),
                USER_AGENT => noted.user_agent = Some(value.clone()),
                RANGE | IF_RANGE | IF_MATCH | IF_NONE_MATCH | IF_MODIFIED_SINCE
                | IF_UNMODIFIED_SINCE => noted.conditions.push((name.clone(), value.clone())),
                _ => {}
            }
        }
        noted
    }
}

/// What a request is aimed at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A path, on a host; the host is empty when the client named none.
    Path(String),
    /// The server itself: `OPTIONS *`.
    Server,
}

/// Why a request goes no further.
#[derive(Debug)]
pub(crate) enum Refusal {
    Error(Error),
    Method,
    TooManyHeaders,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Refusal {
    fn bad(why: &str) -> Self {
        Self::Error(Error::BadRequest(why.to_owned()))
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Error(error) => Verdict::of(error),
            Self::Method => Verdict::method_not_allowed(),
            Self::TooManyHeaders => Verdict::too_many_headers(),
        }
    }

    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Error(error) => error.to_string(),
            Self::Method => "this method is not served".to_owned(),
            Self::TooManyHeaders => "it has more headers than http.limits.max_headers".to_owned(),
        }
    }
}

/// Checks what the library lets through and brings the target into origin form.
pub(crate) fn check(parts: &mut Parts, noted: &Noted, shared: &Shared) -> Result<Target, Refusal> {
    if parts.version == Version::HTTP_11 && noted.hosts != 1 {
        return Err(Refusal::bad(match noted.hosts {
            0 => "it has no host header",
            _ => "it has more than one host header",
        }));
    }
    if noted.hosts > 1 {
        return Err(Refusal::bad("it has more than one host header"));
    }
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    if noted.foreign_coding || noted.codings > 1 {
        // PHP would get the body still coded, and another server on the way may read it otherwise.
        return Err(Refusal::bad("it has a transfer-encoding other than chunked, once"));
    }
    if noted.codings > 0 && shared.head().has_two_lengths(parts.method.as_str()) {
        return Err(Refusal::bad("it has both content-length and transfer-encoding"));
    }
    let authority = authority(&parts.uri, noted)?;
    if parts.uri.path() == "*" {
        return match parts.method {
            Method::OPTIONS => Ok(Target::Server),
            _ => Err(Refusal::bad("its target is * and its method is not OPTIONS")),
        };
    }
    if parts.uri.authority().is_some() {
        parts.uri = origin_form(&parts.uri)?;
    }
    if !parts.uri.path().starts_with('/') {
        return Err(Refusal::bad("its target is no path"));
    }
    Ok(Target::Path(authority))
}

/// Host and port: those of the target where it names some, else those of the host header.
fn authority(uri: &Uri, noted: &Noted) -> Result<String, Refusal> {
    let bytes = match (uri.authority(), &noted.host) {
        (Some(authority), _) => {
            let text = authority.as_str();
            text.rsplit_once('@').map_or(text, |(_user, host)| host).as_bytes()
        }
        (None, Some(host)) => host.as_bytes(),
        (None, None) => return Ok(String::new()),
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if is_authority(bytes) => Ok(text.to_owned()),
        _ => Err(Refusal::bad("its host header is not a host")),
    }
}

/// Whether it is made of what host and port are made of: applications build links with it.
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    bytes.len() <= 512
        && bytes.iter().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']' | b'~' | b'%')
        })
}

/// Path and query of an absolute target.
fn origin_form(uri: &Uri) -> Result<Uri, Refusal> {
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(Refusal::bad("its target is neither a path nor an http address")),
    }
    let path = uri.path_and_query().cloned();
    Ok(Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn verdict(
        method: &str,
        target: &str,
        version: Version,
        hosts: &[&str],
    ) -> Result<(String, String), u16> {
        let mut request = Request::builder().method(method).uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let noted = Noted::of(&parts.headers);
        match check(&mut parts, &noted, &Shared::new()) {
            Ok(Target::Path(host)) => Ok((parts.uri.to_string(), host)),
            Ok(Target::Server) => Ok(("*".into(), String::new())),
            Err(refusal) => Err(refusal.verdict().status.as_u16()),
        }
    }

    #[test]
    fn targets_and_hosts_are_taken_or_refused() {
        let one = Version::HTTP_11;
        let ok = |path: &str, host: &str| Ok((path.to_owned(), host.to_owned()));
        let table = [
            (verdict("GET", "/a?b=c", one, &["h:80"]), ok("/a?b=c", "h:80")),
            (verdict("GET", "/", one, &[""]), ok("/", "")),
            (verdict("GET", "/", one, &[]), Err(400)),
            (verdict("GET", "/", one, &["a", "b"]), Err(400)),
            (verdict("GET", "/", one, &["a b"]), Err(400)),
            (verdict("GET", "/", one, &["a/b"]), Err(400)),
            (verdict("GET", "/", one, &["user@h"]), Err(400)),
            (verdict("GET", "/", one, &["h\u{e4}"]), Err(400)),
            (verdict("GET", "/", Version::HTTP_10, &[]), ok("/", "")),
            (verdict("GET", "/", Version::HTTP_10, &["a", "b"]), Err(400)),
            (verdict("GET", "http://a:81/x?y", one, &["b"]), ok("/x?y", "a:81")),
            (verdict("GET", "http://u:p@a/x", one, &["b"]), ok("/x", "a")),
            (verdict("GET", "http://a", one, &["b"]), ok("/", "a")),
            (verdict("GET", "ftp://a/x", one, &["b"]), Err(400)),
            (verdict("GET", "a.example:80", one, &["b"]), Err(400)),
            (verdict("GET", "https://a/x", Version::HTTP_2, &[]), ok("/x", "a")),
            (verdict("OPTIONS", "*", one, &["h"]), ok("*", "")),
            (verdict("GET", "*", one, &["h"]), Err(400)),
            (verdict("CONNECT", "a:80", one, &["a:80"]), Err(405)),
            (verdict("TRACE", "/", one, &["h"]), Err(405)),
        ];
        for (index, (got, expected)) in table.into_iter().enumerate() {
            assert_eq!(got, expected, "row {index}");
        }
    }
}
