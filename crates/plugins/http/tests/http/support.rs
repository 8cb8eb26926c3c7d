//! A plugin that runs, with an application in Rust behind it, and a client that sends raw bytes.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use folk_api::config::Section;
use folk_api::events::{Event, EventBus, Subscription};
use folk_api::health::{HealthCheck, HealthRegistry};
use folk_api::lifecycle::{Lifecycle, Phase};
use folk_api::metrics::{Counter, Gauge, Histogram, MetricSpec, MetricsRegistry};
use folk_api::plugin::{BootContext, ConfigureContext, Pools, ServeContext, ShutdownContext};
use folk_api::rpc::{RpcMethod, RpcRegistry};
use folk_api::{Deadline, Error, Executor, HttpRequest, Plugin, Request, Response, async_trait};
use folk_plugin_http::HttpPlugin;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// No step of a test takes longer, unless something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

type Answer = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;

/// The application.
struct App<F>(F);

#[async_trait]
impl<F> Executor for App<F>
where
    F: Fn(HttpRequest) -> Answer + Send + Sync,
{
    async fn execute(&self, request: Request, _deadline: Deadline) -> Result<Response, Error> {
        match request {
            Request::Http(request) => (self.0)(*request).await,
            other => panic!("not an HTTP request: {other:?}"),
        }
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }
}

struct OnePool(Arc<dyn Executor>);

impl Pools for OnePool {
    fn executor(&self, _pool: &str) -> folk_api::anyhow::Result<Arc<dyn Executor>> {
        Ok(Arc::clone(&self.0))
    }
}

/// Metrics that can be looked at.
#[derive(Default, Clone)]
pub(crate) struct Numbers(Arc<Mutex<HashMap<String, f64>>>);

impl Numbers {
    /// The value of `name{label="value"}`; 0 where there is none.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or(0.0)
    }

    /// Waits until it has that value.
    pub(crate) async fn reach(&self, name: &str, value: f64) {
        eventually(&format!("{name} to be {value}"), || self.get(name) == value).await;
    }

    fn handle(&self, spec: MetricSpec<'_>) -> Arc<Number> {
        let labels: Vec<_> =
            spec.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let name = match labels.is_empty() {
            true => spec.name.to_owned(),
            false => format!("{}{{{}}}", spec.name, labels.join(",")),
        };
        Arc::new(Number { name, all: self.clone() })
    }
}

struct Number {
    name: String,
    all: Numbers,
}

impl Number {
    fn change(&self, by: f64) {
        *self.all.0.lock().unwrap().entry(self.name.clone()).or_default() += by;
    }
}

impl Counter for Number {
    fn add(&self, by: u64) {
        self.change(by as f64);
    }
}

impl Gauge for Number {
    fn set(&self, value: f64) {
        self.all.0.lock().unwrap().insert(self.name.clone(), value);
    }

    fn add(&self, by: f64) {
        self.change(by);
    }
}

impl Histogram for Number {
    /// Counts observations.
    fn observe(&self, _value: f64) {
        self.change(1.0);
    }
}

impl MetricsRegistry for Numbers {
    fn counter(&self, spec: MetricSpec<'_>) -> folk_api::anyhow::Result<Arc<dyn Counter>> {
        Ok(self.handle(spec))
    }

    fn gauge(&self, spec: MetricSpec<'_>) -> folk_api::anyhow::Result<Arc<dyn Gauge>> {
        Ok(self.handle(spec))
    }

    fn histogram(
        &self,
        spec: MetricSpec<'_>,
        _buckets: &[f64],
    ) -> folk_api::anyhow::Result<Arc<dyn Histogram>> {
        Ok(self.handle(spec))
    }
}

/// Registries the plugin has no use for.
struct Unused;

impl RpcRegistry for Unused {
    fn register(&self, _: &str, _: Arc<dyn RpcMethod>) -> folk_api::anyhow::Result<()> {
        Ok(())
    }
}

impl HealthRegistry for Unused {
    fn register(&self, _: &str, _: HealthCheck) -> folk_api::anyhow::Result<()> {
        Ok(())
    }
}

impl EventBus for Unused {
    fn publish(&self, _: Event) {}

    fn subscribe(&self, _: usize) -> Box<dyn Subscription> {
        panic!("the plugin subscribes to nothing")
    }
}

/// A plugin with these settings that has booted.
pub(crate) async fn boot<F, R>(
    mut plugin: HttpPlugin,
    config: Value,
    app: F,
) -> folk_api::anyhow::Result<(HttpPlugin, Numbers)>
where
    F: Fn(HttpRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response, Error>> + Send + 'static,
{
    let mut settings = json!({ "listen": "127.0.0.1:0" });
    for (key, value) in config.as_object().unwrap() {
        settings[key] = value.clone();
    }
    let dict = figment::value::Value::serialize(settings).unwrap().into_dict().unwrap();
    plugin.configure(&ConfigureContext {
        section: Section::new(vec!["http".into()], dict, std::env::temp_dir()),
        pools: vec!["default".into()],
    })?;
    let numbers = Numbers::default();
    plugin
        .boot(&BootContext {
            pools: Arc::new(OnePool(Arc::new(App(move |request| {
                Box::pin(app(request)) as Answer
            })))),
            rpc: Arc::new(Unused),
            metrics: Arc::new(numbers.clone()),
            health: Arc::new(Unused),
            events: Arc::new(Unused),
        })
        .await?;
    Ok((plugin, numbers))
}

/// A running plugin.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) numbers: Numbers,
    phase: watch::Sender<Phase>,
    serving: JoinHandle<folk_api::anyhow::Result<()>>,
    plugin: Arc<HttpPlugin>,
}

