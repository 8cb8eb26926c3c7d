//! The RPC socket: PHP processes call methods that plugins registered.
//!
//! Goridge RPC frames over a Unix socket that only the server's user can open. A frame has two
//! options, the call's sequence number and the length of the method's name; the payload is name
//! and argument. The answer repeats sequence number and name; with the ERROR flag its payload is a
//! message. Calls of one connection are answered in order. See `spec/06-rpc-and-cli.md`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use folk_api::lifecycle::Lifecycle;
use folk_api::rpc::{RpcCall, RpcCodec, RpcError, RpcMethod, RpcRegistry};
use folk_goridge::{Frame, flags};
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::socket::PrivateSocket;

/// The largest call, in bytes.
const MAX_CALL: u32 = 32 << 20;
/// Connections held at once: more than the PHP processes of any one machine.
const MAX_CONNECTIONS: usize = 1024;
/// How long a method may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take over one frame, once it has begun, and to read an answer.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);

/// The methods that plugins registered.
#[derive(Default)]
pub struct Methods(RwLock<BTreeMap<String, Arc<dyn RpcMethod>>>);

impl Methods {
    fn get(&self, name: &str) -> Option<Arc<dyn RpcMethod>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Answers one call. A method that panics or takes too long answers with an error.
    async fn call(&self, call: RpcCall) -> Result<Bytes, RpcError> {
        let method =
            self.get(&call.method).ok_or_else(|| RpcError::UnknownMethod(call.method.clone()))?;
        let answering = std::panic::AssertUnwindSafe(method.call(call)).catch_unwind();
        match tokio::time::timeout(CALL_TIMEOUT, answering).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panic)) => Err(RpcError::Failed("the method panicked".into())),
            Err(_elapsed) => Err(RpcError::Timeout),
        }
    }
}

impl RpcRegistry for Methods {
    fn register(&self, name: &str, method: Arc<dyn RpcMethod>) -> anyhow::Result<()> {
        let mut methods = self.0.write().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(!methods.contains_key(name), "RPC method {name} is registered already");
        methods.insert(name.to_owned(), method);
        Ok(())
    }
}

/// A bound RPC socket.
#[derive(Debug)]
pub struct RpcServer {
    socket: PrivateSocket,
}

impl RpcServer {
    /// Binds the socket at `path`, mode 0600. One that a dead server left behind is replaced.
    ///
    /// # Errors
    ///
    /// A live server has it, something else is in its place, or the directory does not allow it.
    pub async fn bind(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { socket: PrivateSocket::bind(path).await? })
    }

    /// Answers calls until the server stops; calls that run while it drains are still answered.
    pub async fn serve(self, methods: Arc<Methods>, lifecycle: Lifecycle) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let stopping = lifecycle.stopping();
        tokio::pin!(stopping);
        loop {
            let accepted = tokio::select! {
                () = &mut stopping => break,
                accepted = self.socket.listener.accept() => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: others are freed before long.
                    tracing::warn!(target: "folk::rpc", %error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let methods = Arc::clone(&methods);
                    connections.spawn(async move {
                        let _place = place;
                        if let Err(error) = converse(stream, &methods).await {
                            tracing::debug!(target: "folk::rpc", %error, "a connection ended");
                        }
                    });
                }
                Err(_) => tracing::warn!(
                    target: "folk::rpc", limit = MAX_CONNECTIONS, "too many connections; one is refused"
                ),
            }
        }
        connections.shutdown().await;
    }
}

/// Answers one client until it leaves or breaks the protocol.
async fn converse(mut stream: UnixStream, methods: &Methods) -> anyhow::Result<()> {
    let mut input = BytesMut::with_capacity(8 << 10);
    let mut output = BytesMut::new();
    while let Some(frame) = next_frame(&mut stream, &mut input).await? {
        answer(frame, methods, &mut output).await?;
        tokio::time::timeout(TRANSFER_TIMEOUT, stream.write_all(&output)).await??;
        output.clear();
    }
    Ok(())
}

/// The next frame; `None` when the client left between two.
async fn next_frame(
    stream: &mut UnixStream,
    input: &mut BytesMut,
) -> anyhow::Result<Option<Frame>> {
    if input.is_empty() && stream.read_buf(input).await? == 0 {
        return Ok(None);
    }
    let rest = async {
        loop {
            if let Some(frame) = folk_goridge::decode(input, MAX_CALL)? {
                return anyhow::Ok(frame);
            }
            anyhow::ensure!(stream.read_buf(input).await? > 0, "half a frame");
        }
    };
    Ok(Some(tokio::time::timeout(TRANSFER_TIMEOUT, rest).await??))
}

