//! Answers that come part by part.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::process::memory;
use crate::support::wait::pause;
use crate::support::{Ask, Project};

#[test]
fn each_event_arrives_before_the_next_is_made() {
    let project = Project::serving(
        r#"return Folk\Response::stream((function () {
            for ($event = 1; $event <= 3; ++$event) {
                yield "data: $event\n\n";
                wait_for("go$event");
            }
        })(), 200, ['content-type' => 'text/event-stream']);"#,
    );
    let folk = project.serve(&["http.compression=true"]);
    let mut client = folk.connect();
    client.send(&Ask::get("/").header("accept-encoding", "identity")).unwrap();
    assert_eq!(client.head().unwrap().text("content-type").unwrap(), "text/event-stream");
    for event in 1..=3 {
        let chunk = client.chunk().unwrap().unwrap();
        assert_eq!(chunk, format!("data: {event}\n\n").into_bytes());
        project.wait_for_request_at(&format!("go{event}"));
        project.let_go(&format!("go{event}"));
    }
    assert_eq!(client.chunk().unwrap(), None);
}

#[test]
fn the_head_alone_arrives_before_the_body_begins() {
    let project = Project::serving(
        "return Folk\\Response::stream((function () { yield ''; wait_for('go'); yield 'body'; })());",
    );
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    let head = client.head().unwrap();
    assert_eq!(head.status, 200);
    project.let_go("go");
    assert_eq!(client.body(&head).unwrap(), b"body");
}

#[test]
fn a_client_that_leaves_stops_the_generator() {
    let project = Project::serving(
        r"if ($request->path() === '/') {
            return (function () {
                try {
                    while (true) { yield str_repeat('x', 1000); usleep(1000); }
                } finally {
                    touch('stopped');
                }
            })();
        }
        return (string) getmypid();",
    );
    let folk = project.serve(&["pools.default.workers=1"]);
    let pid = folk.get("/pid").body();
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    client.head().unwrap();
    client.chunk().unwrap();
    drop(client);
    let started = Instant::now();
    project.wait_for_file("stopped");
    assert_eq!(folk.get("/pid").body(), pid, "the worker goes on");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_large_answer_passes_through_in_little_memory() {
    let project = Project::serving(
        r"ini_set('memory_limit', '1G');
        $part = str_repeat('0123456789abcdef', 1 << 16);
        return match ($request->path()) {
            '/parts' => (function () use ($part) { for ($i = 0; $i < 100; ++$i) { yield $part; } })(),
            '/whole' => str_repeat($part, 100),
            default => 'small',
        };",
    );
    let folk = project.serve(&["pools.default.workers=1"]);
    assert_eq!(folk.get("/").status, 200);
    let before = memory(folk.pid(), "VmHWM");
    for target in ["/parts", "/whole"] {
        let mut client = folk.connect();
        client.send(&Ask::get(target)).unwrap();
        let head = client.head().unwrap();
        // Whatever PHP has ready meanwhile, it is not the server that holds it.
        pause(Duration::from_millis(200));
        let body = client.body(&head).unwrap();
        assert_eq!(body.len(), 100 << 20, "{target}");
        assert!(body.chunks(16).all(|part| part == b"0123456789abcdef"), "{target}");
    }
    let grown = memory(folk.pid(), "VmHWM") - before;
    assert!(grown < 64 << 20, "it grew by {grown} bytes");
}

#[test]
fn a_client_that_does_not_read_is_cut_and_frees_the_worker() {
    let project = Project::serving(
        "return $request->path() === '/' ? (function () { while (true) { yield str_repeat('x', 1 << 16); } })() : 'free';",
    );
    let folk = project.serve(&["pools.default.workers=1", "http.limits.write_timeout=300ms"]);
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    client.head().unwrap();
    assert_eq!(folk.get("/free").body(), "free");
    drop(client);
}

#[test]
fn early_hints_arrive_before_the_answer_is_made() {
    let project = Project::serving(
        "$request->earlyHints(['link' => ['</a.css>; rel=preload', '</b.js>; rel=preload']]);
         wait_for('go');
         return 'after';",
    );
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    let hints = client.head().unwrap();
    assert_eq!(hints.status, 103);
    let links: [&[u8]; 2] = [b"</a.css>; rel=preload", b"</b.js>; rel=preload"];
    assert_eq!(hints.values("link"), links);
    project.let_go("go");
    let head = client.head().unwrap();
    assert_eq!(head.status, 200);
    assert!(head.values("link").is_empty());
    assert_eq!(client.body(&head).unwrap(), b"after");
}

#[test]
fn an_exception_in_the_middle_of_a_stream_cuts_it_and_keeps_the_worker() {
    let project = Project::serving(
        r"if ($request->path() === '/') {
            return (function () { yield 'one'; wait_for('go'); throw new RuntimeException('in the middle'); })();
        }
        return (string) getmypid();",
    );
    let folk = project.serve(&["pools.default.workers=1"]);
    let pid = folk.get("/pid").body();
    let mut client = folk.connect();
    client.send(&Ask::get("/")).unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"one"[..]));
    project.let_go("go");
    let end = client.chunk();
    assert!(end.is_err(), "the client takes it for complete: {end:?}");
    folk.log.wait_for("in the middle");
    assert_eq!(folk.get("/pid").body(), pid);
}

#[test]
fn a_file_is_sent_by_the_server_itself() {
    let project = Project::serving(
        "return $request->path() === '/' ? Folk\\Response::file('data.bin', 'text/plain')
            : new Folk\\Response('', 200, ['x-sendfile' => '/etc/passwd']);",
    );
    project.write("data.bin", &"0123456789".repeat(100_000));
    let folk = project.serve(&["http.sendfile=[\".\"]"]);
    let answer = folk.get("/");
    assert_eq!((answer.status, answer.body.len()), (200, 1_000_000));
    assert_eq!(answer.text("content-type").unwrap(), "text/plain");
    assert!(answer.values("x-sendfile").is_empty());
    let part = folk.ask(&Ask::get("/").header("range", "bytes=10-14"));
    assert_eq!((part.status, part.body().as_str()), (206, "01234"));
    let outside = folk.get("/outside");
    assert!(outside.status >= 400, "{outside:?}");
    assert!(!outside.body().contains("root:"));
}

#[test]
fn static_files_need_no_worker_and_source_code_is_never_sent() {
    let project = Project::serving("wait_for('never');");
    std::fs::create_dir(project.path("public")).unwrap();
    project.write("public/style.css", "body {}");
    project.write("public/index.php", "<?php $password = 'hunter2';");
    let folk = project.serve(&[
        "http.root=public",
        "pools.default.workers=1",
        "pools.default.exec_timeout=300ms",
    ]);
    let answer = folk.get("/style.css");
    assert_eq!((answer.status, answer.body().as_str()), (200, "body {}"));
    let etag = answer.text("last-modified").unwrap();
    let again = folk.ask(&Ask::get("/style.css").header("if-modified-since", etag));
    assert_eq!(again.status, 304);
    for target in ["/index.php", "/../worker.php", "/%2e%2e/worker.php", "/index.php%00.css"] {
        let answer = folk.get(target);
        assert!(answer.status >= 400, "{target}: {answer:?}");
        assert!(!answer.body().contains("<?php"), "{target}");
    }
}
