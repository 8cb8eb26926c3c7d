//! The `[http]` section of `folk.toml`.

mod compression;
mod limits;
mod list;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use folk_api::config::{Faults, Section, unknown_key};
use ipnet::IpNet;
use serde::Deserialize;

pub use compression::{Algorithm, CompressionConfig};
pub use limits::Limits;
pub use list::OneOrMany;

/// The `[http]` section: where to listen and what to do with what comes in.
///
/// ```
/// use folk_plugin_http::HttpConfig;
///
/// assert_eq!(HttpConfig::default().pool, "default");
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port to listen on, or a list of them. Default `"127.0.0.1:8080"`: nothing is
    /// reachable from outside until somebody says so. Port 0 takes any free one.
    pub listen: OneOrMany<ListenAddress>,
    /// The pool that answers. Default `"default"`.
    pub pool: String,
    /// Directory of files that are served without PHP. Default: none, PHP answers everything.
    /// Relative to the directory of `folk.toml`.
    pub root: Option<PathBuf>,
    /// What is looked for in a directory of `root`, in this order. Default `["index.html"]`.
    pub index: Vec<String>,
    /// Endings of files below `root` that are never sent, whatever their case. Default: those PHP
    /// programs and their remains have, because sending them would show source code. Files and
    /// directories whose name starts with a dot are never sent either, `.well-known` excepted.
    pub forbid: Vec<Ending>,
    /// Directories whose files PHP may send with `X-Sendfile`. Default `[]`, none: a path that a
    /// client can choose would else reach every file of the project. Relative to the directory of
    /// `folk.toml`.
    pub sendfile: Vec<PathBuf>,
    /// Access log on standard output: `"off"`, `"text"` or `"json"`. Default `"off"`: it costs
    /// throughput. Query strings, `Authorization` and cookies are never in it, they hold secrets.
    pub access_log: AccessLogFormat,
    /// Addresses and networks of proxies whose word on client address, scheme and host is taken
    /// as far as `forwarded` names the header. Default `[]`: nobody is believed.
    pub trusted_proxies: Vec<Network>,
    /// The headers those proxies maintain: `"x-forwarded-for"`, `"x-forwarded-proto"`,
    /// `"x-forwarded-host"`, `"forwarded"`. Default the first two: a proxy passes the others on as the
    /// client wrote them unless it is told to set them.
    pub forwarded: Vec<ForwardedHeader>,
    /// Whether each request gets an id, shown to PHP and in the answer as `X-Request-Id`. Default
    /// `true`: it ties a complaint to a log line. An id that came in is kept if it came from a
    /// trusted proxy.
    pub request_id: bool,
    /// Whether answers are compressed: `true`, `false` or a table. Default `false`: a proxy in front
    /// usually does it, and workers share the cores with it.
    pub compression: CompressionConfig,
    /// Whether HTTP/2 without TLS is spoken to clients that start with it ("prior knowledge").
    /// Default `true`.
    pub h2c: bool,
    /// Whether error pages say what went wrong inside. Default `false`: that is for developers only.
    pub debug: bool,
    /// What a client may ask of the server.
    pub limits: Limits,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let ending = |name: &&str| Ending((*name).to_owned());
        Self {
            listen: OneOrMany(vec![ListenAddress(SocketAddr::from(([127, 0, 0, 1], 8080)))]),
            pool: "default".to_owned(),
            root: None,
            index: vec!["index.html".to_owned()],
            forbid: FORBIDDEN.iter().map(ending).collect(),
            sendfile: Vec::new(),
            access_log: AccessLogFormat::Off,
            trusted_proxies: Vec::new(),
            forwarded: vec![ForwardedHeader::XForwardedFor, ForwardedHeader::XForwardedProto],
            request_id: true,
            compression: CompressionConfig::default(),
            h2c: true,
            debug: false,
            limits: Limits::default(),
        }
    }
}

/// Endings whose files show source code or secrets when they are sent as they are.
const FORBIDDEN: [&str; 13] = [
    ".php", ".php3", ".php4", ".php5", ".php7", ".php8", ".phtml", ".phps", ".pht", ".phar",
    ".inc", ".bak", "~",
];

impl HttpConfig {
    /// Reads and checks the section.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn read(section: &Section, pools: &[String]) -> Result<Self, Faults> {
        let mut config: Self = section.read()?;
        let mut faults = Faults::default();
        if !pools.contains(&config.pool) {
            let known: Vec<&str> = pools.iter().map(String::as_str).collect();
            let hint = unknown_key(&config.pool, &known).replace("unknown key", "no such pool");
            faults.push(section.fault("pool", hint));
        }
        if config.listen.0.is_empty() {
            faults.push(section.fault("listen", "is empty; name at least one address"));
        }
        for name in &config.index {
            if name.is_empty() || name.contains('/') {
                faults.push(section.fault("index", format!("{name:?} is not the name of a file")));
            }
        }
        config.root = config.root.map(|root| section.resolve(&root));
        config.sendfile = config.sendfile.iter().map(|dir| section.resolve(dir)).collect();
        faults.or_ok(config)
    }
}

/// Whether and how the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFormat {
    /// Not at all.
    Off,
    /// One line of text a request, close to the combined format of other servers.
    Text,
    /// One JSON object a line.
    Json,
}

/// A header in which a proxy says who the client is and what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: the client's address.
    XForwardedFor,
    /// `X-Forwarded-Proto`: the scheme.
    XForwardedProto,
    /// `X-Forwarded-Host`: host and port.
    XForwardedHost,
    /// `Forwarded` (RFC 7239): all of it.
    Forwarded,
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        numeric.parse().map(Self).map_err(|_| {
            format!("{text:?} is not an address with port; write it as in \"127.0.0.1:8080\"")
        })
    }
}

/// The ending of a file's name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Ending(pub String);

impl TryFrom<String> for Ending {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.contains('/') || text == "." {
            return Err(format!("{text:?} is not the ending of a file's name, as \".php\" is"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// An address or a network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        address.or_else(|_| text.parse()).map(Self).map_err(|_| {
            format!("{text:?} is no address or network; write it as in \"10.0.0.0/8\"")
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
