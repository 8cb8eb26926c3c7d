//! `X-Sendfile`: PHP names a file, the server sends it.
//!
//! The header never reaches the client. The file must lie in one of the directories of
//! `http.sendfile`, after symbolic links; ranges and conditional requests work as for any file, and
//! what PHP said about type, name and caching stays.

use std::path::{Path, PathBuf};

use folk_api::{Body, Error, OneLine};
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED,
};
use http::{HeaderMap, Response, StatusCode};

use crate::file::{self, Variants};
use crate::head::Noted;

const X_SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");

/// The directories PHP may send files from.
#[derive(Debug)]
pub(crate) struct Sendfile(Vec<PathBuf>);

impl Sendfile {
    pub(crate) fn new(directories: Vec<PathBuf>) -> Self {
        Self(directories)
    }

    /// Whether the response names a file.
    pub(crate) fn is_asked_for(response: &Response<Body>) -> bool {
        response.headers().contains_key(X_SENDFILE)
    }

    /// The response with the file in it, where it names one.
    pub(crate) async fn apply(
        &self,
        mut response: Response<Body>,
        noted: &Noted,
        is_head: bool,
    ) -> Result<Response<Body>, Error> {
        let Some(named) = response.headers_mut().remove(X_SENDFILE) else { return Ok(response) };
        let path = self.allowed(&named)?;
        // PHP's own validators decide over the client's conditions.
        let conditions =
            if response.status() == StatusCode::OK && !response.headers().contains_key(ETAG) {
                noted.conditions.clone()
            } else {
                Vec::new()
            };
        let file = file::serve(&path, is_head, conditions.into_iter(), Variants::default())
            .await
            .map_err(|error| not_sent(&path, &format!("it cannot be read: {error}")))?;
        Ok(merge(response, file))
    }

    /// The file, if it may be sent. Relative paths start at the first directory.
    fn allowed(&self, named: &HeaderValue) -> Result<PathBuf, Error> {
        let path = header_path(named);
        if self.0.is_empty() {
            return Err(not_sent(
                &path,
                "http.sendfile names no directory; add the one it lies in",
            ));
        }
        let path = self.0.first().map_or(path.clone(), |first| first.join(&path));
        let target = path
            .canonicalize()
            .map_err(|error| not_sent(&path, &format!("it cannot be found: {error}")))?;
        let inside = |directory: &PathBuf| {
            directory.canonicalize().is_ok_and(|directory| target.starts_with(directory))
        };
        if !self.0.iter().any(inside) {
            return Err(not_sent(&path, "it is in none of the directories of http.sendfile"));
        }
        if !target.is_file() {
            return Err(not_sent(&path, "it is not a file"));
        }
        Ok(target)
    }
}

#[cfg(unix)]
fn header_path(value: &HeaderValue) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(value.as_bytes()))
}

#[cfg(not(unix))]
fn header_path(value: &HeaderValue) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The application named a file that cannot be sent: the client learns that there is nothing, the
/// log learns why.
fn not_sent(path: &Path, why: &str) -> Error {
    let path = OneLine(path.display());
    tracing::warn!(%path, "cannot send the file of X-Sendfile: {why}");
    Error::Application { code: Some(404), message: format!("cannot send a file: {why}") }
}

/// What PHP said of the content stays; length, range and body are those of the file.
fn merge(php: Response<Body>, file: Response<Body>) -> Response<Body> {
    let (said, _replaced) = php.into_parts();
    let (found, body) = file.into_parts();
    let status = if said.status == StatusCode::OK { found.status } else { said.status };
    let mut headers: HeaderMap = said.headers;
    headers.remove(CONTENT_LENGTH);
    headers.remove(CONTENT_RANGE);
    for (name, value) in &found.headers {
        let stays =
            matches!(*name, CONTENT_TYPE | ETAG | LAST_MODIFIED) && headers.contains_key(name);
        if !stays {
            headers.insert(name.clone(), value.clone());
        }
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_files_in_the_allowed_directories_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        let allowed = dir.path().join("allowed");
        fs::create_dir(&allowed).unwrap();
        fs::create_dir(allowed.join("sub")).unwrap();
        fs::write(allowed.join("a.bin"), "a").unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        symlink(dir.path().join("secret"), allowed.join("leak")).unwrap();
        let sendfile = Sendfile::new(vec![allowed.clone()]);
        let may = |path: &str| sendfile.allowed(&HeaderValue::from_str(path).unwrap()).is_ok();
        assert!(may(allowed.join("a.bin").to_str().unwrap()));
        assert!(may("a.bin"));
        assert!(may("sub/../a.bin"));
        for bad in ["../secret", "leak", "none", "sub", "/etc/passwd", ""] {
            assert!(!may(bad), "{bad:?}");
        }
    }
}
