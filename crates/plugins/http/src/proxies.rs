//! Who the client is, behind proxies that are trusted.
//!
//! Each proxy appends to `X-Forwarded-For` whom it was contacted by, so the right-most entry that is
//! not a trusted proxy itself is the client: everything left of it the client may have made up.
//! A proxy passes on what it does not maintain as the client sent it, so only those headers are read
//! that `http.forwarded` names. Of those, `X-Forwarded-*` is used where there is any of it, else
//! `Forwarded` (RFC 7239).

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use crate::config::{ForwardedHeader, Network};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The proxies that are believed.
#[derive(Debug, Default)]
pub(crate) struct TrustedProxies {
    networks: Vec<IpNet>,
    /// The headers they maintain.
    maintained: Vec<ForwardedHeader>,
}

/// What trusted proxies say of the client; what they do not say is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Forwarded {
    pub(crate) client: Option<SocketAddr>,
    pub(crate) secure: Option<bool>,
    pub(crate) host: Option<String>,
}

impl TrustedProxies {
    pub(crate) fn new(networks: &[Network], maintained: &[ForwardedHeader]) -> Self {
        let networks = networks.iter().map(|network| network.0).collect();
        Self { networks, maintained: maintained.to_vec() }
    }

    /// Whether that address is a proxy that is believed.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// What the headers of a request say that came from a trusted proxy.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Forwarded {
        use ForwardedHeader::{
            Forwarded as Rfc7239, XForwardedFor, XForwardedHost, XForwardedProto,
        };
        let values = |header: ForwardedHeader, name: &HeaderName| {
            if self.maintained.contains(&header) { last_values(headers, name) } else { Vec::new() }
        };
        let for_ = values(XForwardedFor, &X_FORWARDED_FOR);
        let proto = values(XForwardedProto, &X_FORWARDED_PROTO).into_iter().next_back();
        let host = values(XForwardedHost, &X_FORWARDED_HOST).into_iter().next_back();
        if for_.is_empty() && proto.is_none() && host.is_none() {
            return self.read_rfc7239(&values(Rfc7239, &FORWARDED));
        }
        Forwarded {
            client: self
                .right_most_untrusted(for_.iter().map(|hop| parse_hop(hop)))
                .map(|hop| hop.1),
            secure: proto.and_then(is_secure),
            host: host.map(str::to_owned),
        }
    }

    fn read_rfc7239(&self, values: &[&str]) -> Forwarded {
        let elements: Vec<Element<'_>> = values.iter().map(|text| Element::parse(text)).collect();
        let hops = elements.iter().map(|element| element.for_.and_then(parse_hop));
        // Scheme and host stand beside the client, in the element of the proxy it spoke to.
        let client = self.right_most_untrusted(hops);
        let element = match client {
            Some((index, _)) => elements.get(index),
            None => elements.last(),
        };
        Forwarded {
            client: client.map(|hop| hop.1),
            secure: element.and_then(|element| element.proto).and_then(is_secure),
            host: element.and_then(|element| element.host).map(str::to_owned),
        }
    }

    /// The hop that is the client, and its place. Where something is no address, the hop right of it
    /// is the last one that is known.
    fn right_most_untrusted(
        &self,
        hops: impl DoubleEndedIterator<Item = Option<SocketAddr>> + ExactSizeIterator,
    ) -> Option<(usize, SocketAddr)> {
        let mut found = None;
        for (index, hop) in hops.enumerate().rev() {
            let Some(address) = hop else { break };
            found = Some((index, address));
            if !self.contain(address.ip()) {
                break;
            }
        }
        found
    }
}

/// The items of a header that is a list, over all its lines. One that is not text ends it: what
/// stands left of it cannot be told apart.
fn last_values<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    let lines = headers.get_all(name).iter();
    let items =
        lines.flat_map(|line| split_outside_quotes(line.to_str().unwrap_or("\u{fffd}"), ','));
    items.map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

fn is_secure(scheme: &str) -> Option<bool> {
    if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") {
        return Some(true);
    }
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws")).then_some(false)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_hop(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address.to_canonical(), 0));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let bare = text.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 0))
}

/// One element of `Forwarded`: `for=192.0.2.1;proto=https;host=example.org`.
#[derive(Debug, Default)]
struct Element<'h> {
    for_: Option<&'h str>,
    proto: Option<&'h str>,
    host: Option<&'h str>,
}

impl<'h> Element<'h> {
    fn parse(text: &'h str) -> Self {
        let mut element = Self::default();
        for pair in split_outside_quotes(text, ';') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
            match name.trim() {
                name if name.eq_ignore_ascii_case("for") => element.for_ = Some(value),
                name if name.eq_ignore_ascii_case("proto") => element.proto = Some(value),
                name if name.eq_ignore_ascii_case("host") => element.host = Some(value),
                _ => {}
            }
        }
        element
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    type Lines<'a> = &'a [(&'static str, &'a str)];

