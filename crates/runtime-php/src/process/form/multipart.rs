//! `multipart/form-data`: fields to memory, files to temporary files, as it arrives.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use folk_api::{Body, BodyError, Error};
use futures_util::Stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use multer::Multipart;
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;

use super::{
    ENTRY, Form, LARGEST_FIELDS, MOST_FIELDS, MOST_FILES, MOST_PARTS, Upload, warn_ignored,
};
use crate::process::budget::{Budget, Share};
use crate::process::leftovers;

/// How much may come without a field or a part of one coming out of it, in bytes: the head of a
/// part, or what stands before the first.
const LONGEST_HEAD: u64 = 64 * 1024;
/// The most that is handed to the parser at once, in bytes.
const PIECE: usize = 64 * 1024;

/// What the parser and a file that is being written hold of a body, in bytes.
const HELD: u64 = LONGEST_HEAD + 2 * PIECE as u64;

/// Reads a form. Files go to `upload_dir`. What stays in memory is taken from `budget`.
///
/// # Errors
///
/// The body breaks off, is no multipart body, its fields are too large, or there is no memory left
/// for it.
pub(crate) async fn read(
    mut body: Body,
    content_type: &str,
    upload_dir: &Path,
    budget: &Budget,
) -> Result<(Form, Share), Error> {
    let boundary = multer::parse_boundary(content_type)
        .map_err(|_| Error::BadRequest("a multipart body without a boundary".into()))?;
    let progress = Arc::new(AtomicU64::new(0));
    let fed = Arc::clone(&progress);
    let held = budget.share();
    let pieces =
        Pieces { body: &mut body, rest: Bytes::new(), fed, rested: true, held, received: 0 };
    let mut multipart = Multipart::new(pieces, boundary);
    let mut reading = Reading::new(upload_dir, budget.share());
    let mut unread = LONGEST_HEAD;
    while let Some(field) = multipart.next_field().await.map_err(bad)? {
        progress.store(0, Ordering::Relaxed);
        if reading.parts == MOST_PARTS {
            warn_ignored("parts", MOST_PARTS);
            unread = u64::MAX;
            break;
        }
        reading.field(field, &progress).await?;
    }
    drop(multipart);
    read_rest(body, unread).await?;
    Ok((reading.form, reading.share))
}

/// Reads what nobody wants, so that the connection can carry the next request: what follows the
/// last boundary, or the last part that counts.
async fn read_rest(mut body: Body, most: u64) -> Result<(), Error> {
    let mut length = 0;
    while let Some(chunk) = body.next().await {
        length += chunk?.len() as u64;
        if length > most {
            break;
        }
    }
    Ok(())
}

struct Reading<'a> {
    form: Form,
    share: Share,
    parts: usize,
    fields: usize,
    files: usize,
    /// Length of all fields together, and of the names and types of all files, in bytes.
    text: u64,
    upload_dir: &'a Path,
}

impl<'a> Reading<'a> {
    fn new(upload_dir: &'a Path, share: Share) -> Self {
        Self { form: Form::default(), share, parts: 0, fields: 0, files: 0, text: 0, upload_dir }
    }

    /// Counts `bytes` that stay in memory.
    fn keep(&mut self, bytes: usize) -> Result<(), Error> {
        self.text += bytes as u64;
        if self.text > LARGEST_FIELDS {
            return Err(BodyError::TooLarge { limit: LARGEST_FIELDS }.into());
        }
        self.share.add(bytes as u64)
    }

    async fn field(&mut self, field: multer::Field<'_>, fed: &AtomicU64) -> Result<(), Error> {
        self.parts += 1;
        let headers = field.headers();
        let header = |name| headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
        let disposition = Disposition::parse(header(CONTENT_DISPOSITION));
        let mime = header(CONTENT_TYPE).to_vec();
        let mut content = Content { field, fed };
        match disposition {
            // A part without a name is nobody's.
            Disposition { name: None, .. } => content.skip().await,
            Disposition { name: Some(name), file: None } => self.value(&name, content).await,
            Disposition { name: Some(name), file: Some(file) } => {
                self.file(&name, file, mime, content).await
            }
        }
    }

