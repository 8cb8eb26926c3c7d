//! Bodies made ready before a worker is taken: in memory, in a file, or read as a form.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use folk_api::{Body, Error, HttpRequest};
use tokio::io::AsyncWriteExt;

use super::form::{self, Form};
use super::wire::CHUNK;

/// What became of a body that is not simply in memory. Lives in [`HttpRequest::prepared`], so that
/// files last as long as the request, also when another worker has to take it.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// It was a form.
    Form(Form),
    /// It is in a file.
    Spooled(Spooled),
}

impl Prepared {
    pub(crate) fn of(request: &HttpRequest) -> Option<&Self> {
        request.prepared.as_ref()?.downcast_ref()
    }

    pub(crate) fn form_of(request: &HttpRequest) -> Option<&Form> {
        match Self::of(request)? {
            Self::Form(form) => Some(form),
            Self::Spooled(_) => None,
        }
    }
}

/// A body in a file that has no name, and is gone when it is closed.
#[derive(Debug, Clone)]
pub(crate) struct Spooled {
    file: Arc<File>,
    pub(crate) length: u64,
}

impl Spooled {
    /// The bytes from `offset` on, as many as are read at once.
    pub(crate) async fn read_at(&self, offset: u64) -> io::Result<Vec<u8>> {
        let file = Arc::clone(&self.file);
        let wanted = (self.length - offset).min(CHUNK as u64) as usize;
        tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; wanted];
            file.read_exact_at(&mut chunk, offset)?;
            Ok(chunk)
        })
        .await?
    }
}

/// Whether [`prepare`] has anything to do.
pub(crate) fn needs_preparation(request: &HttpRequest) -> bool {
    if request.prepared.is_some() || http_body::Body::is_end_stream(&request.body) {
        return false;
    }
    request.body.as_bytes().is_none() || form::kind_of(request).is_some()
}

/// Reads the body of `request`, so that no worker waits for it: up to `memory` bytes are kept in
/// memory, more goes to a file in `dir`.
pub(crate) async fn prepare(
    request: &mut HttpRequest,
    memory: usize,
    dir: &Path,
) -> Result<(), Error> {
    if let Some(kind) = form::kind_of(request) {
        let form = form::read(request, kind, dir).await?;
        request.prepared = Some(Box::new(Prepared::Form(form)));
        return Ok(());
    }
    let body = std::mem::take(&mut request.body);
    match gather(body, memory, dir).await? {
        Gathered::Memory(bytes) => request.body = Body::full(bytes.freeze()),
        Gathered::File(spooled) => request.prepared = Some(Box::new(Prepared::Spooled(spooled))),
    }
    Ok(())
}

enum Gathered {
    Memory(BytesMut),
    File(Spooled),
}

async fn gather(mut body: Body, memory: usize, dir: &Path) -> Result<Gathered, Error> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() > memory {
            return spool(bytes, body, dir).await.map(Gathered::File);
        }
    }
    Ok(Gathered::Memory(bytes))
}

async fn spool(first: BytesMut, mut rest: Body, dir: &Path) -> Result<Spooled, Error> {
    let fail = |error: io::Error| {
        let dir = dir.display();
        Error::Storage(format!(
            "a body cannot be kept in {dir}: {error}; make room, or set another directory"
        ))
    };
    let place = dir.to_owned();
    let created = tokio::task::spawn_blocking(move || tempfile::tempfile_in(place)).await;
    let file = created.map_err(io::Error::from).flatten().map_err(fail)?;
    let mut file = tokio::fs::File::from_std(file);
    let mut length = first.len() as u64;
    file.write_all(&first).await.map_err(fail)?;
    drop(first);
    while let Some(chunk) = rest.next().await {
        let chunk = chunk?;
        length += chunk.len() as u64;
        file.write_all(&chunk).await.map_err(fail)?;
    }
    // What is still buffered is written here, and fails here.
    file.flush().await.map_err(fail)?;
    Ok(Spooled { file: Arc::new(file.into_std().await), length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use folk_api::BodyError;
    use http::{HeaderValue, Method, Uri, header::CONTENT_TYPE};

    fn request(body: Body) -> HttpRequest {
        let mut request = HttpRequest::new(Method::POST, Uri::from_static("/"));
        request.body = body;
        request
    }

    fn streamed(chunks: Vec<&'static [u8]>) -> Body {
        let (mut tx, body) = Body::channel(chunks.len() + 1, None);
        tokio::spawn(async move {
            for chunk in chunks {
                tx.send(Bytes::from_static(chunk)).await.unwrap();
            }
            tx.finish().await.unwrap();
        });
        body
    }

    #[tokio::test]
    async fn what_is_in_memory_already_is_left_alone_unless_it_is_a_form() {
        assert!(!needs_preparation(&request(Body::empty())));
        assert!(!needs_preparation(&request(Body::full("x"))));
        assert!(needs_preparation(&request(streamed(vec![b"x"]))));
        let mut form = request(Body::full("a=1"));
        let kind = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
        form.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        assert!(needs_preparation(&form));
        prepare(&mut form, 10, Path::new("/")).await.unwrap();
        assert_eq!(Prepared::form_of(&form).unwrap().fields.len(), 1);
        assert!(!needs_preparation(&form), "once is enough");
    }

    #[tokio::test]
    async fn a_small_body_stays_in_memory_and_a_large_one_goes_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut small = request(streamed(vec![b"12", b"34"]));
        prepare(&mut small, 4, dir.path()).await.unwrap();
        assert_eq!(small.body.as_bytes(), Some(&b"1234"[..]));

        let mut large = request(streamed(vec![b"12", b"34", b"5"]));
        prepare(&mut large, 4, dir.path()).await.unwrap();
        let Some(Prepared::Spooled(spooled)) = Prepared::of(&large) else { panic!("not spooled") };
        assert_eq!(spooled.length, 5);
        assert_eq!(spooled.read_at(0).await.unwrap(), b"12345");
        assert_eq!(spooled.read_at(3).await.unwrap(), b"45");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_a_storage_error_with_its_cause() {
        let mut large = request(streamed(vec![b"12345"]));
        let error = prepare(&mut large, 4, Path::new("/nowhere/at/all")).await.unwrap_err();
        assert!(
            matches!(&error, Error::Storage(why) if why.contains("/nowhere/at/all")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_told_as_it_was() {
        let (tx, body) = Body::channel(1, None);
        drop(tx);
        let error = prepare(&mut request(body), 4, Path::new("/")).await.unwrap_err();
        assert_eq!(error, Error::Body(BodyError::Disconnected));
    }
}
