//! Heads of requests and answers, on their way through.

use crate::support::{Ask, Project};

#[test]
fn repeated_headers_stay_apart_and_in_order() {
    let project = Project::serving(
        "return Folk\\Response::text('x')->withCookie('a', '1')->withCookie('b', '2; =')
            ->withAddedHeader('x-many', ['one', 'two']);",
    );
    let answer = project.serve(&[]).get("/");
    let cookies = answer.values("set-cookie");
    assert_eq!(cookies.len(), 2, "{answer:?}");
    assert!(cookies[0].starts_with(b"a=1; "), "{answer:?}");
    assert!(cookies[1].starts_with(b"b=2%3B%20%3D; "), "{answer:?}");
    assert_eq!(answer.values("x-many"), [b"one", b"two"]);
}

#[test]
fn bytes_that_are_not_utf_8_survive_both_ways() {
    let project = Project::serving(
        "return Folk\\Response::text(bin2hex($request->header('x-raw')), 200, ['x-raw' => \"\\xff\\xe9\"]);",
    );
    let folk = project.serve(&[]);
    let answer = folk.ask(&Ask::get("/").header("x-raw", b"caf\xe9 \xf0\x28"));
    assert_eq!(answer.body(), "636166e920f028");
    assert_eq!(answer.values("x-raw"), [b"\xff\xe9"]);
}

#[test]
fn what_the_client_sent_arrives() {
    let project = Project::serving(
        "return ['method' => $request->method(), 'target' => $request->target(), 'query' => $request->query(),
            'many' => $request->headers()['x-many'], 'cookies' => $request->cookies(),
            'remote' => $request->remoteAddress(), 'host' => $request->authority(),
            'protocol' => $request->protocol(), 'secure' => $request->isSecure()];",
    );
    let ask = Ask::new("PATCH", "/a%20b/../c?x[]=1&x[]=%32")
        .header("X-Many", "one")
        .header("x-many", "two")
        .header("cookie", "a=1; b=2%20")
        // Nobody said that this one is to be believed.
        .header("x-forwarded-for", "203.0.113.7");
    let shown = project.serve(&[]).ask(&ask).json();
    let expected = serde_json::json!({
        "method": "PATCH",
        "target": "/a%20b/../c?x[]=1&x[]=%32",
        "query": { "x": ["1", "2"] },
        "many": ["one", "two"],
        "cookies": { "a": "1", "b": "2 " },
        "remote": "127.0.0.1",
        "host": "story",
        "protocol": "HTTP/1.1",
        "secure": false,
    });
    assert_eq!(shown, expected);
}

#[test]
fn a_trusted_proxy_is_believed() {
    let project = Project::serving("return $request->remoteAddress() . ' ' . $request->scheme();");
    let folk = project.serve(&["http.trusted_proxies=[\"127.0.0.0/8\"]"]);
    let ask = Ask::get("/")
        .header("x-forwarded-for", "198.51.100.1, 203.0.113.7")
        .header("x-forwarded-proto", "https");
    assert_eq!(folk.ask(&ask).body(), "203.0.113.7 https");
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    let project = Project::serving(
        "return $request->path() === '/stream' ? (function () { yield 'a'; yield 'b'; })() : 'hello';",
    );
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    let answer = client.ask(&Ask::new("HEAD", "/")).unwrap();
    assert_eq!((answer.status, answer.text("content-length").unwrap().as_str()), (200, "5"));
    assert_eq!(client.ask(&Ask::new("HEAD", "/stream")).unwrap().status, 200);
    // Had a body followed, this would read it for a head.
    assert_eq!(client.get("/").unwrap().body(), "hello");
}

#[test]
fn a_client_of_http_1_0_gets_the_whole_and_then_the_end() {
    let project = Project::serving(
        "return $request->path() === '/stream' ? (function () { yield 'a'; yield 'b'; })() : $request->protocol();",
    );
    let folk = project.serve(&[]);
    for (target, body) in [("/", "HTTP/1.0"), ("/stream", "ab")] {
        let mut client = folk.connect();
        client.write(format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let head = client.head().unwrap();
        assert_eq!(head.status, 200);
        assert!(head.values("transfer-encoding").is_empty(), "{head:?}");
        assert_eq!(client.body(&head).unwrap(), body.as_bytes());
        assert_eq!(client.rest().unwrap(), b"");
    }
}

#[test]
fn an_answer_without_content_has_no_body() {
    let project = Project::serving(
        "return $request->path() === '/304' ? new Folk\\Response('', 304, ['etag' => '\"x\"']) : null;",
    );
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    assert_eq!(client.get("/").unwrap().status, 204);
    assert_eq!(client.get("/304").unwrap().status, 304);
    assert_eq!(client.get("/").unwrap().status, 204);
}

#[test]
fn each_request_has_an_id_that_ties_answer_and_log_together() {
    let project =
        Project::serving("if ($request->path() === '/exit') { exit(1); } return $request->id();");
    let folk = project.serve(&[]);
    let (one, two) = (folk.get("/"), folk.get("/"));
    assert_eq!(one.text("x-request-id").unwrap(), one.body());
    assert_ne!(one.body(), two.body());
    let id = folk.get("/exit").text("x-request-id").unwrap();
    folk.log.wait_for(&id);
    // An id that a stranger made up is not taken over.
    let forged = folk.ask(&Ask::get("/").header("x-request-id", "forged"));
    assert_ne!(forged.body(), "forged");
}

#[test]
fn a_handler_cannot_be_made_to_split_its_answer() {
    let project = Project::serving(
        "return Folk\\Response::text('x', 200, ['location' => $request->queryParam('to')]);",
    );
    let folk = project.serve(&[]);
    let answer = folk.get("/?to=/a%0d%0aset-cookie:%20evil=1");
    assert_eq!(answer.status, 500);
    assert!(answer.values("set-cookie").is_empty(), "{answer:?}");
}

#[test]
fn http_2_is_spoken_to_clients_that_begin_with_it() {
    let project = Project::serving("return 'hello';");
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    // The preface and empty settings; the server's own settings are its first frame.
    client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    client.finish_writing();
    let answer = client.rest().unwrap();
    assert_eq!(answer.get(3), Some(&4), "{answer:?}");
}
