//! What clients send: forms, files, large bodies; and where there is no room for them.

use serde_json::json;

use crate::support::{Ask, Client, Project, until};

const SHOW: &str = r"
switch ($request->path()) {
    case '/echo':
        return new Folk\Response($request->body(), 200, ['content-type' => 'application/octet-stream']);
    case '/form':
        $files = $request->files();
        array_walk_recursive($files, function (&$value, $key) {
            if ($key === 'tmp_name' && $value !== '') {
                $value = base64_encode(file_get_contents($value));
            }
        });
        return ['fields' => $request->parsedBody(), 'files' => $files, 'body' => $request->body()];
    default:
        return 'fine';
}
";

/// A multipart body: the disposition of each part without `form-data`, its type, its content.
fn multipart(parts: &[(&str, Option<&str>, &[u8])]) -> Ask {
    let mut body = Vec::new();
    for (disposition, kind, content) in parts {
        let head = format!("--XyZ\r\ncontent-disposition: form-data; {disposition}\r\n");
        body.extend(head.into_bytes());
        if let Some(kind) = kind {
            body.extend(format!("content-type: {kind}\r\n").into_bytes());
        }
        body.extend([b"\r\n", *content, b"\r\n"].concat());
    }
    body.extend(b"--XyZ--\r\n");
    Ask::post("/form", body).header("content-type", "multipart/form-data; boundary=XyZ")
}

