use super::*;
use async_compression::tokio::write::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use folk_api::units::ByteSize;
use tokio::io::AsyncWriteExt;

fn compression() -> Compression {
    let config = CompressionConfig { enabled: true, ..CompressionConfig::default() };
    Compression::new(&config).unwrap()
}

fn page(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn apply(response: Response<Body>, accepted: &'static str) -> Response<Body> {
    compression().apply(response, Some(&HeaderValue::from_static(accepted)), false)
}

fn encoding(response: &Response<Body>) -> Option<&str> {
    response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap())
}

async fn decompress(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match algorithm {
        Algorithm::Br => {
            let mut decoder = BrotliDecoder::new(&mut out);
            decoder.write_all(bytes).await.unwrap();
            decoder.flush().await.unwrap();
        }
        Algorithm::Gzip => {
            let mut decoder = GzipDecoder::new(&mut out);
            decoder.write_all(bytes).await.unwrap();
            decoder.flush().await.unwrap();
        }
        Algorithm::Zstd => {
            let mut decoder = ZstdDecoder::new(&mut out);
            decoder.write_all(bytes).await.unwrap();
            decoder.flush().await.unwrap();
        }
    }
    out
}

#[test]
fn the_client_chooses_and_the_configuration_breaks_ties() {
    for (accepted, expected) in [
        ("gzip", Some("gzip")),
        ("gzip, br", Some("br")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip;q=1.0, br;q=0.5, zstd;q=0", Some("gzip")),
        ("*", Some("zstd")),
        ("*;q=0.1, GZIP", Some("gzip")),
        ("identity", None),
        ("gzip;q=0", None),
        ("*;q=0", None),
        ("", None),
    ] {
        let response = apply(page("text/html", Body::full(vec![b'x'; 2000])), accepted);
        assert_eq!(encoding(&response), expected, "{accepted:?}");
        assert_eq!(response.headers()[VARY], "accept-encoding");
    }
}

#[test]
fn what_does_not_gain_is_left_alone() {
    let big = || Body::full(vec![b'x'; 2000]);
    let unchanged = |response: Response<Body>| {
        let response = apply(response, "gzip");
        assert_eq!(encoding(&response), None);
        assert!(!response.headers().contains_key(VARY));
    };
    unchanged(page("image/png", big()));
    unchanged(page("text/html", Body::full("small")));
    unchanged(page("text/html", Body::empty()));
    unchanged(Response::new(big()));
    let mut fixed = page("text/html", big());
    fixed.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, no-transform"));
    unchanged(fixed);
    let mut part = page("text/html", big());
    *part.status_mut() = StatusCode::PARTIAL_CONTENT;
    unchanged(part);
    let mut encoded = page("text/html", big());
    encoded.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
    assert_eq!(encoding(&apply(encoded, "gzip")), Some("br"));
}

#[test]
fn headers_about_the_uncompressed_bytes_are_changed() {
    let mut response = page("application/json; charset=utf-8", Body::full(vec![b'x'; 2000]));
    for (name, value) in
        [(CONTENT_LENGTH, "2000"), (ETAG, "\"a\""), (ACCEPT_RANGES, "bytes"), (VARY, "cookie")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let response = apply(response, "gzip");
    assert!(!response.headers().contains_key(CONTENT_LENGTH));
    assert!(!response.headers().contains_key(ACCEPT_RANGES));
    assert_eq!(response.headers()[ETAG], "W/\"a\"");
    assert_eq!(response.headers().get_all(VARY).iter().count(), 2);
    assert!(response.body().as_bytes().is_some(), "a small body stays one piece");
}

#[test]
fn an_answer_to_head_has_the_headers_of_the_one_to_get() {
    let mut response = page("text/html", Body::empty());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("2000"));
    let response = compression().apply(response, Some(&HeaderValue::from_static("gzip")), true);
    assert_eq!(encoding(&response), Some("gzip"));
    assert!(response.body().is_empty());
    assert!(!response.headers().contains_key(CONTENT_LENGTH));
}

#[tokio::test]
async fn every_chunk_of_a_stream_can_be_read_before_the_next_is_made() {
    for algorithm in [Algorithm::Zstd, Algorithm::Br, Algorithm::Gzip] {
        let (mut tx, body) = Body::channel(1, None);
        let mut body = apply(page("text/event-stream", body), name(algorithm)).into_body();
        let mut received = Vec::new();
        let mut expected = Vec::new();
        for number in 0..5 {
            let event = format!("data: {number}\n\n");
            expected.extend_from_slice(event.as_bytes());
            tx.send(Bytes::from(event)).await.unwrap();
            received.extend_from_slice(&body.next().await.unwrap().unwrap());
            assert_eq!(decompress(algorithm, &received).await, expected, "{algorithm:?}");
        }
        tx.finish().await.unwrap();
        while let Some(rest) = body.next().await {
            received.extend_from_slice(&rest.unwrap());
        }
        assert_eq!(decompress(algorithm, &received).await, expected, "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_large_body_comes_back_whole() {
    let original: Vec<u8> = (0..5 * PART + 7).map(|index| (index % 251) as u8).collect();
    for algorithm in [Algorithm::Zstd, Algorithm::Br, Algorithm::Gzip] {
        let response = apply(page("text/plain", Body::full(original.clone())), name(algorithm));
        let compressed = response.into_body().collect(1 << 20).await.unwrap();
        assert!(compressed.len() < original.len());
        assert!(decompress(algorithm, &compressed).await == original, "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_stream_that_fails_fails_compressed_as_well() {
    let (mut tx, body) = Body::channel(1, None);
    let mut body = apply(page("text/plain", body), "gzip").into_body();
    tx.send(Bytes::from_static(b"half")).await.unwrap();
    assert!(body.next().await.unwrap().is_ok());
    drop(tx);
    assert_eq!(body.next().await, Some(Err(BodyError::Disconnected)));
    assert_eq!(body.next().await, None);
}

#[test]
fn it_is_off_unless_switched_on() {
    assert!(Compression::new(&CompressionConfig::default()).is_none());
    let on =
        CompressionConfig { enabled: true, min_size: ByteSize(0), ..CompressionConfig::default() };
    assert!(Compression::new(&on).is_some());
}
