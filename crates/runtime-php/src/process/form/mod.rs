//! Forms as PHP reads them: urlencoded and multipart bodies to nested arrays.

mod multipart;
mod tree;
mod urlencoded;

use std::path::Path;

use folk_api::{Body, Error, HttpRequest};
use http::header::CONTENT_TYPE;
use tempfile::TempPath;

pub(crate) use multipart::read as read_multipart;
pub use tree::{Array, Key, Node};
pub use urlencoded::parse as parse_urlencoded;
pub(crate) use urlencoded::url_decode;

use super::budget::{Budget, Share};

/// PHP's `max_input_vars`: fields beyond it are ignored.
const MOST_FIELDS: usize = 1000;
/// PHP's `max_file_uploads`: files beyond it are ignored.
const MOST_FILES: usize = 20;
/// PHP's `max_multipart_body_parts`: parts of any kind beyond it are ignored.
const MOST_PARTS: usize = MOST_FIELDS + MOST_FILES;
/// About what an entry of an array takes in memory beside its key and value, in bytes.
const ENTRY: u64 = 512;
/// PHP's `post_max_size` in its default, for the fields of a form and the names of its files, but
/// without the files themselves, in bytes.
pub(crate) const LARGEST_FIELDS: u64 = 8 << 20;

/// A form, ready to be handed to a worker in any dialect.
#[derive(Debug, Default)]
pub struct Form {
    /// What PHP calls `$_POST`.
    pub fields: Array<Vec<u8>>,
    /// The files, nested as their names say.
    pub uploads: Array<Upload>,
}

/// One file of a form.
#[derive(Debug)]
pub struct Upload {
    /// Its name as the client gave it, without directories.
    pub name: Vec<u8>,
    /// Its media type as the client gave it.
    pub mime: Vec<u8>,
    /// Its length in bytes.
    pub size: u64,
    /// PHP's code: 0 is fine, 4 no file, 6 no directory, 7 could not be written.
    pub error: u8,
    /// Where it is; removed with the request.
    file: Option<TempPath>,
}

impl Upload {
    /// Where the file is; empty when there is none.
    pub fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(""))
    }
}

/// Which kind of form a request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Urlencoded,
    /// With its whole content type, which names the boundary.
    Multipart(String),
}

/// Which kind of form `request` carries, if it does.
pub(crate) fn kind_of(request: &HttpRequest) -> Option<Kind> {
    let content_type = request.headers.get(CONTENT_TYPE)?.as_bytes();
    let essence = content_type.split(|&byte| byte == b';').next()?.trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        Some(Kind::Urlencoded)
    } else if essence.eq_ignore_ascii_case(b"multipart/form-data") {
        Some(Kind::Multipart(String::from_utf8_lossy(content_type).into_owned()))
    } else {
        None
    }
}

/// Reads the fields of an urlencoded body. What they take in memory is taken from `share`.
pub(crate) fn read_urlencoded(text: &[u8], share: &mut Share) -> Result<Form, Error> {
    let room = |bytes| share.add(bytes);
    let (fields, ignored) = urlencoded::parse_within(text, MOST_FIELDS, room)?;
    if ignored > 0 {
        warn_ignored("fields", MOST_FIELDS);
    }
    Ok(Form { fields, uploads: Array::default() })
}

/// Reads a multipart body with nothing to be spared, for the fuzz targets.
///
/// # Errors
///
/// The body breaks off, is no multipart body, or its fields are too large.
pub async fn parse_multipart(
    body: Body,
    content_type: &str,
    upload_dir: &Path,
) -> Result<Form, Error> {
    let plenty = Budget::new(u64::MAX);
    multipart::read(body, content_type, upload_dir, &plenty).await.map(|(form, _share)| form)
}

/// Says once in the life of the server that part of a form was ignored: whoever sends forms
/// could fill the log otherwise.
fn warn_ignored(what: &str, limit: usize) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "a form had more than {limit} {what}; as in PHP the rest is ignored, and this is said once"
        );
    });
}
