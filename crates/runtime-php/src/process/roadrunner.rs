//! What a RoadRunner worker is told about an HTTP request, before it is encoded.

use http::{HeaderMap, Version};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use folk_api::{HttpRequest, Task};

use super::body::Prepared;
use super::form::{Array, Key, Node, Upload};

/// The context of an HTTP request in RoadRunner's terms.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) remote_addr: String,
    pub(crate) protocol: &'static str,
    pub(crate) method: &'a str,
    /// Absolute: scheme, host, path and query.
    pub(crate) uri: String,
    /// Names as Go writes them, `Content-Type`: applications look them up in that form.
    pub(crate) headers: Vec<(String, Vec<&'a [u8]>)>,
    pub(crate) cookies: Vec<(String, String)>,
    pub(crate) raw_query: &'a str,
    /// The body is the JSON of the fields of a form.
    pub(crate) parsed: bool,
    pub(crate) uploads: Option<Value>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(request: &'a HttpRequest) -> Self {
        let form = Prepared::form_of(request);
        Self {
            remote_addr: request.remote.ip().to_string(),
            protocol: protocol(request.version),
            method: request.method.as_str(),
            uri: absolute_uri(request),
            headers: headers(&request.headers),
            cookies: cookies(&request.headers),
            raw_query: request.uri.query().unwrap_or_default(),
            parsed: form.is_some(),
            uploads: form
                .map(|form| &form.uploads)
                .filter(|uploads| !uploads.is_empty())
                .map(|uploads| to_json(uploads, &upload_json)),
        }
    }

    /// The JSON form of it.
    pub(crate) fn into_json(self) -> Value {
        let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
        let headers: Map<String, Value> = self
            .headers
            .into_iter()
            .map(|(name, values)| (name, values.into_iter().map(text).collect()))
            .collect();
        let cookies: Map<String, Value> =
            self.cookies.into_iter().map(|(name, value)| (name, value.into())).collect();
        json!({
            "remoteAddr": self.remote_addr,
            "protocol": self.protocol,
            "method": self.method,
            "uri": self.uri,
            "headers": headers,
            "cookies": cookies,
            "rawQuery": self.raw_query,
            "parsed": self.parsed,
            "uploads": self.uploads,
            "attributes": {},
        })
    }
}

/// The context of a task.
pub(crate) fn task_json(task: &Task) -> Value {
    json!({
        "id": task.id,
        "job": task.name,
        "driver": "folk",
        "queue": task.queue,
        "pipeline": task.queue,
        "headers": task.headers,
    })
}

/// The fields of a form, as the body of a request with `parsed`.
pub(crate) fn fields_json(fields: &Array<Vec<u8>>) -> Value {
    to_json(fields, &|value: &Vec<u8>| String::from_utf8_lossy(value).into())
}

fn upload_json(upload: &Upload) -> Value {
    json!({
        "name": String::from_utf8_lossy(&upload.name),
        "mime": String::from_utf8_lossy(&upload.mime),
        "size": upload.size,
        "error": upload.error,
        "tmpName": upload.path().to_string_lossy(),
    })
}

