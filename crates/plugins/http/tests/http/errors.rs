//! What a client sees when the application gives no answer.

use std::time::Duration;

use folk_api::error::{BusyReason, TimeoutPhase};
use folk_api::{Error, HttpRequest};
use serde_json::json;

use crate::support::Server;

async fn fail(request: HttpRequest) -> Result<folk_api::Response, Error> {
    let secret = || "secret.php line 12".to_owned();
    Err(match request.uri.path() {
        "/busy" => {
            Error::Busy { reason: BusyReason::WaitedTooLong, retry_after: Duration::from_secs(7) }
        }
        "/timeout" => Error::Timeout(TimeoutPhase::Running),
        "/queued" => Error::Timeout(TimeoutPhase::Queued),
        "/died" => Error::Died(secret()),
        "/gone" => Error::Application { code: Some(410), message: secret() },
        "/storage" => Error::Storage(secret()),
        "/leaving" => Error::ShuttingDown,
        _ => Error::Application { code: None, message: secret() },
    })
}

#[tokio::test]
async fn errors_have_the_statuses_of_the_table() {
    let server = Server::start(json!({}), fail).await;
    for (path, status, retry_after, connection) in [
        ("/busy", 503, Some("7"), None),
        ("/queued", 503, Some("1"), None),
        ("/timeout", 504, None, None),
        ("/died", 502, None, None),
        ("/application", 500, None, None),
        ("/gone", 410, None, None),
        ("/storage", 507, None, Some("close")),
        ("/leaving", 503, None, Some("close")),
    ] {
        let reply = server.get(path, "").await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.header("retry-after").as_deref(), retry_after, "{path}");
        assert_eq!(reply.header("connection").as_deref(), connection, "{path}");
    }
}

#[tokio::test]
async fn people_get_a_page_and_programs_get_a_problem() {
    let server = Server::start(json!({}), fail).await;
    let page = server.get("/died", "accept: text/html\r\n").await;
    assert_eq!(page.header("content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("502"), "{}", page.text());
    assert!(page.text().contains(&page.header("x-request-id").unwrap()));

    let problem = server.get("/died", "accept: application/json\r\n").await;
    assert_eq!(problem.header("content-type").as_deref(), Some("application/problem+json"));
    let value: serde_json::Value = serde_json::from_slice(&problem.body).unwrap();
    assert_eq!(value["status"], 502);
    assert_eq!(value["request_id"], problem.header("x-request-id").unwrap());

    for reply in [page, problem] {
        assert!(!reply.text().contains("secret"), "{}", reply.text());
    }
}

#[tokio::test]
async fn only_debug_shows_what_happened() {
    let server = Server::start(json!({ "debug": true }), fail).await;
    for accept in ["accept: text/html\r\n", ""] {
        let reply = server.get("/died", accept).await;
        assert!(reply.text().contains("secret.php line 12"), "{}", reply.text());
    }
}

#[tokio::test]
async fn an_error_answers_head_without_a_body() {
    let server = Server::start(json!({}), fail).await;
    let mut client = server.connect().await;
    client.asked_head = true;
    for _ in 0..2 {
        client.send("HEAD /died HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(client.reply().await.status, 502);
    }
}