    async fn value(&mut self, name: &[u8], mut content: Content<'_, '_>) -> Result<(), Error> {
        self.fields += 1;
        if self.fields > MOST_FIELDS {
            warn_ignored("fields", MOST_FIELDS);
            return content.skip().await;
        }
        let mut value = Vec::new();
        self.keep(name.len())?;
        while let Some(chunk) = content.next().await? {
            self.keep(chunk.len())?;
            value.extend_from_slice(&chunk);
        }
        let entries = self.form.fields.insert(name, value);
        self.share.add(entries as u64 * ENTRY)
    }

    async fn file(
        &mut self,
        name: &[u8],
        file_name: Vec<u8>,
        mime: Vec<u8>,
        mut content: Content<'_, '_>,
    ) -> Result<(), Error> {
        self.keep(name.len() + file_name.len() + mime.len())?;
        let mut upload = Upload { name: file_name, mime, size: 0, error: 0, file: None };
        if upload.name.is_empty() {
            // The field was left empty.
            upload.mime.clear();
            upload.error = 4;
            content.skip().await?;
        } else if self.files == MOST_FILES {
            warn_ignored("files", MOST_FILES);
            return content.skip().await;
        } else {
            self.files += 1;
            self.store(&mut upload, content).await?;
        }
        let entries = self.form.uploads.insert(name, upload);
        self.share.add(entries as u64 * ENTRY)
    }

    /// Writes a file. Where that fails the application is told so by the upload's error code.
    async fn store(&self, upload: &mut Upload, mut content: Content<'_, '_>) -> Result<(), Error> {
        let mut target = match Target::create(self.upload_dir).await {
            Ok(target) => target,
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                return self.refuse(upload, if missing { 6 } else { 7 }, &error, content).await;
            }
        };
        let mut size = 0;
        while let Some(chunk) = content.next().await? {
            size += chunk.len() as u64;
            if let Err(error) = target.file.write_all(&chunk).await {
                drop(target);
                return self.refuse(upload, 7, &error, content).await;
            }
        }
        // What is still buffered is written here, and fails here.
        if let Err(error) = target.file.flush().await {
            drop(target);
            return self.refuse(upload, 7, &error, content).await;
        }
        upload.size = size;
        upload.file = Some(target.path);
        Ok(())
    }

    async fn refuse(
        &self,
        upload: &mut Upload,
        code: u8,
        error: &io::Error,
        mut content: Content<'_, '_>,
    ) -> Result<(), Error> {
        let dir = self.upload_dir.display();
        tracing::warn!(
            "an upload could not be stored in {dir}: {error}; PHP sees upload error {code}"
        );
        upload.error = code;
        content.skip().await
    }
}

/// A file that is being written.
struct Target {
    file: tokio::fs::File,
    path: TempPath,
}

impl Target {
    async fn create(dir: &Path) -> io::Result<Self> {
        let dir = dir.to_owned();
        let create =
            move || tempfile::Builder::new().prefix(&leftovers::upload_prefix()).tempfile_in(dir);
        let (file, path) = tokio::task::spawn_blocking(create).await??.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(PIECE);
        Ok(Self { file, path })
    }
}

/// The content of a part.
struct Content<'a, 'r> {
    field: multer::Field<'r>,
    fed: &'a AtomicU64,
}

impl Content<'_, '_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.field.chunk().await.map_err(bad)?;
        self.fed.store(0, Ordering::Relaxed);
        Ok(chunk)
    }

    /// Reads it to its end: the next part comes only after it.
    async fn skip(&mut self) -> Result<(), Error> {
        while self.next().await?.is_some() {}
        Ok(())
    }
}

