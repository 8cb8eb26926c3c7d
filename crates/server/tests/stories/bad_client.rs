//! Clients that are slow, rude or out to smuggle.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Client, Folk, Load, Project};

const HANDLER: &str =
    "return $request->method() . ' ' . $request->target() . ' ' . $request->body();";

/// What the server says to these bytes, and that it closes then.
fn told(folk: &Folk<'_>, bytes: &[u8]) -> Option<u16> {
    let mut client = folk.connect();
    // It may have refused already while this is being written.
    let _refused = client.write(bytes);
    let status = client.head().ok().map(|head| head.status);
    let _closed = client.rest();
    status
}

#[test]
fn malformed_requests_are_refused_each_with_its_status() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&["http.limits.max_body=1MiB"]);
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x-many: 1\r\n".repeat(200));
    let table: &[(&str, u16)] = &[
        ("nonsense\r\n\r\n", 400),
        ("\u{0}\u{1}\u{2}\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\n\r\n", 413),
        (&long, 431),
        (&many, 431),
    ];
    for (bytes, status) in table {
        let shown = bytes.chars().take(90).collect::<String>();
        assert_eq!(told(&folk, bytes.as_bytes()), Some(*status), "{shown:?}");
    }
    assert_eq!(folk.get("/").status, 200);
}

#[test]
fn a_coding_that_nobody_here_undoes_is_refused() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    // PHP must not take the coded bytes for the body itself.
    for coding in ["gzip, chunked", "chunked, chunked", "gzip"] {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: {coding}\r\n\r\n"
        );
        let status = told(&folk, format!("{head}0\r\n\r\n").as_bytes());
        assert!(matches!(status, Some(400 | 501)), "{coding} is answered with {status:?}");
    }
}

#[test]
fn a_body_that_turns_out_too_large_is_refused() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&["http.limits.max_body=100KiB"]);
    let mut client = folk.connect();
    client.write(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..10 {
        let _refused = client.write(chunk.as_bytes());
    }
    assert_eq!(client.head().unwrap().status, 413);
    assert!(project.temporary_files().is_empty());
}

#[test]
fn what_follows_a_body_is_never_taken_for_a_request() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    let inner = "GET /inner HTTP/1.1\r\nhost: a\r\n\r\n";
    let first =
        format!("POST /first HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", inner.len());
    let second = "GET /second HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write(format!("{first}{inner}{second}").as_bytes()).unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let head = client.head().unwrap();
        seen.push(String::from_utf8(client.body(&head).unwrap()).unwrap());
    }
    assert!(seen[0].starts_with("POST /first GET /inner"), "{seen:?}");
    assert!(seen[1].starts_with("GET /second"), "{seen:?}");
}

#[test]
fn slow_clients_are_told_in_time() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[
        "http.limits.head_timeout=300ms",
        "http.limits.body_timeout=300ms",
        "http.limits.idle_timeout=300ms",
    ]);
    let started = Instant::now();
    // One byte a while: that it is not silent does not help it.
    let mut slow = folk.connect();
    let head = b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ".iter().chain(std::iter::repeat(&b'x'));
    for byte in head {
        if slow.write(&[*byte]).is_err() || started.elapsed() > Duration::from_secs(2) {
            break;
        }
        crate::support::wait::pause(Duration::from_millis(20));
        if started.elapsed() > Duration::from_millis(600) {
            break;
        }
    }
    assert_eq!(slow.head().unwrap().status, 408);

    assert_eq!(
        told(&folk, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello"),
        Some(408)
    );
    // Silence is not answered; the connection just ends.
    assert_eq!(told(&folk, b""), None);
    let mut idle = folk.connect();
    assert_eq!(idle.get("/").unwrap().status, 200);
    assert_eq!(idle.rest().unwrap(), b"");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_crowd_of_bad_clients_does_not_disturb_good_ones() {
    let project = Project::serving("return 'hello';");
    let folk = project.serve(&["http.limits.head_timeout=1s"]);
    let load = Load::start(folk.address(), 2, "/");
    let mut crowd = Vec::new();
    for turn in 0..200 {
        let mut client = Client::connect(folk.address()).unwrap();
        let bytes: &[u8] = match turn % 5 {
            0 => b"GET / HTTP/1.1\r\nhost",
            1 => b"nonsense\r\n\r\n",
            2 => b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf",
            3 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is no frame",
            _ => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        };
        client.write(bytes).unwrap();
        // Some leave at once, some stay.
        if turn % 2 == 0 {
            crowd.push(client);
        }
    }
    load.wait_for(200);
    load.stop().assert_none_failed();
    drop(crowd);
    assert_eq!(folk.stop().code, Some(0));
}

#[test]
fn one_connection_too_many_is_refused_and_the_others_are_kept() {
    let project = Project::serving("return 'hello';");
    let folk = project.serve(&["http.limits.max_connections=3"]);
    let mut kept: Vec<_> = (0..3).map(|_| folk.connect()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let refused = folk.connect().head().unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.text("retry-after").is_some());
    for client in &mut kept {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    drop(kept);
    crate::support::until("a free place", || (folk.get("/").status == 200).then_some(()));
}
