//! Compression of answers.
//!
//! Each chunk that PHP hands over is compressed and flushed by itself, so a stream arrives chunk by
//! chunk as it would uncompressed; nothing waits for a buffer to fill.

mod encoder;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use folk_api::{Body, BodyError};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame};

use crate::config::{Algorithm, CompressionConfig};
use encoder::Encoder;

/// How much is compressed at once; a larger chunk is taken in parts, so that other connections of
/// the thread get their turn.
const PART: usize = 64 << 10;

/// Compresses what is worth it.
#[derive(Debug)]
pub(crate) struct Compression {
    min_size: u64,
    algorithms: Vec<Algorithm>,
}

impl Compression {
    /// `None` when it is off.
    pub(crate) fn new(config: &CompressionConfig) -> Option<Self> {
        let CompressionConfig { enabled, min_size, algorithms } = config;
        enabled.then(|| Self { min_size: min_size.0, algorithms: algorithms.clone() })
    }

    /// The response, compressed if it can be and the client wants it.
    pub(crate) fn apply(
        &self,
        mut response: Response<Body>,
        accepted: Option<&HeaderValue>,
        is_head: bool,
    ) -> Response<Body> {
        if !self.is_worth_it(&response, is_head) {
            return response;
        }
        response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
        let Some(algorithm) = accepted.and_then(|accepted| self.choose(accepted)) else {
            return response;
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name(algorithm)));
        headers.remove(CONTENT_LENGTH);
        headers.remove(ACCEPT_RANGES);
        weaken_etag(headers);
        if is_head {
            return response;
        }
        response.map(|body| compress(body, algorithm))
    }

    fn is_worth_it(&self, response: &Response<Body>, is_head: bool) -> bool {
        let headers = response.headers();
        let size = match (is_head, response.body().size_hint().exact()) {
            // The body of an answer to HEAD says nothing; its length does.
            (true, _) => {
                headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
            }
            (false, exact) => exact,
        };
        let may_change = !matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
        );
        may_change
            && size.is_none_or(|size| size >= self.min_size.max(1))
            && !headers.contains_key(CONTENT_ENCODING)
            && headers.get(CONTENT_TYPE).is_some_and(is_compressible)
            && !headers.get(CACHE_CONTROL).is_some_and(forbids_transform)
    }

    /// The algorithm the client likes best; among equals, the one the configuration likes best.
    fn choose(&self, accepted: &HeaderValue) -> Option<Algorithm> {
        let text = accepted.to_str().ok()?;
        let weight = |algorithm: Algorithm| {
            let mut any = 0;
            for item in text.split(',') {
                let mut parts = item.split(';');
                let coding = parts.next().unwrap_or(item).trim();
                let weight = parts.find_map(quality).unwrap_or(1000);
                if coding.eq_ignore_ascii_case(name(algorithm)) {
                    return weight;
                }
                if coding == "*" {
                    any = weight;
                }
            }
            any
        };
        let best = self.algorithms.iter().copied().map(|algorithm| (weight(algorithm), algorithm));
        // Of equals, `max_by_key` takes the last.
        best.rev()
            .filter(|(weight, _)| *weight > 0)
            .max_by_key(|(weight, _)| *weight)
            .map(|best| best.1)
    }
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Zstd => "zstd",
        Algorithm::Br => "br",
        Algorithm::Gzip => "gzip",
    }
}

/// `q=0.5` in thousandths.
fn quality(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let weight: f32 = value.trim().parse().ok()?;
    Some((weight.clamp(0.0, 1.0) * 1000.0) as u32)
}

fn is_compressible(content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else { return false };
    let kind = text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || matches!(
            kind.as_str(),
            "application/json"
                | "application/javascript"
                | "application/x-javascript"
                | "application/xml"
                | "application/x-ndjson"
                | "application/wasm"
                | "application/manifest+json"
                | "application/vnd.ms-fontobject"
                | "font/ttf"
                | "font/otf"
                | "image/bmp"
                | "image/x-icon"
        )
}

fn forbids_transform(cache_control: &HeaderValue) -> bool {
    cache_control.to_str().is_ok_and(|text| {
        text.split(',').any(|item| item.trim().eq_ignore_ascii_case("no-transform"))
    })
}

/// The compressed form is equivalent, not the same bytes.
fn weaken_etag(headers: &mut HeaderMap) {
    let Some(etag) = headers.get(ETAG) else { return };
    if etag.as_bytes().starts_with(b"W/") {
        return;
    }
    match HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()) {
        Ok(weak) => headers.insert(ETAG, weak),
        Err(_) => headers.remove(ETAG),
    };
}

fn compress(body: Body, algorithm: Algorithm) -> Body {
    match body.as_bytes() {
        // All there is and small: one piece of known length.
        Some(bytes) if bytes.len() <= PART => match Encoder::new(algorithm).all(bytes) {
            Ok(compressed) => Body::full(compressed),
            Err(error) => Body::boxed(Failed(Some(error))),
        },
        _ => Body::boxed(Compressed {
            body,
            encoder: Encoder::new(algorithm),
            rest: Bytes::new(),
            done: false,
        }),
    }
}

/// A body that is compressed as it is read.
struct Compressed {
    body: Body,
    encoder: Encoder,
    /// What is left of the last chunk.
    rest: Bytes,
    done: bool,
}

impl Compressed {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
            }
        }
        let count = self.rest.len().min(PART);
        Poll::Ready(Some(Ok(self.rest.split_to(count))))
    }
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let out = match ready!(self.poll_chunk(cx)) {
            Some(Ok(chunk)) => self.encoder.chunk(&chunk),
            Some(Err(error)) => Err(error),
            None => {
                self.done = true;
                self.encoder.finish()
            }
        };
        self.done |= out.is_err();
        Poll::Ready(Some(out.map(Frame::data)))
    }
}

/// A body that could not be made.
struct Failed(Option<BodyError>);

impl http_body::Body for Failed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

#[cfg(test)]
mod tests;