/// Bytes of every value in no order that a bug could keep.
fn noise(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// Nothing is left of requests that were answered; the files go a moment after the answer.
fn assert_no_files_left(project: &Project) {
    until("the end of temporary files", || project.temporary_files().is_empty().then_some(()));
}

#[test]
fn an_urlencoded_form_is_nested_as_php_nests_it() {
    let project = Project::serving(SHOW);
    let folk = project.serve(&[]);
    let ask = Ask::post("/form", "a=1&b[]=x&b[]=y+z&c[k][l]=%C3%A9&c.d=2")
        .header("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
    let shown = folk.ask(&ask).json();
    let fields = json!({ "a": "1", "b": ["x", "y z"], "c": { "k": { "l": "é" } }, "c_d": "2" });
    assert_eq!(shown, json!({ "fields": fields, "files": [], "body": "" }));
}

#[test]
fn nested_fields_and_files_arrive_and_the_files_are_gone_after_the_answer() {
    let project = Project::serving(SHOW);
    let folk = project.serve(&[]);
    let large = noise(300_000);
    let shown = folk
        .ask(&multipart(&[
            ("name=\"title\"", None, b"a title"),
            ("name=\"tags[]\"", None, b"one"),
            ("name=\"tags[]\"", None, b"two"),
            ("name=\"who[name]\"", None, "Zoë".as_bytes()),
            ("name=\"doc\"; filename=\"a.txt\"", Some("text/plain"), b"hello"),
            ("name=\"pics[first]\"; filename=\"p.png\"", Some("image/png"), b"\x89PNG"),
            ("name=\"pics[second]\"; filename=\"large.bin\"", None, &large),
            ("name=\"none\"; filename=\"\"", Some("application/octet-stream"), b""),
        ]))
        .json();
    let fields = json!({ "title": "a title", "tags": ["one", "two"], "who": { "name": "Zoë" } });
    assert_eq!(shown["fields"], fields);
    assert_eq!(shown["body"], "");
    let files = &shown["files"];
    assert_eq!(files["doc"]["name"], "a.txt");
    assert_eq!(files["doc"]["type"], "text/plain");
    assert_eq!(files["doc"]["size"], 5);
    assert_eq!(files["doc"]["error"], 0);
    assert_eq!(files["doc"]["tmp_name"], "aGVsbG8=");
    assert_eq!(files["pics"]["first"]["tmp_name"], "iVBORw==");
    assert_eq!(files["pics"]["second"]["size"], 300_000);
    assert_eq!(files["none"]["error"], 4);
    assert_no_files_left(&project);
}

#[test]
fn files_are_gone_as_well_when_the_worker_dies_or_the_client_leaves() {
    let project = Project::serving(
        "if ($request->path() === '/form') { $files = $request->files(); wait_for('go'); exit(1); }
         return 'fine';",
    );
    let folk = project.serve(&[]);
    let ask = multipart(&[("name=\"f\"; filename=\"f\"", None, &noise(100_000))]);
    let (mut stays, mut leaves) = (folk.connect(), folk.connect());
    stays.send(&ask).unwrap();
    leaves.send(&ask).unwrap();
    until("the files of both", || (project.temporary_files().len() == 2).then_some(()));
    drop(leaves);
    project.let_go("go");
    assert!(stays.head().unwrap().status >= 500);
    assert_no_files_left(&project);

    // One that left before its body was there.
    let mut halfway = folk.connect();
    let head = "POST /form HTTP/1.1\r\nhost: story\r\ncontent-length: 1000000\r\n\
                content-type: multipart/form-data; boundary=XyZ\r\n\r\n--XyZ\r\n\
                content-disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n";
    halfway.write(head.as_bytes()).unwrap();
    halfway.write(&noise(200_000)).unwrap();
    until("its file", || (!project.temporary_files().is_empty()).then_some(()));
    drop(halfway);
    assert_no_files_left(&project);
    assert_eq!(folk.get("/").status, 200);
}

#[test]
fn a_large_body_comes_back_byte_for_byte() {
    let project = Project::serving(SHOW);
    let folk = project.serve(&[]);
    let body = noise(20 << 20);
    let answer = folk.ask(&Ask::post("/echo", body.clone()));
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
    assert_no_files_left(&project);
}

#[test]
fn bodies_around_the_size_that_goes_to_a_file_come_back() {
    let project = Project::serving(SHOW);
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    for length in [1, 4095, 65_535, 65_536, 65_537, 131_072, 1 << 20, (1 << 20) + 1] {
        let body = noise(length);
        let answer = client.ask(&Ask::post("/echo", body.clone())).unwrap();
        assert!(answer.body == body, "{} of {length} bytes came back", answer.body.len());
    }
}

#[test]
fn a_chunked_body_is_put_together() {
    let project = Project::serving(SHOW);
    let folk = project.serve(&[]);
    let body = noise(200_000);
    let mut client = folk.connect();
    client
        .write(b"POST /echo HTTP/1.1\r\nhost: story\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    for chunk in body.chunks(7919) {
        client.write(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        client.write(chunk).unwrap();
        client.write(b"\r\n").unwrap();
    }
    client.write(b"0\r\n\r\n").unwrap();
    let head = client.head().unwrap();
    assert!(client.body(&head).unwrap() == body);
    // The connection is good for another.
    assert_eq!(client.get("/").unwrap().body(), "fine");
}

#[test]
fn a_client_that_expects_to_be_told_to_continue_is() {
    let project = Project::serving(SHOW);
    let folk = project.serve(&[]);
    let mut client = folk.connect();
    client
        .write(b"POST /echo HTTP/1.1\r\nhost: story\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        .unwrap();
    assert_eq!(client.head().unwrap().status, 100);
    client.write(b"hello").unwrap();
    let head = client.head().unwrap();
    assert_eq!(client.body(&head).unwrap(), b"hello");
}

#[test]
fn a_slow_body_holds_no_worker() {
    let project = Project::serving(SHOW);
    let folk = project.serve(&["pools.default.workers=1"]);
    let mut slow: Vec<Client> = (0..5).map(|_| folk.connect()).collect();
    for client in &mut slow {
        client
            .write(b"POST /echo HTTP/1.1\r\nhost: story\r\ncontent-length: 10\r\n\r\nhello")
            .unwrap();
    }
    assert_eq!(folk.get("/").body(), "fine");
    for client in &mut slow {
        client.write(b"world").unwrap();
        let head = client.head().unwrap();
        assert_eq!(client.body(&head).unwrap(), b"helloworld");
    }
}

#[test]
fn a_disk_without_room_is_told_and_harms_nothing_else() {
    let project = Project::serving(SHOW);
    // As a full disk: no file may grow beyond this. The log is a pipe here.
    let folk = project.serve_limited("trap '' XFSZ; ulimit -f 1024", &[]);
    let large = noise(4 << 20);
    let answer = folk.ask(&Ask::post("/echo", large.clone()));
    assert_eq!(answer.status, 507, "{answer:?}");
    folk.log.wait_for("cannot store the request");
    assert_no_files_left(&project);

    let shown = folk
        .ask(&multipart(&[
            ("name=\"large\"; filename=\"large\"", None, &large),
            ("name=\"small\"; filename=\"small\"", None, b"hello"),
            ("name=\"note\"", None, b"after them"),
        ]))
        .json();
    assert_eq!(shown["files"]["large"]["error"], 7, "{}", shown["files"]["large"]);
    assert_eq!(shown["files"]["large"]["tmp_name"], "");
    assert_eq!(shown["files"]["small"]["error"], 0);
    assert_eq!(shown["fields"]["note"], "after them");
    assert_no_files_left(&project);

    assert_eq!(folk.ask(&Ask::post("/echo", "small")).body(), "small");
}

#[test]
fn a_directory_for_uploads_that_is_not_there_is_told() {
    let project = Project::serving(SHOW);
    let folk = project.serve(&["pools.default.upload_dir=uploads"]);
    assert_eq!(folk.ask(&Ask::post("/echo", noise(100_000))).status, 507);
    let line = folk.log.wait_for("cannot store the request");
    assert!(line.contains("uploads"), "{line}");
    let ask = multipart(&[("name=\"f\"; filename=\"f\"", None, b"hello")]);
    assert_eq!(folk.ask(&ask).json()["files"]["f"]["error"], 6);

    std::fs::create_dir(project.path("uploads")).unwrap();
    assert_eq!(folk.ask(&ask).json()["files"]["f"]["error"], 0);
    assert_eq!(folk.ask(&Ask::post("/echo", noise(100_000))).status, 200);
}

#[test]
fn a_form_that_is_cut_or_nonsense_is_a_bad_request() {
    let project = Project::serving(SHOW);
    let folk = project.serve(&[]);
    let kind = "multipart/form-data; boundary=XyZ";
    let cut = "--XyZ\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nno end";
    for (kind, body) in
        [(kind, cut), ("multipart/form-data", "no boundary"), (kind, "nothing of it")]
    {
        let answer = folk.ask(&Ask::post("/form", body).header("content-type", kind));
        assert_eq!(answer.status, 400, "{kind} {body}: {answer:?}");
    }
    assert_no_files_left(&project);
}
