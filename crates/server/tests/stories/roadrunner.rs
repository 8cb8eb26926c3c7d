//! Workers as RoadRunner's PHP packages make them.

use serde_json::Value;

use crate::support::project::fixture;
use crate::support::{Ask, Folk, Project, until};

fn with_each_codec(story: impl Fn(&Project, &Folk<'_>)) {
    for codec in ["json", "proto"] {
        let project = Project::running(&format!("require '{}';", fixture("roadrunner.php")));
        let folk = project.serve(&[&format!("pools.default.codec={codec}")]);
        story(&project, &folk);
        assert_eq!(folk.stop().code, Some(0), "{codec}");
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn a_get_arrives_as_roadrunner_has_it() {
    with_each_codec(|_, folk| {
        let ask = Ask::get("/show?a=1&b=2")
            .header("X-Two", "1")
            .header("X-Two", "2")
            .header("cookie", "c=d");
        let shown = folk.ask(&ask).json();
        assert_eq!(shown["method"], "GET");
        assert_eq!(shown["uri"], "http://story/show?a=1&b=2");
        assert_eq!(shown["rawQuery"], "a=1&b=2");
        assert_eq!(shown["protocol"], "HTTP/1.1");
        assert_eq!(shown["remoteAddr"], "127.0.0.1");
        assert_eq!(shown["cookies"]["c"], "d");
        assert_eq!(shown["parsed"], false);
        let headers = shown["headers"].as_object().unwrap();
        let two = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-two")).unwrap();
        assert_eq!(texts(two.1), ["1", "2"]);
    });
}

#[test]
fn forms_and_files_arrive_parsed() {
    with_each_codec(|project, folk| {
        let form = Ask::post("/show", "a[b]=1&c=2")
            .header("content-type", "application/x-www-form-urlencoded");
        let shown = folk.ask(&form).json();
        assert_eq!(shown["parsed"], true);
        assert_eq!(shown["body"], "{\"a\":{\"b\":\"1\"},\"c\":\"2\"}");

        let upload = "--B\r\ncontent-disposition: form-data; name=\"doc\"; filename=\"a.txt\"\r\n\
                      content-type: text/plain\r\n\r\nhello\r\n--B--\r\n";
        let ask =
            Ask::post("/show", upload).header("content-type", "multipart/form-data; boundary=B");
        let shown = folk.ask(&ask).json();
        assert_eq!(shown["parsed"], true);
        let doc = &shown["uploads"]["doc"];
        assert_eq!(
            (&doc["name"], &doc["mime"], &doc["size"], &doc["error"]),
            (&"a.txt".into(), &"text/plain".into(), &5.into(), &0.into()),
            "{doc}"
        );
        assert_eq!(shown["content"], "hello");
        until("the end of the upload", || project.temporary_files().is_empty().then_some(()));
    });
}

#[test]
fn a_raw_body_status_and_headers_pass() {
    with_each_codec(|_, folk| {
        let answer = folk.ask(&Ask::post("/teapot", "short and stout"));
        assert_eq!(answer.status, 418);
        assert_eq!(answer.values("set-cookie"), [b"a=1", b"b=2"]);
        assert_eq!(answer.body(), "short and stout");
    });
}

#[test]
fn an_error_frame_is_a_500_and_the_worker_goes_on() {
    with_each_codec(|_, folk| {
        let answer = folk.get("/error");
        assert_eq!(answer.status, 500);
        assert!(!answer.body().contains("the database is gone"), "{answer:?}");
        folk.log.wait_for("the database is gone");
        assert_eq!(folk.get("/show").status, 200);
        assert_eq!(folk.log.count("a worker is replaced"), 0);
    });
}

#[test]
fn a_streamed_answer_is_put_together() {
    with_each_codec(|_, folk| {
        let answer = folk.get("/stream");
        assert_eq!((answer.status, answer.body().as_str()), (201, "one,two,three"));
    });
}

#[test]
fn a_worker_over_pipes_serves_as_well() {
    let project = Project::serving("return 'hello ' . getenv('RR_RELAY');");
    let folk = project.serve(&["pools.default.relay=pipes"]);
    assert_eq!(folk.get("/").body(), "hello pipes");
    // What the application prints is kept apart even there.
    project.write_handler("echo \"noise\\n\"; return 'clean';");
    folk.signal(rustix::process::Signal::HUP);
    folk.log.wait_for("reloaded");
    for _ in 0..5 {
        assert_eq!(folk.get("/").body(), "clean");
    }
    folk.log.wait_for("noise");
}
