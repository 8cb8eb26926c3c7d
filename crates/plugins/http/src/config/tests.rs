use super::*;
use figment::value::{Dict, Value};

fn read(pairs: &[(&str, Value)]) -> Result<HttpConfig, String> {
    let section = Section::from_pairs("http", pairs);
    HttpConfig::read(&section, &["default".to_owned(), "slow".to_owned()])
        .map_err(|faults| faults.to_string())
}

fn table(pairs: &[(&str, Value)]) -> Value {
    Value::from(
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Dict>(),
    )
}

#[test]
fn an_empty_section_listens_on_loopback_only() {
    let config = read(&[]).unwrap();
    assert_eq!(config.listen.0, [ListenAddress(SocketAddr::from(([127, 0, 0, 1], 8080)))]);
    assert!(!config.compression.enabled);
    assert!(config.trusted_proxies.is_empty());
    assert!(config.sendfile.is_empty());
    assert_eq!(
        config.forwarded,
        [ForwardedHeader::XForwardedFor, ForwardedHeader::XForwardedProto]
    );
    assert_eq!(config.limits.body_limit(), Some(64 << 20));
}

#[test]
fn reads_one_address_or_a_list_of_them() {
    let one = read(&[("listen", Value::from("localhost:80"))]).unwrap();
    assert_eq!(one.listen.0, [ListenAddress(SocketAddr::from(([127, 0, 0, 1], 80)))]);
    let two = vec![Value::from("127.0.0.1:80"), Value::from("[::1]:80")];
    assert_eq!(read(&[("listen", Value::from(two))]).unwrap().listen.0.len(), 2);
}

#[test]
fn compression_is_a_switch_or_a_table() {
    assert!(read(&[("compression", Value::from(true))]).unwrap().compression.enabled);
    let given = table(&[("min_size", Value::from("2KiB"))]);
    let config = read(&[("compression", given)]).unwrap().compression;
    assert!(config.enabled);
    assert_eq!(config.min_size, folk_api::units::ByteSize(2048));
    let unknown = table(&[("min_sice", Value::from("2KiB"))]);
    let fault = read(&[("compression", unknown)]).unwrap_err();
    assert!(fault.contains("http.compression.min_sice: unknown key; did you mean"), "{fault}");
}

#[test]
fn says_everything_that_is_wrong_at_once() {
    let limits = table(&[
        ("max_head", Value::from("1GiB")),
        ("max_headers", Value::from(0)),
        ("max_connections", Value::from(0)),
        ("idle_timeout", Value::from("0s")),
        ("body_timeout", Value::from("soon")),
        ("max_bdy", Value::from("1MiB")),
    ]);
    let faults = read(&[
        ("listen", Value::from("8080")),
        ("lisen", Value::from("127.0.0.1:8080")),
        ("access_log", Value::from("xml")),
        ("trusted_proxies", Value::from(vec![Value::from("10.0.0.0/99")])),
        ("forwarded", Value::from(vec![Value::from("x-real-ip")])),
        ("forbid", Value::from(vec![Value::from("")])),
        ("limits", limits),
    ])
    .unwrap_err();
    for expected in [
        "http.listen: ",
        "http.lisen: unknown key; did you mean \"listen\"?",
        "http.access_log: is \"xml\"; known are off, text, json",
        "http.trusted_proxies",
        "http.forwarded",
        "http.forbid",
        "http.limits.max_head: is 1GiB; must be between 1KiB and 256KiB",
        "http.limits.max_headers: is 0; must be between 1 and 1000",
        "http.limits.max_connections: is 0",
        "http.limits.idle_timeout: is zero",
        "http.limits.body_timeout: \"soon\" is not a duration",
        "http.limits.max_bdy: unknown key; did you mean \"max_body\"?",
    ] {
        assert!(faults.contains(expected), "{expected:?} is missing in:\n{faults}");
    }
}

#[test]
fn a_pool_that_does_not_exist_is_named_with_the_nearest_that_does() {
    let fault = read(&[("pool", Value::from("slwo"))]).unwrap_err();
    assert_eq!(fault, "http.pool: no such pool; did you mean \"slow\"?");
}

#[test]
fn refuses_an_index_that_leaves_its_directory() {
    let fault = read(&[("index", Value::from(vec![Value::from("../secret")]))]).unwrap_err();
    assert!(fault.contains("http.index: \"../secret\" is not the name of a file"), "{fault}");
}

#[test]
fn a_body_limit_of_zero_is_none() {
    let config = read(&[("limits", table(&[("max_body", Value::from("0B"))]))]).unwrap();
    assert_eq!(config.limits.body_limit(), None);
}