    const EVERY: [ForwardedHeader; 4] = [
        ForwardedHeader::XForwardedFor,
        ForwardedHeader::XForwardedProto,
        ForwardedHeader::XForwardedHost,
        ForwardedHeader::Forwarded,
    ];

    fn trusted() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "127.0.0.1", "fd00::/8"];
        let networks = networks.map(|text| Network::try_from(text.to_owned()).unwrap());
        TrustedProxies::new(&networks, &EVERY)
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn client(lines: &[(&'static str, &str)]) -> Option<String> {
        trusted().read(&headers(lines)).client.map(|client| match client.port() {
            0 => client.ip().to_string(),
            _ => client.to_string(),
        })
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_is_no_trusted_proxy() {
        let table: &[(Lines<'_>, Option<&str>)] = &[
            (&[], None),
            (&[("x-forwarded-for", "192.0.2.1")], Some("192.0.2.1")),
            (&[("x-forwarded-for", "6.6.6.6, 192.0.2.1")], Some("192.0.2.1")),
            (&[("x-forwarded-for", "6.6.6.6, 192.0.2.1, 10.1.2.3")], Some("192.0.2.1")),
            (&[("x-forwarded-for", "10.0.0.1, 10.0.0.2")], Some("10.0.0.1")),
            (
                &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")],
                Some("192.0.2.1"),
            ),
            (&[("x-forwarded-for", "192.0.2.1:4711")], Some("192.0.2.1:4711")),
            (&[("x-forwarded-for", "[2001:db8::1]:80")], Some("[2001:db8::1]:80")),
            (&[("x-forwarded-for", "2001:db8::1, fd00::7")], Some("2001:db8::1")),
            (&[("x-forwarded-for", "::ffff:10.0.0.9")], Some("10.0.0.9")),
            (&[("x-forwarded-for", "192.0.2.1, unknown")], None),
            (&[("x-forwarded-for", "192.0.2.1, nonsense, 10.0.0.1")], Some("10.0.0.1")),
            (&[("x-forwarded-for", "")], None),
            (&[("forwarded", "for=192.0.2.1")], Some("192.0.2.1")),
            (
                &[("forwarded", "for=6.6.6.6, for=\"[2001:db8::1]:80\", for=10.0.0.1")],
                Some("[2001:db8::1]:80"),
            ),
            (&[("forwarded", "For=_hidden, For=10.0.0.1")], Some("10.0.0.1")),
            (&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")], Some("192.0.2.1")),
        ];
        for (lines, expected) in table {
            assert_eq!(client(lines).as_deref(), *expected, "{lines:?}");
        }
    }

    #[test]
    fn scheme_and_host_come_from_the_nearest_proxy() {
        let read = |lines: &[(&'static str, &str)]| {
            let forwarded = trusted().read(&headers(lines));
            (forwarded.secure, forwarded.host)
        };
        let host = |text: &str| Some(text.to_owned());
        assert_eq!(
            read(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "a.example")]),
            (Some(true), host("a.example"))
        );
        assert_eq!(read(&[("x-forwarded-proto", "https, http")]), (Some(false), None));
        assert_eq!(read(&[("x-forwarded-proto", "gopher")]), (None, None));
        assert_eq!(
            read(&[(
                "forwarded",
                "for=6.6.6.6;proto=http;host=evil.example, \
                for=192.0.2.1;proto=https;host=\"a.example:8443\", for=10.0.0.1;proto=http"
            )]),
            (Some(true), host("a.example:8443"))
        );
        assert_eq!(read(&[("forwarded", "proto=https")]), (Some(true), None));
    }

    #[test]
    fn what_the_proxy_does_not_maintain_is_not_believed() {
        let lines = headers(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.example"),
            ("forwarded", "for=192.0.2.9;proto=http;host=b.example"),
        ]);
        let read = |maintained: &[ForwardedHeader]| {
            let proxies = TrustedProxies { maintained: maintained.to_vec(), ..trusted() };
            let said = proxies.read(&lines);
            (said.client.map(|client| client.ip().to_string()), said.secure, said.host)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read(&[]), (None, None, None));
        assert_eq!(read(&EVERY[..1]), (some("192.0.2.1"), None, None));
        assert_eq!(read(&EVERY[..2]), (some("192.0.2.1"), Some(true), None));
        assert_eq!(read(&EVERY[..3]), (some("192.0.2.1"), Some(true), some("a.example")));
        assert_eq!(read(&EVERY[3..]), (some("192.0.2.9"), Some(false), some("b.example")));
    }

    #[test]
    fn a_value_that_is_not_text_hides_what_is_left_of_it() {
        let mut lines = headers(&[("x-forwarded-for", "192.0.2.1")]);
        lines.append("x-forwarded-for", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(trusted().read(&lines).client, None);
    }

    #[test]
    fn trusts_addresses_networks_and_mapped_addresses_of_them() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("fd00::1", true),
            ("::1", false),
        ] {
            assert_eq!(trusted().contain(address.parse().unwrap()), expected, "{address}");
        }
    }
}