/// Lists where the keys count up from 0, else maps: PHP reads both as the same array.
fn to_json<L>(array: &Array<L>, leaf: &impl Fn(&L) -> Value) -> Value {
    let value = |node: &Node<L>| match node {
        Node::Leaf(value) => leaf(value),
        Node::Array(inner) => to_json(inner, leaf),
    };
    let is_list = array.iter().zip(0..).all(|((key, _), index)| *key == Key::Int(index));
    if is_list {
        array.iter().map(|(_, node)| value(node)).collect()
    } else {
        let name = |key: &Key| match key {
            Key::Int(number) => number.to_string(),
            Key::Text(text) => String::from_utf8_lossy(text).into_owned(),
        };
        Value::Object(array.iter().map(|(key, node)| (name(key), value(node))).collect())
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn absolute_uri(request: &HttpRequest) -> String {
    let scheme = if request.secure { "https" } else { "http" };
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    // `OPTIONS *` has no path.
    let target = if target.starts_with('/') { target } else { "/" };
    if request.authority.is_empty() {
        format!("{scheme}://{}{target}", request.local)
    } else {
        format!("{scheme}://{}{target}", request.authority)
    }
}

fn headers(map: &HeaderMap) -> Vec<(String, Vec<&[u8]>)> {
    map.keys()
        // It is in the URI; RoadRunner leaves it out here.
        .filter(|name| *name != http::header::HOST)
        .map(|name| {
            (canonical(name.as_str()), map.get_all(name).iter().map(|v| v.as_bytes()).collect())
        })
        .collect()
}

/// `content-type` as `Content-Type`.
fn canonical(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|c| {
            let c = if start { c.to_ascii_uppercase() } else { c };
            start = c == '-';
            c
        })
        .collect()
}

/// Names and decoded values; of repeated names the last, as RoadRunner does it.
fn cookies(map: &HeaderMap) -> Vec<(String, String)> {
    let mut found = IndexMap::new();
    for header in map.get_all(http::header::COOKIE) {
        for pair in header.as_bytes().split(|&byte| byte == b';') {
            let pair = pair.trim_ascii();
            let Some(equals) = pair.iter().position(|&byte| byte == b'=') else { continue };
            let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
            let value = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""))
                .unwrap_or(value);
            let name = String::from_utf8_lossy(name).into_owned();
            let value = String::from_utf8_lossy(&super::form::url_decode(value)).into_owned();
            found.insert(name, value);
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method, Uri};

    fn request() -> HttpRequest {
        let mut request = HttpRequest::new(Method::GET, Uri::from_static("/a/b?x=1&y=%20"));
        request.authority = "example.test:8080".into();
        request.headers.append("host", HeaderValue::from_static("example.test:8080"));
        request.headers.append("x-many", HeaderValue::from_static("1"));
        request.headers.append("x-many", HeaderValue::from_static("2"));
        request.headers.append("cookie", HeaderValue::from_static("a=1; b=%20x; a=\"2\"; junk"));
        request
    }

    #[test]
    fn the_context_is_what_roadrunner_would_send() {
        let value = Context::new(&request()).into_json();
        assert_eq!(value["uri"], "http://example.test:8080/a/b?x=1&y=%20");
        assert_eq!(value["rawQuery"], "x=1&y=%20");
        assert_eq!(value["remoteAddr"], "127.0.0.1");
        assert_eq!(value["headers"]["X-Many"], json!(["1", "2"]));
        assert_eq!(value["headers"].get("Host"), None);
        assert_eq!(value["cookies"], json!({"b": " x", "a": "2"}));
        assert_eq!(value["parsed"], false);
        assert_eq!(value["uploads"], Value::Null);
    }

    #[test]
    fn many_cookies_take_no_time() {
        let mut request = request();
        let many: String = (0..200_000).map(|index| format!("c{index}=1;")).collect();
        request.headers.insert("cookie", HeaderValue::from_str(&many).unwrap());
        let began = tokio::time::Instant::now();
        assert_eq!(Context::new(&request).cookies.len(), 200_000);
        // Comparing each with each takes minutes.
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    }

    #[test]
    fn the_proto_form_carries_values_that_are_not_text() {
        use prost::Message;
        let mut request = request();
        request.headers.append("x-raw", HeaderValue::from_bytes(b"\xff\xe9").unwrap());
        let mut out = bytes::BytesMut::new();
        super::super::proto::encode_request(Context::new(&request), &mut out);
        // Read back with a message that knows only field 5, the headers.
        #[derive(Clone, PartialEq, Message)]
        struct Headers {
            #[prost(btree_map = "string, message", tag = "5")]
            header: std::collections::BTreeMap<String, super::super::proto::Values>,
        }
        let read = Headers::decode(&out[..]).unwrap();
        assert_eq!(read.header["X-Raw"].value, [b"\xff\xe9".to_vec()]);
    }

    #[test]
    fn arrays_become_lists_only_where_php_would_make_lists() {
        let mut fields = Array::default();
        for (name, value) in [("a[]", "1"), ("a[]", "2"), ("m[k]", "v"), ("s[1]", "x")] {
            fields.insert(name.as_bytes(), value.as_bytes().to_vec());
        }
        assert_eq!(
            fields_json(&fields),
            json!({"a": ["1", "2"], "m": {"k": "v"}, "s": {"1": "x"}})
        );
    }
}
