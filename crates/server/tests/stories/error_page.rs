//! What users see when the application fails, and what they do not.

use crate::support::{Answer, Ask, Folk, Project};

const HANDLER: &str = r"
switch ($request->path()) {
    case '/throw': throw new RuntimeException('password is hunter2');
    case '/exit': echo 'hunter2'; exit('hunter2');
    case '/fatal': hunter2();
    case '/memory': ini_set('memory_limit', '8M'); return str_repeat('hunter2', 1 << 24);
    case '/utf8': return ['hunter2' => chr(255)];
    case '/nonsense': return new DateTime();
    default: return 'fine';
}
";

const FAILURES: [&str; 6] = ["/throw", "/exit", "/fatal", "/memory", "/utf8", "/nonsense"];

fn ask(folk: &Folk<'_>, target: &str, accept: &str) -> Answer {
    folk.ask(&Ask::get(target).header("accept", accept))
}

#[test]
fn in_production_nothing_of_the_inside_is_shown() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    for target in FAILURES {
        for accept in ["text/html", "application/json", "*/*"] {
            let answer = ask(&folk, target, accept);
            assert!(matches!(answer.status, 500 | 502), "{target}: {answer:?}");
            let whole = format!("{answer:?}");
            for leak in ["hunter2", "worker.php", "RuntimeException", "php", "folk-story-"] {
                assert!(!whole.contains(leak), "{target} leaks {leak}: {whole}");
            }
        }
        assert_eq!(folk.get("/").body(), "fine", "after {target}");
    }
}

#[test]
fn the_log_has_what_the_page_has_not() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    let id = ask(&folk, "/throw", "*/*").text("x-request-id").unwrap();
    let line = folk.log.wait_for("password is hunter2");
    assert!(line.contains(&id), "{line}");
    assert!(line.contains("RuntimeException") && line.contains("worker.php"), "{line}");
    ask(&folk, "/fatal", "*/*");
    folk.log.wait_for("undefined function hunter2");
    ask(&folk, "/memory", "*/*");
    folk.log.wait_for("Allowed memory size");
}

#[test]
fn people_get_a_page_and_programs_get_a_problem() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    let page = ask(&folk, "/throw", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
    assert_eq!(page.status, 500);
    assert_eq!(page.text("content-type").unwrap(), "text/html; charset=utf-8");
    assert!(page.body().contains("<!doctype html>") && page.body().contains("500"), "{page:?}");
    assert_eq!(page.text("cache-control").unwrap(), "no-store");

    let problem = ask(&folk, "/throw", "application/json");
    assert_eq!(problem.status, 500);
    assert_eq!(problem.text("content-type").unwrap(), "application/problem+json");
    let json = problem.json();
    assert_eq!(json["status"], 500);
    assert_eq!(json["request_id"], problem.text("x-request-id").unwrap());
    assert!(json.get("detail").is_none(), "{json}");
}

#[test]
fn developers_are_shown_what_happened() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&["http.debug=true"]);
    let page = ask(&folk, "/throw", "text/html");
    assert!(page.body().contains("password is hunter2"), "{page:?}");
    assert!(page.body().contains("worker.php"), "{page:?}");
    let problem = ask(&folk, "/throw", "*/*").json();
    assert!(problem["detail"].as_str().unwrap().contains("password is hunter2"), "{problem}");
    let dead = ask(&folk, "/memory", "*/*").json();
    assert!(dead["detail"].as_str().unwrap().contains("Allowed memory size"), "{dead}");
}

#[test]
fn an_exception_keeps_the_worker() {
    let project = Project::serving(
        "static $served = 0; ++$served;
         if ($request->path() === '/throw') { throw new LogicException('no'); }
         return (string) $served;",
    );
    let folk = project.serve(&["pools.default.workers=1"]);
    assert_eq!(folk.get("/throw").status, 500);
    assert_eq!(folk.get("/throw").status, 500);
    assert_eq!(folk.get("/").body(), "3");
}
