//! The head of an HTTP answer: status and headers, in whichever encoding the worker used.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::php_value::{Malformed, Reader, Token};
use super::proto;

/// Status and headers as the worker gave them.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, between 100 and 599 in what HTTP allows but not checked here.
    pub status: i64,
    /// The headers, repeated ones in their order.
    pub headers: HeaderMap,
}

/// Why a head is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadError {
    /// The worker wrote something that cannot be read.
    Protocol(String),
    /// It can be read, but what the application gave is no header.
    Application(String),
}

/// How a head is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// PHP serialization, `[status, headers]`.
    Php,
    /// Protocol buffers, `http.v1.Response`.
    Proto,
    /// JSON, `{"status": …, "headers": …}`.
    Json,
}

/// Reads a head.
///
/// # Errors
///
/// See [`HeadError`].
pub fn parse(encoding: Encoding, context: &Bytes) -> Result<ResponseHead, HeadError> {
    match encoding {
        Encoding::Php => parse_php(context),
        Encoding::Proto => parse_proto(context),
        Encoding::Json => parse_json(context),
    }
}

impl ResponseHead {
    fn with_status(status: i64) -> Self {
        Self { status, headers: HeaderMap::new() }
    }

    fn add(&mut self, name: &[u8], value: Result<HeaderValue, Vec<u8>>) -> Result<(), HeadError> {
        let shown = || String::from_utf8_lossy(&name[..name.len().min(100)]).into_owned();
        let parsed = HeaderName::from_bytes(name).map_err(|_| {
            HeadError::Application(format!("{:?} is no name for a response header", shown()))
        })?;
        let value = value.map_err(|_| {
            // The value may be a secret; the name is enough to find it.
            HeadError::Application(format!(
                "the value of response header {:?} has a byte that no header may have",
                shown()
            ))
        })?;
        self.headers.try_append(parsed, value).map_err(|_| too_many())?;
        Ok(())
    }
}

fn too_many() -> HeadError {
    HeadError::Application("more response headers than can be sent".to_owned())
}

fn value_of(bytes: &[u8]) -> Result<HeaderValue, Vec<u8>> {
    HeaderValue::from_bytes(bytes).map_err(|_| Vec::new())
}

impl From<Malformed> for HeadError {
    fn from(error: Malformed) -> Self {
        Self::Protocol(format!("head of the answer: {error}"))
    }
}

fn parse_php(context: &Bytes) -> Result<ResponseHead, HeadError> {
    if context.is_empty() {
        return Ok(ResponseHead::with_status(200));
    }
    let mut reader = Reader::new(context);
    let bad = |reader: &Reader<'_>| HeadError::from(reader.malformed());
    if reader.token()? != Token::Array(2) || reader.token()? != Token::Int(0) {
        return Err(bad(&reader));
    }
    let Token::Int(status) = reader.token()? else { return Err(bad(&reader)) };
    let mut head = ResponseHead::with_status(status);
    if reader.token()? != Token::Int(1) {
        return Err(bad(&reader));
    }
    let Token::Array(count) = reader.token()? else { return Err(bad(&reader)) };
    for _ in 0..count {
        let name = match reader.token()? {
            Token::Str(name) => name,
            Token::Int(_) => {
                let message = "response headers must be a map of name to value, not a list";
                return Err(HeadError::Application(message.to_owned()));
            }
            _ => return Err(bad(&reader)),
        };
        match reader.token()? {
            Token::Array(values) => {
                for _ in 0..values {
                    reader.token()?;
                    let value = reader.token()?;
                    add_token(&mut head, context, name, value)?;
                }
                reader.end()?;
            }
            value => add_token(&mut head, context, name, value)?,
        }
    }
    reader.end()?;
    reader.end()?;
    reader.finish()?;
    Ok(head)
}

fn add_token(
    head: &mut ResponseHead,
    context: &Bytes,
    name: &[u8],
    token: Token<'_>,
) -> Result<(), HeadError> {
    let value = match token {
        // Shares the memory of the context instead of copying it.
        Token::Str(text) => {
            HeaderValue::from_maybe_shared(context.slice_ref(text)).map_err(|_| Vec::new())
        }
        Token::Int(number) => Ok(HeaderValue::from(number)),
        Token::Float(text) => value_of(text),
        Token::Null | Token::Bool(_) | Token::Array(_) => {
            let name = String::from_utf8_lossy(name);
            let message = format!(
                "the value of response header {name:?} must be a string or a list of strings"
            );
            return Err(HeadError::Application(message));
        }
    };
    head.add(name, value)
}

fn parse_proto(context: &Bytes) -> Result<ResponseHead, HeadError> {
    let response = proto::decode_response(context)
        .map_err(|error| HeadError::Protocol(format!("head of the answer: {error}")))?;
    let mut head = ResponseHead::with_status(response.status);
    for (name, values) in &response.headers {
        for value in &values.value {
            head.add(name.as_bytes(), value_of(value))?;
        }
    }
    Ok(head)
}

