//! What a worker answers.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::Body;

/// The answer of a worker. For HTTP it is the response; a method's or task's answer is the body of
/// a 200 without headers.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status; 200 for methods and tasks.
    pub status: StatusCode,
    /// The HTTP headers, repeated ones in their order.
    pub headers: HeaderMap,
    /// The content. It may go on arriving after the response was handed over.
    pub body: Body,
}

impl Response {
    /// A 200 with this body and no headers.
    pub fn ok(body: impl Into<Body>) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into() }
    }

    /// The whole body, for answers that are small by nature: at most `limit` bytes.
    pub async fn into_bytes(self, limit: u64) -> Result<Bytes, crate::Error> {
        self.body.collect(limit).await.map_err(|error| crate::Error::Died(error.to_string()))
    }
}
