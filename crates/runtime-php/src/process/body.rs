//! Bodies made ready before a worker is taken: in memory, in a file, or read as a form.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use folk_api::{Body, BodyError, Error, HttpRequest};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::ProcessSettings;
use super::budget::{Budget, Share};
use super::form::{self, Form, Kind};
use super::wire::CHUNK;

/// How many large forms are read at a time.
const PARSERS: usize = 2;

/// What became of a body that is not simply in memory. Lives in [`HttpRequest::prepared`], so that
/// files last as long as the request, also when another worker has to take it.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a request holds it boxed")]
pub(crate) enum Prepared {
    /// It was a form.
    Form {
        form: Form,
        /// What it takes in memory.
        _held: Share,
    },
    /// It is in a file.
    Spooled(Spooled),
}

impl Prepared {
    pub(crate) fn of(request: &HttpRequest) -> Option<&Self> {
        request.prepared.as_ref()?.downcast_ref()
    }

    pub(crate) fn form_of(request: &HttpRequest) -> Option<&Form> {
        match Self::of(request)? {
            Self::Form { form, .. } => Some(form),
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
    pub(crate) fn new(file: Arc<File>, length: u64) -> Self {
        Self { file, length }
    }

    /// All of it. Blocks.
    fn read_all(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

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

/// Where bodies are made ready, and what that may take.
#[derive(Debug)]
pub(crate) struct Preparer {
    /// The largest body that is kept in memory, in bytes.
    memory: usize,
    dir: PathBuf,
    budget: Budget,
    /// Large forms are read one after the other, on as many threads.
    parsers: Semaphore,
}

impl Preparer {
    pub(crate) fn new(settings: &ProcessSettings) -> Self {
        Self {
            memory: settings.memory_body,
            dir: settings.upload_dir.clone(),
            budget: Budget::new(settings.memory_prepared),
            parsers: Semaphore::new(PARSERS),
        }
    }

    /// Reads the body of `request`, so that no worker waits for it.
    ///
    /// # Errors
    ///
    /// It breaks off, is too large for a form, cannot be stored, or there is no memory left for it.
    pub(crate) async fn prepare(&self, request: &mut HttpRequest) -> Result<(), Error> {
        let kind = form::kind_of(request);
        let body = std::mem::take(&mut request.body);
        let (form, share) = match kind {
            Some(Kind::Urlencoded) => self.urlencoded(body).await?,
            Some(Kind::Multipart(content_type)) => {
                form::read_multipart(body, &content_type, &self.dir, &self.budget).await?
            }
            None => {
                match self.gather(body, u64::MAX).await? {
                    Gathered::Memory(bytes) => request.body = Body::full(bytes.freeze()),
                    Gathered::File(spooled) => {
                        request.prepared = Some(Box::new(Prepared::Spooled(spooled)));
                    }
                }
                return Ok(());
            }
        };
        request.prepared = Some(Box::new(Prepared::Form { form, _held: share }));
        Ok(())
    }

    /// A large one goes to a file first: while it arrives, which the client can make last, it
    /// takes no memory.
    async fn urlencoded(&self, body: Body) -> Result<(Form, Share), Error> {
        let mut share = self.budget.share();
        let spooled = match self.gather(body, form::LARGEST_FIELDS).await? {
            Gathered::Memory(text) => {
                return Ok((form::read_urlencoded(&text, &mut share)?, share));
            }
            Gathered::File(spooled) => spooled,
        };
        let turn = self.parsers.acquire().await;
        let mut text = self.budget.share();
        text.add(spooled.length)?;
        let parse = move || {
            let _until_parsed = text;
            let text = spooled.read_all().map_err(|error| {
                Error::Storage(format!("a stored form cannot be read: {error}"))
            })?;
            Ok((form::read_urlencoded(&text, &mut share)?, share))
        };
        let parsed = tokio::task::spawn_blocking(parse).await;
        drop(turn);
        parsed.map_err(|error| Error::Runtime(format!("a form was not read: {error}")))?
    }

    /// Up to `memory` bytes are kept in memory, more goes to a file.
    async fn gather(&self, mut body: Body, most: u64) -> Result<Gathered, Error> {
        let mut share = self.budget.share();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            if bytes.len() + chunk.len() > self.memory {
                // What is on its way to the file.
                share.cover(2 * CHUNK)?;
                let first = [bytes.freeze(), chunk];
                return self.spool(first, body, most).await.map(Gathered::File);
            }
            bytes.extend_from_slice(&chunk);
            share.cover(bytes.capacity())?;
        }
        Ok(Gathered::Memory(bytes))
    }

    async fn spool(&self, first: [Bytes; 2], mut rest: Body, most: u64) -> Result<Spooled, Error> {
        let fail = |error: io::Error| {
            let dir = self.dir.display();
            Error::Storage(format!(
                "a body cannot be kept in {dir}: {error}; make room, or set another directory"
            ))
        };
        let place = self.dir.clone();
        let created = tokio::task::spawn_blocking(move || tempfile::tempfile_in(place)).await;
        let file = created.map_err(io::Error::from).flatten().map_err(fail)?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(CHUNK);
        let mut length = 0;
        for chunk in first {
            length += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(fail)?;
        }
        while let Some(chunk) = rest.next().await {
            let chunk = chunk?;
            length += chunk.len() as u64;
            if length > most {
                break;
            }
            file.write_all(&chunk).await.map_err(fail)?;
        }
        if length > most {
            return Err(BodyError::TooLarge { limit: most }.into());
        }
        // What is still buffered is written here, and fails here.
        file.flush().await.map_err(fail)?;
        Ok(Spooled::new(Arc::new(file.into_std().await), length))
    }
}

enum Gathered {
    Memory(BytesMut),
    File(Spooled),
}

#[cfg(test)]
mod tests {
    use super::*;
    use folk_api::error::BusyReason;
    use http::{HeaderValue, Method, Uri, header::CONTENT_TYPE};
    use std::path::Path;
    use std::time::Duration;

    fn request(body: Body) -> HttpRequest {
        let mut request = HttpRequest::new(Method::POST, Uri::from_static("/"));
        request.body = body;
        request
    }

    fn preparer(memory: usize, dir: &Path) -> Preparer {
        let mut settings = ProcessSettings::new(Vec::new(), "/");
        settings.memory_body = memory;
        settings.upload_dir = dir.to_owned();
        Preparer::new(&settings)
    }

    async fn prepare(request: &mut HttpRequest, memory: usize, dir: &Path) -> Result<(), Error> {
        preparer(memory, dir).prepare(request).await
    }

    fn form(body: Body) -> HttpRequest {
        let mut form = request(body);
        let kind = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
        form.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        form
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
        let mut form = form(Body::full("a=1"));
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

    #[tokio::test]
    async fn a_large_form_waits_in_a_file_while_it_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let chunks = || streamed(vec![b"a[]=1&a[]", b"=2&b=", b"3"]);
        let mut large = form(chunks());
        prepare(&mut large, 4, dir.path()).await.unwrap();
        assert_eq!(Prepared::form_of(&large).unwrap().fields.len(), 2);
        let error = prepare(&mut form(chunks()), 4, Path::new("/nowhere")).await.unwrap_err();
        assert!(matches!(error, Error::Storage(_)), "{error}");

        let huge = vec![b'x'; usize::try_from(form::LARGEST_FIELDS).unwrap() + 1];
        let error = prepare(&mut form(Body::full(huge)), 4, dir.path()).await.unwrap_err();
        let limit = form::LARGEST_FIELDS;
        assert_eq!(error, Error::Body(BodyError::TooLarge { limit }));
    }

    #[tokio::test]
    async fn forms_beyond_the_memory_for_them_are_refused_until_others_are_done() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = ProcessSettings::new(Vec::new(), "/");
        settings.upload_dir = dir.path().to_owned();
        settings.memory_prepared = 3 << 20;
        let preparer = Preparer::new(&settings);
        let large = || form(Body::full(format!("a={}", "x".repeat(1 << 20))));
        let part = "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n";
        let multipart = || {
            let mut request =
                request(Body::full(format!("{part}{}\r\n--B--", "x".repeat(1 << 20))));
            let kind = HeaderValue::from_static("multipart/form-data; boundary=B");
            request.headers.insert(CONTENT_TYPE, kind);
            request
        };
        let (mut first, mut second) = (large(), multipart());
        preparer.prepare(&mut first).await.unwrap();
        preparer.prepare(&mut second).await.unwrap();
        for mut third in [large(), multipart()] {
            let error = preparer.prepare(&mut third).await.unwrap_err();
            let busy = matches!(error, Error::Busy { reason: BusyReason::QueueFull, .. });
            assert!(busy, "{error}");
        }
        drop((first, second));
        preparer.prepare(&mut large()).await.unwrap();
    }

    #[tokio::test]
    async fn a_form_of_many_nested_arrays_is_counted_by_what_it_becomes() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = ProcessSettings::new(Vec::new(), "/");
        settings.upload_dir = dir.path().to_owned();
        settings.memory_prepared = 4 << 20;
        let nested: String = (0..1000).map(|n| format!("a{n}{}&", "[]".repeat(40))).collect();
        assert!(nested.len() < 100 << 10);
        let mut nested = form(Body::full(nested));
        let error = Preparer::new(&settings).prepare(&mut nested).await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
    }

    #[tokio::test]
    async fn bodies_that_arrive_are_counted_as_far_as_they_are_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = ProcessSettings::new(Vec::new(), "/");
        settings.upload_dir = dir.path().to_owned();
        settings.memory_prepared = 64 << 10;
        let preparer = Arc::new(Preparer::new(&settings));
        let (mut tx, body) = Body::channel(1, None);
        let mut slow = request(body);
        let arriving = Arc::clone(&preparer);
        let first = tokio::spawn(async move { arriving.prepare(&mut slow).await });
        tx.send(Bytes::from(vec![b'x'; 60 << 10])).await.unwrap();
        let counted = async {
            while preparer.budget.share().try_add(32 << 10) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), counted).await.unwrap();
        let mut second = request(streamed(vec![&[b'x'; 32 << 10]]));
        let error = preparer.prepare(&mut second).await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        tx.finish().await.unwrap();
        first.await.unwrap().unwrap();
        let mut third = request(streamed(vec![&[b'x'; 32 << 10]]));
        preparer.prepare(&mut third).await.unwrap();
    }
}