fn parse_json(context: &Bytes) -> Result<ResponseHead, HeadError> {
    let malformed = |what: &str| HeadError::Protocol(format!("head of the answer: {what}"));
    let value: Value =
        serde_json::from_slice(context).map_err(|error| malformed(&error.to_string()))?;
    let status = value.get("status").and_then(Value::as_i64);
    let mut head =
        ResponseHead::with_status(status.ok_or_else(|| malformed("JSON without a status"))?);
    match value.get("headers") {
        None | Some(Value::Null) => {}
        // PHP cannot tell an empty map from an empty list.
        Some(Value::Array(list)) if list.is_empty() => {}
        Some(Value::Object(map)) => {
            for (name, values) in map {
                match values {
                    Value::Array(values) => {
                        for value in values {
                            add_json(&mut head, name, value)?;
                        }
                    }
                    value => add_json(&mut head, name, value)?,
                }
            }
        }
        Some(_) => {
            let message = "response headers must be a map of name to value, not a list";
            return Err(HeadError::Application(message.to_owned()));
        }
    }
    Ok(head)
}

fn add_json(head: &mut ResponseHead, name: &str, value: &Value) -> Result<(), HeadError> {
    let value = match value {
        Value::String(text) => value_of(text.as_bytes()),
        Value::Number(number) => value_of(number.to_string().as_bytes()),
        _ => {
            let message = format!(
                "the value of response header {name:?} must be a string or a list of strings"
            );
            return Err(HeadError::Application(message));
        }
    };
    head.add(name.as_bytes(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn php(text: &str) -> Result<ResponseHead, HeadError> {
        parse(Encoding::Php, &Bytes::copy_from_slice(text.as_bytes()))
    }

    fn json(text: &str) -> Result<ResponseHead, HeadError> {
        parse(Encoding::Json, &Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn an_empty_context_is_a_200_without_headers() {
        assert_eq!(php(""), Ok(ResponseHead::with_status(200)));
    }

    #[test]
    fn repeated_headers_keep_their_order_in_every_encoding() {
        let expected = ["a=1", "b=2"];
        let from_php = php("a:2:{i:0;i:201;i:1;a:2:{s:10:\"Set-Cookie\";a:2:{i:0;s:3:\"a=1\";i:1;s:3:\"b=2\";}s:1:\"x\";s:1:\"y\";}}").unwrap();
        let from_json =
            json(r#"{"status":201,"headers":{"Set-Cookie":["a=1","b=2"],"x":"y"}}"#).unwrap();
        let from_proto = parse(
            Encoding::Proto,
            &proto::encode_response_for_tests(201, &[("Set-Cookie", &expected[..]), ("x", &["y"])]),
        )
        .unwrap();
        for head in [from_php, from_json, from_proto] {
            assert_eq!(head.status, 201);
            let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
            assert_eq!(cookies, expected);
            assert_eq!(head.headers["x"], "y");
        }
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_the_applications_fault_and_named() {
        for bad in [
            "a:2:{i:0;i:200;i:1;a:1:{s:3:\"x y\";s:1:\"z\";}}",
            "a:2:{i:0;i:200;i:1;a:1:{s:3:\"x y\";a:1:{i:0;s:1:\"z\";}}}",
        ] {
            let Err(HeadError::Application(message)) = php(bad) else { panic!("{bad}") };
            assert!(message.contains("\"x y\""), "{message}");
        }
        let Err(HeadError::Application(message)) =
            php("a:2:{i:0;i:200;i:1;a:1:{s:6:\"x-evil\";s:9:\"a\r\nb: oh!\";}}")
        else {
            panic!("a line break in a value must be refused")
        };
        assert!(message.contains("x-evil") && !message.contains("oh!"), "{message}");
        assert!(matches!(
            json(r#"{"status":200,"headers":["X: y"]}"#),
            Err(HeadError::Application(_))
        ));
        assert!(matches!(
            php("a:2:{i:0;i:200;i:1;a:1:{i:0;s:4:\"X: y\";}}"),
            Err(HeadError::Application(_))
        ));
    }

    #[test]
    fn values_that_are_not_text_survive() {
        let bytes = b"a:2:{i:0;i:200;i:1;a:1:{s:1:\"x\";s:2:\"\xff\xe9\";}}";
        let head = parse(Encoding::Php, &Bytes::from_static(bytes)).unwrap();
        assert_eq!(head.headers["x"].as_bytes(), b"\xff\xe9");
    }

    #[test]
    fn nonsense_is_a_breach_of_the_protocol() {
        for bad in ["x", "a:2:{", "a:1:{i:0;i:200;}", "a:2:{i:0;i:200;i:1;a:0:{}}}", "i:200;"] {
            assert!(matches!(php(bad), Err(HeadError::Protocol(_))), "{bad}");
        }
        assert!(matches!(json("{}"), Err(HeadError::Protocol(_))));
        assert!(matches!(json("nonsense"), Err(HeadError::Protocol(_))));
        let bad = Bytes::from_static(b"\xff\xff\xff");
        assert!(matches!(parse(Encoding::Proto, &bad), Err(HeadError::Protocol(_))));
    }

    #[test]
    fn headers_beyond_what_a_map_holds_are_refused() {
        let mut text = String::from("a:2:{i:0;i:200;i:1;a:40000:{");
        for index in 0..40_000 {
            let name = format!("x-{index}");
            text.push_str(&format!("s:{}:\"{name}\";s:1:\"v\";", name.len()));
        }
        text.push_str("}}");
        assert!(matches!(php(&text), Err(HeadError::Application(_))));
    }
}
