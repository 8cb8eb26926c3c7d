//! How plugins reach PHP.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use crate::{Deadline, Error, MethodCall, Request, Response};

/// The largest answer of a method or task that is gathered in memory, in bytes.
pub const METHOD_ANSWER_LIMIT: u64 = 64 * 1024 * 1024;

/// Hands requests to the workers of one pool.
///
/// Dropping the future of a call is how a caller leaves: a request that no worker has started is
/// dropped then; one that runs is finished or cancelled, as the pool is configured.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Has `request` answered by `deadline`. Where the body must be read before a worker can take
    /// the request, the time that takes is the client's: the deadline moves by it.
    ///
    /// The response's body may still be arriving when this returns; dropping it unread tells the
    /// worker to stop producing it.
    ///
    /// # Errors
    ///
    /// Those of the table in [`crate::error`], the first of them at `deadline` or before.
    async fn execute(&self, request: Request, deadline: Deadline) -> Result<Response, Error>;

    /// The deadline a request admitted now has by the pool's configuration (`exec_timeout`).
    fn deadline(&self) -> Deadline;

    /// Calls a method of the application with bytes and returns the bytes it answers.
    async fn execute_method(&self, method: &str, payload: Bytes) -> Result<Bytes, Error> {
        let call = MethodCall { method: method.to_owned(), payload };
        let response = self.execute(Request::Method(call), self.deadline()).await?;
        response.into_bytes(METHOD_ANSWER_LIMIT).await
    }

    /// Calls a method of the application with a value and returns the value it answers, both as
    /// JSON on the wire.
    async fn execute_value(&self, method: &str, value: Value) -> Result<Value, Error> {
        let payload = serde_json::to_vec(&value)
            .map_err(|error| Error::BadRequest(format!("argument is not JSON: {error}")))?;
        let answer = self.execute_method(method, payload.into()).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|error| Error::Application {
            code: None,
            message: format!("method {method} did not answer with JSON: {error}"),
        })
    }
}

#[async_trait]
impl<T: Executor + ?Sized> Executor for Arc<T> {
    async fn execute(&self, request: Request, deadline: Deadline) -> Result<Response, Error> {
        (**self).execute(request, deadline).await
    }

    fn deadline(&self) -> Deadline {
        (**self).deadline()
    }

    async fn execute_method(&self, method: &str, payload: Bytes) -> Result<Bytes, Error> {
        (**self).execute_method(method, payload).await
    }

    async fn execute_value(&self, method: &str, value: Value) -> Result<Value, Error> {
        (**self).execute_value(method, value).await
    }
}
