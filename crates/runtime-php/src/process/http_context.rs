//! The context of a request in the folk dialect: PHP's own serialization.

use bytes::BytesMut;
use http::Version;

use folk_api::{HttpRequest, MethodCall, Task};

use super::body::Prepared;
use super::form::{Array, Key, Node, Upload};
use super::php_value::Writer;

/// Writes the context of an HTTP request.
pub(crate) fn http(request: &HttpRequest, out: &mut BytesMut) {
    let mut w = Items::begin(out, 14);
    w.str("http");
    w.str(request.method.as_str());
    w.str(request.uri.path_and_query().map_or("/", |target| target.as_str()));
    w.str(protocol(request.version));
    w.str(&request.authority);
    w.next().bool(request.secure);
    ip(w.next(), request.remote.ip());
    w.next().int(request.remote.port().into());
    ip(w.next(), request.local.ip());
    w.next().int(request.local.port().into());
    w.str(request.id.as_str());
    headers(w.next(), request);
    let form = Prepared::form_of(request);
    match form {
        Some(form) => array(w.next(), &form.fields, &|w, value: &Vec<u8>| w.str(value)),
        None => w.next().null(),
    }
    match form {
        Some(form) if !form.uploads.is_empty() => array(w.next(), &form.uploads, &upload),
        Some(_) | None => w.next().null(),
    }
    w.end();
}

/// Writes the context of a method call.
pub(crate) fn method(call: &MethodCall, out: &mut BytesMut) {
    let mut w = Items::begin(out, 2);
    w.str("method");
    w.str(&call.method);
    w.end();
}

/// Writes the context of a task.
pub(crate) fn task(task: &Task, out: &mut BytesMut) {
    let mut w = Items::begin(out, 6);
    w.str("task");
    w.str(&task.id);
    w.str(&task.name);
    w.str(&task.queue);
    w.next().int(task.attempt.into());
    let w_headers = w.next();
    w_headers.array(task.headers.len());
    for (name, values) in &task.headers {
        w_headers.str(name);
        w_headers.array(values.len());
        for (value, index) in values.iter().zip(0..) {
            w_headers.int(index);
            w_headers.str(value);
        }
        w_headers.end();
    }
    w_headers.end();
    w.end();
}

/// The items of a list, each after its index.
struct Items<'a> {
    writer: Writer<'a>,
    index: i64,
}

impl<'a> Items<'a> {
    fn begin(out: &'a mut BytesMut, length: usize) -> Self {
        let mut writer = Writer(out);
        writer.array(length);
        Self { writer, index: 0 }
    }

    fn next(&mut self) -> &mut Writer<'a> {
        self.writer.int(self.index);
        self.index += 1;
        &mut self.writer
    }

    fn str(&mut self, text: &str) {
        self.next().str(text);
    }

    fn end(mut self) {
        self.writer.end();
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn ip(w: &mut Writer<'_>, ip: std::net::IpAddr) {
    use std::io::Write;
    // The longest IPv6 address takes 45 bytes.
    let mut text = [0; 48];
    let mut rest = &mut text[..];
    let written = write!(rest, "{ip}").is_ok();
    let length = 48 - rest.len();
    w.str(if written { &text[..length] } else { b"" });
}

fn headers(w: &mut Writer<'_>, request: &HttpRequest) {
    w.array(request.headers.keys_len());
    for name in request.headers.keys() {
        let values = request.headers.get_all(name);
        w.str(name.as_str());
        w.array(values.iter().count());
        for (value, index) in values.iter().zip(0..) {
            w.int(index);
            w.str(value.as_bytes());
        }
        w.end();
    }
    w.end();
}

fn array<L>(w: &mut Writer<'_>, values: &Array<L>, leaf: &impl Fn(&mut Writer<'_>, &L)) {
    w.array(values.len());
    for (key, node) in values.iter() {
        match key {
            Key::Int(number) => w.int(*number),
            Key::Text(text) => w.str(text),
        }
        match node {
            Node::Leaf(value) => leaf(w, value),
            Node::Array(inner) => array(w, inner, leaf),
        }
    }
    w.end();
}

fn upload(w: &mut Writer<'_>, upload: &Upload) {
    use std::os::unix::ffi::OsStrExt;
    w.array(5);
    w.str("name");
    w.str(&upload.name);
    w.str("type");
    w.str(&upload.mime);
    w.str("size");
    w.int(i64::try_from(upload.size).unwrap_or(i64::MAX));
    w.str("tmp_name");
    w.str(upload.path().as_os_str().as_bytes());
    w.str("error");
    w.int(upload.error.into());
    w.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method, Uri};

    #[test]
    fn the_context_is_a_list_in_the_order_of_the_specification() {
        let mut request = HttpRequest::new(Method::POST, Uri::from_static("/p?q=1"));
        request.authority = "host".into();
        request.headers.append("x", HeaderValue::from_bytes(b"\xff").unwrap());
        let mut out = BytesMut::new();
        http(&request, &mut out);
        let expected: &[u8] = b"a:14:{i:0;s:4:\"http\";i:1;s:4:\"POST\";i:2;s:6:\"/p?q=1\";\
            i:3;s:8:\"HTTP/1.1\";i:4;s:4:\"host\";i:5;b:0;i:6;s:9:\"127.0.0.1\";i:7;i:0;\
            i:8;s:9:\"127.0.0.1\";i:9;i:0;i:10;s:1:\"-\";i:11;a:1:{s:1:\"x\";a:1:{i:0;s:1:\"\xff\";}}\
            i:12;N;i:13;N;}";
        assert_eq!(&out[..], expected);
    }
}