impl Server {
    /// Starts one in front of this application.
    pub(crate) async fn start<F, R>(config: Value, app: F) -> Self
    where
        F: Fn(HttpRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        Self::start_plugin(HttpPlugin::new(), config, app).await
    }

    /// Likewise, with a plugin that was prepared.
    pub(crate) async fn start_plugin<F, R>(plugin: HttpPlugin, config: Value, app: F) -> Self
    where
        F: Fn(HttpRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        let (plugin, numbers) = boot(plugin, config, app).await.unwrap();
        let plugin = Arc::new(plugin);
        let (phase, lifecycle) = Lifecycle::channel();
        phase.send(Phase::Serving).unwrap();
        let serving = tokio::spawn(Arc::clone(&plugin).serve(ServeContext { lifecycle }));
        Self { address: plugin.local_addr().unwrap(), numbers, phase, serving, plugin }
    }

    /// One whose application answers "hello" to everything.
    pub(crate) async fn hello(config: Value) -> Self {
        Self::start(config, |_| async { Ok(Response::ok("hello")) }).await
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends a request over a connection of its own.
    pub(crate) async fn request(&self, raw: impl AsRef<[u8]>) -> Reply {
        let mut client = self.connect().await;
        client.send(raw).await;
        client.reply().await
    }

    /// Sends a GET with these further header lines, each ended by CRLF.
    pub(crate) async fn get(&self, target: &str, headers: &str) -> Reply {
        self.request(format!("GET {target} HTTP/1.1\r\nhost: test\r\n{headers}\r\n")).await
    }

    pub(crate) fn move_to(&self, phase: Phase) {
        self.phase.send(phase).unwrap();
    }

    /// Waits until `serve` has returned, then shuts down.
    pub(crate) async fn ended(self) {
        timeout(PATIENCE, self.serving).await.expect("serve hangs").unwrap().unwrap();
        self.plugin.shutdown(&ShutdownContext { timeout: PATIENCE }).await.unwrap();
    }
}

/// A client that sends what it is told to.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    /// Whether the next reply has no body because of what it answers.
    pub(crate) asked_head: bool,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, buffer: Vec::new(), asked_head: false }
    }

    pub(crate) async fn send(&mut self, raw: impl AsRef<[u8]>) {
        let sent = timeout(PATIENCE, self.stream.write_all(raw.as_ref())).await;
        sent.expect("the server does not read").unwrap();
    }

    pub(crate) async fn get(&mut self, target: &str) -> Reply {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        self.reply().await
    }

    /// Reads some more; false at the end.
    pub(crate) async fn fill(&mut self) -> bool {
        let mut chunk = vec![0; 16 << 10];
        let read = timeout(PATIENCE, self.stream.read(&mut chunk)).await;
        let count = read.expect("the server neither answers nor closes").unwrap_or(0);
        self.buffer.extend_from_slice(&chunk[..count]);
        count > 0
    }

    /// Reads until this text has come and returns what came up to its end.
    pub(crate) async fn until(&mut self, text: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.buffer, text) {
                return self.buffer.drain(..at + text.len()).collect();
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.fill().await, "closed after {so_far:?}");
        }
    }

    /// Reads a response: its head, and its body by length, by chunks, or to the end.
    pub(crate) async fn reply(&mut self) -> Reply {
        let head = self.until(b"\r\n\r\n").await;
        let mut reply = Reply::parse(&head);
        let bodiless = self.asked_head || matches!(reply.status, 100..=199 | 204 | 304);
        if bodiless {
            return reply;
        }
        if let Some(length) = reply.header("content-length").map(|value| value.parse().unwrap()) {
            while self.buffer.len() < length && self.fill().await {}
            assert!(self.buffer.len() >= length, "the body was cut");
            reply.body = self.buffer.drain(..length).collect();
        } else if reply.header("transfer-encoding").as_deref() == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                reply.body.extend_from_slice(&chunk);
            }
        } else {
            while self.fill().await {}
            reply.body = std::mem::take(&mut self.buffer);
        }
        reply
    }

    /// Reads a chunk of a chunked body; `None` is the last one.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n").await;
        let size = std::str::from_utf8(&line).unwrap().trim();
        let size = usize::from_str_radix(size, 16).unwrap();
        while self.buffer.len() < size + 2 {
            assert!(self.fill().await, "cut in the middle of a chunk");
        }
        let mut chunk: Vec<u8> = self.buffer.drain(..size + 2).collect();
        assert_eq!(chunk.split_off(size), b"\r\n");
        (size > 0).then_some(chunk)
    }

    /// Everything up to the end of the connection, which must come.
    pub(crate) async fn rest(&mut self) -> String {
        while self.fill().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }

    /// Asserts that the server closes without another word.
    pub(crate) async fn closed(&mut self) {
        assert_eq!(self.rest().await, "");
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    fn parse(head: &[u8]) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
        let first = std::str::from_utf8(lines.next().unwrap()).unwrap();
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let colon = line.iter().position(|byte| *byte == b':').unwrap();
                let name = std::str::from_utf8(&line[..colon]).unwrap().to_owned();
                (name, line[colon + 1..].trim_ascii().to_vec())
            })
            .collect();
        Self { status, headers, body: Vec::new() }
    }

    /// The values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        let of_name = self.headers.iter().filter(|(header, _)| header == name);
        of_name.map(|(_, value)| value.as_slice()).collect()
    }

    /// The only value of a header; it must not be repeated.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} is repeated: {:?}", self.headers);
        values.first().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Polls until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
