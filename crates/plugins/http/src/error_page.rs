//! What an error looks like: a page for people, problem+json (RFC 9457) for programs.
//!
//! Neither says anything about the inside of the server, unless the configuration asks for it.

use folk_api::RequestId;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

/// Whether the client would rather have a page.
pub(crate) fn wants_html(accept: Option<&HeaderValue>) -> bool {
    let Some(accept) = accept.and_then(|accept| accept.to_str().ok()) else { return false };
    accept.split(',').any(|range| {
        let kind = range.split(';').next().unwrap_or(range).trim();
        kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
    })
}

/// The page.
pub(crate) fn html(status: StatusCode, id: &RequestId, detail: Option<&str>) -> String {
    let code = status.as_u16();
    let title = title(status);
    let detail = detail.map(|text| format!("<pre>{}</pre>", escape(text))).unwrap_or_default();
    let id = match id.as_str() {
        "-" => String::new(),
        id => format!("<p class=\"id\">Request {}</p>", escape(id)),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><title>{code} {title}</title>\
         <style>{STYLE}</style></head><body><main><h1><span>{code}</span> {title}</h1>\
         <p>{sentence}</p>{detail}{id}</main></body></html>\n",
        sentence = sentence(status),
    )
}

const STYLE: &str = ":root{color-scheme:light dark}body{margin:0;min-height:100vh;display:grid;\
place-items:center;font:16px/1.5 system-ui,sans-serif;background:light-dark(#f7f7f8,#17181c);\
color:light-dark(#222,#ddd)}main{max-width:36rem;padding:2rem}h1{font-size:1.5rem;font-weight:600;\
margin:0 0 .5rem}h1 span{color:light-dark(#888,#888);font-weight:400}p{margin:.5rem 0}\
.id{font:13px ui-monospace,monospace;color:light-dark(#888,#888)}pre{white-space:pre-wrap;\
overflow-wrap:anywhere;padding:1rem;border-radius:.4rem;background:light-dark(#eee,#222328)}";

/// The problem document.
pub(crate) fn problem(status: StatusCode, id: &RequestId, detail: Option<&str>) -> String {
    let mut members = Map::new();
    members.insert("type".to_owned(), Value::from("about:blank"));
    members.insert("title".to_owned(), Value::from(title(status)));
    members.insert("status".to_owned(), Value::from(status.as_u16()));
    if let Some(detail) = detail {
        members.insert("detail".to_owned(), Value::from(detail));
    }
    if id.as_str() != "-" {
        members.insert("request_id".to_owned(), Value::from(id.as_str()));
    }
    Value::Object(members).to_string()
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

fn sentence(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request could not be understood.",
        404 => "There is nothing here.",
        405 => "This cannot be done here.",
        408 => "The request took too long to arrive.",
        413 => "The request is larger than this server takes.",
        502 => "The application did not give a valid answer.",
        503 => "The service is busy or starting. Please try again in a moment.",
        504 => "The application took too long to answer.",
        507 => "The server has no room to store this request right now.",
        _ if status.is_client_error() => "The request was refused.",
        _ => "Something went wrong on this side.",
    }
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_and_programs_get_json() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("application/json, text/html;q=0.5", true),
            ("application/json", false),
            ("*/*", false),
            ("text/htmlx", false),
        ] {
            assert_eq!(wants_html(Some(&HeaderValue::from_static(accept))), expected, "{accept}");
        }
        assert!(!wants_html(None));
    }

    #[test]
    fn what_is_shown_of_the_inside_is_escaped() {
        let page = html(
            StatusCode::BAD_GATEWAY,
            &RequestId::new("\"><script>"),
            Some("<script>alert(1)</script> & more"),
        );
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"), "{page}");
    }

    #[test]
    fn a_problem_has_the_members_of_the_standard() {
        let text = problem(StatusCode::SERVICE_UNAVAILABLE, &RequestId::new("id-1"), None);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["type"], "about:blank");
        assert_eq!(value["title"], "Service Unavailable");
        assert_eq!(value["status"], 503);
        assert_eq!(value["request_id"], "id-1");
        assert!(value.get("detail").is_none());
    }
}