async fn answer(frame: Frame, methods: &Methods, output: &mut BytesMut) -> anyhow::Result<()> {
    let head = frame.head;
    let &[sequence, name_length] = head.options() else {
        anyhow::bail!("a call has two options, not {}", head.options().len())
    };
    let mut payload = frame.payload;
    anyhow::ensure!(name_length as usize <= payload.len(), "a name longer than the call");
    let name = payload.split_to(name_length as usize);
    let codec = [(flags::JSON, RpcCodec::Json), (flags::PROTO, RpcCodec::Proto)]
        .into_iter()
        .find_map(|(flag, codec)| head.has(flag).then_some(codec))
        .unwrap_or(RpcCodec::Raw);
    let called = match std::str::from_utf8(&name) {
        Ok(method) => methods.call(RpcCall { method: method.to_owned(), codec, payload }).await,
        Err(_) => Err(RpcError::UnknownMethod(String::from_utf8_lossy(&name).into_owned())),
    };
    let codec_flag = head.flags & (flags::JSON | flags::PROTO | flags::RAW);
    let (frame_flags, body) = match called {
        Ok(body) => (codec_flag, body),
        Err(error) => (codec_flag | flags::ERROR, Bytes::from(error.to_string())),
    };
    let length = u32::try_from(name.len() + body.len())?;
    folk_goridge::encode_head(output, frame_flags, 0, &[sequence, name_length], length);
    output.extend_from_slice(&name);
    output.extend_from_slice(&body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use folk_api::lifecycle::Phase;
    use folk_api::rpc::json_method;
    use serde_json::json;
    use tokio::sync::watch;

    use super::*;

    struct Running {
        path: PathBuf,
        phase: watch::Sender<Phase>,
        served: tokio::task::JoinHandle<()>,
        _directory: tempfile::TempDir,
    }

    async fn start() -> Running {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rpc.sock");
        let methods = Arc::new(Methods::default());
        methods
            .register(
                "test.double",
                json_method(|value| {
                    let number = value
                        .as_i64()
                        .ok_or_else(|| RpcError::BadArgument("not a number".into()))?;
                    Ok(json!(number * 2))
                }),
            )
            .unwrap();
        methods.register("test.panic", json_method(|_| panic!("boom"))).unwrap();
        let server = RpcServer::bind(&path).await.unwrap();
        let (phase, lifecycle) = Lifecycle::channel();
        let served = tokio::spawn(server.serve(methods, lifecycle));
        Running { path, phase, served, _directory: directory }
    }

    async fn call(stream: &mut UnixStream, method: &str, argument: &str) -> Frame {
        let mut call = BytesMut::new();
        let payload = format!("{method}{argument}");
        folk_goridge::encode(
            &mut call,
            flags::JSON,
            0,
            &[7, method.len() as u32],
            payload.as_bytes(),
        );
        stream.write_all(&call).await.unwrap();
        let mut input = BytesMut::new();
        next_frame(stream, &mut input).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn answers_calls_in_order_with_sequence_and_name() {
        let server = start().await;
        let mut stream = UnixStream::connect(&server.path).await.unwrap();
        for number in [21, 4] {
            let frame = call(&mut stream, "test.double", &number.to_string()).await;
            assert_eq!(frame.head.options(), [7, 11]);
            assert_eq!(frame.payload, format!("test.double{}", number * 2));
        }
    }

    #[tokio::test]
    async fn says_what_was_wrong_with_a_call_and_goes_on() {
        let server = start().await;
        let mut stream = UnixStream::connect(&server.path).await.unwrap();
        for (method, argument, text) in [
            ("test.double", "\"x\"", "bad argument: not a number"),
            ("test.double", "{", "bad argument: not JSON"),
            ("test.nothing", "1", "unknown method test.nothing"),
            ("test.panic", "1", "the method panicked"),
        ] {
            let frame = call(&mut stream, method, argument).await;
            assert!(frame.head.has(flags::ERROR));
            let payload = String::from_utf8_lossy(&frame.payload).into_owned();
            assert!(payload.contains(text), "{payload}");
        }
        assert_eq!(call(&mut stream, "test.double", "3").await.payload, "test.double6");
    }

    #[tokio::test]
    async fn a_client_that_speaks_nonsense_is_cut_off_and_harms_no_other() {
        let server = start().await;
        let mut bad = UnixStream::connect(&server.path).await.unwrap();
        bad.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        bad.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
        let mut good = UnixStream::connect(&server.path).await.unwrap();
        assert_eq!(call(&mut good, "test.double", "1").await.payload, "test.double2");
    }

    #[tokio::test]
    async fn the_socket_goes_when_the_server_stops() {
        let server = start().await;
        server.phase.send_replace(Phase::Stopping);
        server.served.await.unwrap();
        assert!(!server.path.exists());
    }
}
