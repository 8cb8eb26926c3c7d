//! Methods that PHP can call over the server's RPC socket.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

/// What a method was called with.
#[derive(Debug, Clone)]
pub struct RpcCall {
    /// The method's name: `queue.push`.
    pub method: String,
    /// How [`payload`](Self::payload) is encoded.
    pub codec: RpcCodec,
    /// Its argument.
    pub payload: Bytes,
}

impl RpcCall {
    /// The argument as a value. Raw payloads are no values.
    pub fn value(&self) -> Result<Value, RpcError> {
        match self.codec {
            RpcCodec::Json if self.payload.is_empty() => Ok(Value::Null),
            RpcCodec::Json => serde_json::from_slice(&self.payload)
                .map_err(|error| RpcError::BadArgument(format!("not JSON: {error}"))),
            RpcCodec::Raw | RpcCodec::Proto => {
                Err(RpcError::BadArgument("this method takes JSON".into()))
            }
        }
    }
}

/// How arguments and answers are encoded; the answer is in the codec of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpcCodec {
    /// JSON.
    Json,
    /// Bytes as they are.
    Raw,
    /// A protobuf message.
    Proto,
}

/// Why a call failed; the text goes to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// No plugin registered this method.
    #[error("unknown method {0}")]
    UnknownMethod(String),
    /// The argument is not what the method takes.
    #[error("bad argument: {0}")]
    BadArgument(String),
    /// It took too long.
    #[error("the call did not end in time")]
    Timeout,
    /// The method failed.
    #[error("{0}")]
    Failed(String),
}

/// A method. It may be called from the time it is registered until the server stops: also before
/// the plugin's `serve` has begun and after it has returned.
#[async_trait]
pub trait RpcMethod: Send + Sync {
    /// Answers one call. Bounded from outside by the server's deadline for calls.
    async fn call(&self, call: RpcCall) -> Result<Bytes, RpcError>;
}

/// Where plugins register methods, at boot.
pub trait RpcRegistry: Send + Sync {
    /// Registers `method` under `name`, `plugin.verb`.
    ///
    /// # Errors
    ///
    /// The name is taken.
    fn register(&self, name: &str, method: Arc<dyn RpcMethod>) -> anyhow::Result<()>;
}

/// A method from a function of value to value, for methods that take and give JSON. The function
/// answers from memory, at once: it runs on the server's own threads. A method that does I/O or takes
/// long implements [`RpcMethod`].
pub fn json_method<F>(function: F) -> Arc<dyn RpcMethod>
where
    F: Fn(Value) -> Result<Value, RpcError> + Send + Sync + 'static,
{
    struct JsonMethod<F>(F);

    #[async_trait]
    impl<F> RpcMethod for JsonMethod<F>
    where
        F: Fn(Value) -> Result<Value, RpcError> + Send + Sync,
    {
        async fn call(&self, call: RpcCall) -> Result<Bytes, RpcError> {
            let answer = (self.0)(call.value()?)?;
            serde_json::to_vec(&answer)
                .map(Bytes::from)
                .map_err(|error| RpcError::Failed(error.to_string()))
        }
    }

    Arc::new(JsonMethod(function))
}