/// Hands a body to the parser in pieces, one each time it asks: it would otherwise take all there
/// is before it looks at the first byte. Fails when the parser makes nothing of too much of it.
struct Pieces<'a> {
    body: &'a mut Body,
    rest: Bytes,
    fed: Arc<AtomicU64>,
    rested: bool,
    /// What the parser holds: at most what came, so that who sends nothing takes nothing.
    held: Share,
    received: u64,
}

#[derive(Debug)]
struct HeadTooLong;

impl std::fmt::Display for HeadTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the head of a part is longer than {LONGEST_HEAD} bytes")
    }
}

impl std::error::Error for HeadTooLong {}

impl Stream for Pieces<'_> {
    type Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if !std::mem::replace(&mut this.rested, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while this.rest.is_empty() {
            let frame = http_body::Body::poll_frame(Pin::new(&mut *this.body), cx);
            match std::task::ready!(frame) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => this.rest = frame.into_data().unwrap_or_default(),
            }
            this.received += this.rest.len() as u64;
            if let Err(busy) = this.held.cover(this.received.min(HELD) as usize) {
                return Poll::Ready(Some(Err(busy.into())));
            }
        }
        let length = this.rest.remaining().min(PIECE);
        if this.fed.fetch_add(length as u64, Ordering::Relaxed) > LONGEST_HEAD {
            return Poll::Ready(Some(Err(HeadTooLong.into())));
        }
        this.rested = false;
        Poll::Ready(Some(Ok(this.rest.split_to(length))))
    }
}

fn bad(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<BodyError>() {
            Ok(cause) => Error::Body(*cause),
            Err(cause) => match cause.downcast::<Error>() {
                Ok(busy) => *busy,
                Err(cause) => Error::BadRequest(format!("multipart body: {cause}")),
            },
        },
        other => Error::BadRequest(format!("multipart body: {other}")),
    }
}

/// What `Content-Disposition` says. Read here because names may be any bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Disposition {
    name: Option<Vec<u8>>,
    /// Without directories, which some clients send.
    file: Option<Vec<u8>>,
}

impl Disposition {
    fn parse(value: &[u8]) -> Self {
        let mut found = Self::default();
        let mut rest: VecDeque<u8> = value.iter().copied().collect();
        let _kind = take_until(&mut rest, b";");
        while !rest.is_empty() {
            let name = take_until(&mut rest, b"=;");
            let value = take_value(&mut rest);
            match name.trim_ascii().to_ascii_lowercase().as_slice() {
                b"name" => found.name = Some(value),
                b"filename" => {
                    let start = value.iter().rposition(|&b| matches!(b, b'/' | b'\\'));
                    found.file = Some(value[start.map_or(0, |at| at + 1)..].to_vec());
                }
                _ => {}
            }
        }
        found
    }
}

/// What stands before one of `ends`, which is taken as well; an `=` is left for the value.
fn take_until(rest: &mut VecDeque<u8>, ends: &[u8]) -> Vec<u8> {
    let length = rest.iter().position(|byte| ends.contains(byte)).unwrap_or(rest.len());
    let taken = rest.drain(..length).collect();
    if rest.front() == Some(&b';') {
        rest.pop_front();
    }
    taken
}

/// The value after an `=`, quoted or not, up to the next parameter.
fn take_value(rest: &mut VecDeque<u8>) -> Vec<u8> {
    if rest.front() != Some(&b'=') {
        return Vec::new();
    }
    rest.pop_front();
    while rest.front().is_some_and(u8::is_ascii_whitespace) {
        rest.pop_front();
    }
    let quote = match rest.front() {
        Some(&quote @ (b'"' | b'\'')) => quote,
        _ => return take_until(rest, b";").trim_ascii().to_vec(),
    };
    rest.pop_front();
    let mut value = Vec::new();
    while let Some(byte) = rest.pop_front() {
        match byte {
            // Only a quote can be escaped: browsers send Windows paths as they are.
            b'\\' if rest.front() == Some(&quote) => value.extend(rest.pop_front()),
            byte if byte == quote => break,
            byte => value.push(byte),
        }
    }
    let _junk = take_until(rest, b";");
    value
}

#[cfg(test)]
mod tests;
