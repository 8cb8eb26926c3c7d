use super::super::{Key, Node};
use super::*;

const TYPE: &str = "multipart/form-data; boundary=B";

fn part(head: &str, content: &str) -> String {
    format!("--B\r\n{head}\r\n\r\n{content}\r\n")
}

async fn form_of(body: impl Into<Body>, dir: &Path) -> Result<Form, Error> {
    read(body.into(), TYPE, dir, &Budget::new(u64::MAX)).await.map(|(form, _share)| form)
}

fn upload<'a>(form: &'a Form, name: &str) -> &'a Upload {
    let key = Key::Text(name.as_bytes().to_vec());
    match form.uploads.iter().find(|(known, _)| **known == key) {
        Some((_, Node::Leaf(upload))) => upload,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn fields_go_to_memory_and_files_to_files_that_vanish_with_the_form() {
    let dir = tempfile::tempdir().unwrap();
    let body = part("Content-Disposition: form-data; name=\"a[b]\"", "value")
        + &part(
            "Content-Disposition: form-data; name=\"f\"; filename=\"C:\\\\dir\\x\\\"y.txt\"\r\nContent-Type: text/plain",
            "content",
        )
        + &part("Content-Disposition: form-data; name=\"none\"; filename=\"\"", "")
        + "--B--\r\n";
    let form = form_of(body, dir.path()).await.unwrap();
    assert_eq!(form.fields.len(), 1);
    let file = upload(&form, "f");
    assert_eq!((&file.name[..], &file.mime[..]), (&b"x\"y.txt"[..], &b"text/plain"[..]));
    assert_eq!((file.size, file.error), (7, 0));
    assert_eq!(std::fs::read(file.path()).unwrap(), b"content");
    let path = file.path().to_owned();
    let none = upload(&form, "none");
    assert_eq!((none.error, none.path()), (4, Path::new("")));
    drop(form);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_php_moved_away_is_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let body = part("Content-Disposition: form-data; name=f; filename=x", "1") + "--B--\r\n";
    let form = form_of(body, dir.path()).await.unwrap();
    let moved = dir.path().join("moved");
    std::fs::rename(upload(&form, "f").path(), &moved).unwrap();
    drop(form);
    assert_eq!(std::fs::read(moved).unwrap(), b"1");
}

#[tokio::test]
async fn an_upload_directory_that_is_missing_is_told_by_phps_code() {
    let body = part("Content-Disposition: form-data; name=f; filename=x", "1") + "--B--\r\n";
    let form = form_of(body, Path::new("/nowhere/at/all")).await.unwrap();
    assert_eq!(upload(&form, "f").error, 6);
}

#[tokio::test]
async fn names_that_are_not_text_survive() {
    let mut body = b"--B\r\nContent-Disposition: form-data; name=\"\xe9\"\r\n\r\nv\r\n".to_vec();
    body.extend_from_slice(b"--B--\r\n");
    let form = form_of(Bytes::from(body), Path::new("/")).await.unwrap();
    assert_eq!(form.fields.iter().next().unwrap().0, &Key::Text(b"\xe9".to_vec()));
}

#[tokio::test]
async fn malformed_bodies_are_the_clients_fault() {
    let cut = part("Content-Disposition: form-data; name=a", "value");
    let headless = format!("--B\r\nx{}", "y".repeat(1 << 20));
    for body in [cut, headless, "no boundary at all".to_owned(), "z".repeat(1 << 20)] {
        let error = form_of(body, Path::new("/")).await.unwrap_err();
        assert!(matches!(error, Error::BadRequest(_)), "{error}");
    }
    let (plenty, kind) = (Budget::new(u64::MAX), "multipart/form-data");
    let error = read(Body::full("x"), kind, Path::new("/"), &plenty).await.unwrap_err();
    assert!(matches!(error, Error::BadRequest(_)), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_as_it_was() {
    let (tx, body) = Body::channel(1, None);
    drop(tx);
    let error = form_of(body, Path::new("/")).await.unwrap_err();
    assert_eq!(error, Error::Body(BodyError::Disconnected));
}

#[tokio::test]
async fn fields_have_a_limit_and_files_have_a_count() {
    let large = part("Content-Disposition: form-data; name=a", &"x".repeat(9 << 20)) + "--B--\r\n";
    let error = form_of(large, Path::new("/")).await.unwrap_err();
    assert_eq!(error, Error::Body(BodyError::TooLarge { limit: LARGEST_FIELDS }));
    let dir = tempfile::tempdir().unwrap();
    let mut many = String::new();
    for index in 0..MOST_FILES + 5 {
        many += &part(&format!("Content-Disposition: form-data; name=f{index}; filename=x"), "1");
    }
    let form = form_of(many + "--B--\r\n", dir.path()).await.unwrap();
    assert_eq!(form.uploads.len(), MOST_FILES);
}

#[tokio::test]
async fn parts_of_any_kind_have_a_count_and_the_rest_is_read_for_nothing() {
    let deep = "x[]".to_owned() + &"[]".repeat(70);
    let mut many = String::new();
    for index in 0..3 * MOST_PARTS {
        let name = if index % 2 == 0 { format!("f{index}") } else { deep.clone() };
        let head = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"\"");
        many += &part(&head, "");
    }
    let body = Bytes::from(many + "--B--\r\n");
    let (mut tx, streamed) = Body::channel(1, None);
    let feed = async move {
        for at in (0..body.len()).step_by(1000) {
            tx.send(body.slice(at..body.len().min(at + 1000))).await.unwrap();
        }
        tx.finish().await.unwrap();
    };
    let (form, ()) = tokio::join!(form_of(streamed, Path::new("/")), feed);
    let form = form.unwrap();
    assert_eq!(form.uploads.len(), MOST_PARTS / 2);
    let nameless = part("X: y", "").repeat(MOST_PARTS)
        + &part("Content-Disposition: form-data; name=a", "1")
        + "--B--\r\n";
    let form = form_of(nameless, Path::new("/")).await.unwrap();
    assert!(form.fields.is_empty());
}

#[tokio::test]
async fn names_of_files_count_as_text() {
    let head =
        format!("Content-Disposition: form-data; name=\"{}\"; filename=\"\"", "x".repeat(60_000));
    let error =
        form_of(part(&head, "").repeat(200) + "--B--\r\n", Path::new("/")).await.unwrap_err();
    assert_eq!(error, Error::Body(BodyError::TooLarge { limit: LARGEST_FIELDS }));
    let head = format!(
        "Content-Disposition: form-data; name=a; filename=\"\"\r\nContent-Type: {}",
        "x".repeat(60_000)
    );
    let error =
        form_of(part(&head, "").repeat(200) + "--B--\r\n", Path::new("/")).await.unwrap_err();
    assert_eq!(error, Error::Body(BodyError::TooLarge { limit: LARGEST_FIELDS }));
}

#[tokio::test]
async fn a_large_file_is_never_wholly_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (mut tx, body) = Body::channel(1, None);
    let feed = async move {
        let head = "--B\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n";
        tx.send(Bytes::from(head)).await.unwrap();
        for _ in 0..256 {
            tx.send(Bytes::from(vec![b'x'; 64 * 1024])).await.unwrap();
        }
        tx.send(Bytes::from("\r\n--B--\r\n")).await.unwrap();
        tx.finish().await.unwrap();
    };
    let (form, ()) = tokio::join!(form_of(body, dir.path()), feed);
    assert_eq!(upload(&form.unwrap(), "f").size, 16 << 20);
}

#[test]
fn dispositions_are_read_as_browsers_write_them() {
    let parse = |text: &str| Disposition::parse(text.as_bytes());
    let of = |name: &str, file: Option<&str>| Disposition {
        name: Some(name.into()),
        file: file.map(|file| file.into()),
    };
    assert_eq!(parse("form-data; name=\"a;b\"; filename=\"x=y\""), of("a;b", Some("x=y")));
    assert_eq!(parse("form-data; NAME = a ; other; filename='q'"), of("a", Some("q")));
    assert_eq!(parse("form-data; name=\"../a\"; filename=\"../../b\""), of("../a", Some("b")));
    assert_eq!(parse("form-data"), Disposition::default());
    assert_eq!(parse("form-data; name=\"open"), of("open", None));
}
