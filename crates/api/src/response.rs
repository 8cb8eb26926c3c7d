//! What a worker answers.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::error::TimeoutPhase;
use crate::{Body, BodyError, Error};

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
    ///
    /// # Errors
    ///
    /// It is larger, or it broke off.
    pub async fn into_bytes(self, limit: u64) -> Result<Bytes, Error> {
        self.body.collect(limit).await.map_err(|error| match error {
            BodyError::TooLarge { limit } => Error::Application {
                code: None,
                message: format!("it answered more than {limit} bytes"),
            },
            BodyError::Timeout => Error::Timeout(TimeoutPhase::Running),
            BodyError::Disconnected | BodyError::Failed(_) => Error::Died(error.to_string()),
        })
    }
}
