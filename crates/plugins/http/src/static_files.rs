//! Files that are served without PHP.
//!
//! A path is looked up below `root` with one call to the file system; what is not a file there goes
//! to PHP, and so does what must not be shown: PHP code, dotfiles, and whatever a symbolic link
//! places outside of `root`. `root` may itself be a symbolic link that a deployment switches.

use std::path::{Path, PathBuf};

use folk_api::Body;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use percent_encoding::percent_decode_str;

use crate::config::Ending;
use crate::file::{self, Variants};

/// The files below `root`.
#[derive(Debug)]
pub(crate) struct StaticFiles {
    root: PathBuf,
    index: Vec<String>,
    forbid: Vec<String>,
}

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    File(PathBuf),
    /// A directory with an index, asked for without the slash at its end.
    Directory,
    /// Nothing that is for us.
    Nothing,
}

impl StaticFiles {
    pub(crate) fn new(root: PathBuf, index: Vec<String>, forbid: &[Ending]) -> Self {
        Self { root, index, forbid: forbid.iter().map(|ending| ending.0.clone()).collect() }
    }

    /// The answer, if the path is that of a file.
    pub(crate) async fn answer(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        is_head: bool,
    ) -> Option<Response<Body>> {
        match self.find(uri.path()) {
            Found::Nothing => None,
            Found::Directory => Some(redirect(uri)),
            Found::File(path) => {
                let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone()));
                // Gone or unreadable in the meantime: PHP decides.
                file::serve(&path, is_head, headers, self.variants(&path)).await.ok()
            }
        }
    }

    /// What the path means. Synchronous on purpose: the common answer is "nothing", from one call
    /// that the kernel answers from memory, and a detour over another thread would cost more.
    pub(crate) fn find(&self, path: &str) -> Found {
        let Some(relative) = self.relative(path) else { return Found::Nothing };
        let full = self.root.join(&relative);
        let is_slashed = path.ends_with('/');
        let Ok(metadata) = std::fs::metadata(&full) else { return Found::Nothing };
        if metadata.is_file() && !is_slashed {
            return self.inside(full);
        }
        if !metadata.is_dir() {
            return Found::Nothing;
        }
        for name in &self.index {
            let index = full.join(name);
            if self.is_forbidden(name) || !index.is_file() {
                continue;
            }
            return match self.inside(index) {
                Found::File(_) if !is_slashed => Found::Directory,
                found => found,
            };
        }
        Found::Nothing
    }

    /// The compressed variants of a file that may be shown as the file itself may.
    fn variants(&self, path: &Path) -> Variants {
        let may_show = |ending: &str| {
            let mut variant = path.as_os_str().to_owned();
            variant.push(ending);
            let variant = PathBuf::from(variant);
            variant.is_file() && matches!(self.inside(variant), Found::File(_))
        };
        Variants { zstd: may_show(".zst"), br: may_show(".br"), gzip: may_show(".gz") }
    }

    /// The path below `root`, if it is one that may be shown.
    fn relative(&self, path: &str) -> Option<PathBuf> {
        let decoded = percent_decode_str(path).decode_utf8().ok()?;
        let mut relative = PathBuf::new();
        for part in decoded.split('/').filter(|part| !part.is_empty()) {
            let hidden = part.starts_with('.') && part != ".well-known";
            if hidden || part.contains(['\0', '\\']) || self.is_forbidden(part) {
                return None;
            }
            relative.push(part);
        }
        Some(relative)
    }

    /// Whether a name has a forbidden ending; any part of a path counts, as in `/index.php/info`.
    fn is_forbidden(&self, name: &str) -> bool {
        let name = name.as_bytes();
        self.forbid.iter().any(|ending| {
            let at = name.len().checked_sub(ending.len());
            at.is_some_and(|at| name[at..].eq_ignore_ascii_case(ending.as_bytes()))
        })
    }

    /// The file, unless a symbolic link leads out of `root` or to what is forbidden.
    fn inside(&self, path: PathBuf) -> Found {
        let Ok(root) = self.root.canonicalize() else { return Found::Nothing };
        let Ok(target) = path.canonicalize() else { return Found::Nothing };
        match target.strip_prefix(&root) {
            Ok(relative) if self.may_show(relative) => Found::File(path),
            _ => Found::Nothing,
        }
    }

    fn may_show(&self, relative: &Path) -> bool {
        relative.to_str().is_some_and(|text| self.relative(&text.replace('%', "%25")).is_some())
    }
}

/// To the same path with a slash, without naming a host: that is the client's to keep.
fn redirect(uri: &Uri) -> Response<Body> {
    // Slashes at the front would make it the name of another host.
    let path = format!("/{}/", uri.path().trim_start_matches('/'));
    let target = uri.query().map_or(path.clone(), |query| format!("{path}?{query}"));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(target) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HttpConfig;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn site() -> (tempfile::TempDir, StaticFiles) {
        let dir = tempfile::tempdir().unwrap();
        let release = dir.path().join("releases/1/public");
        fs::create_dir_all(release.join("docs")).unwrap();
        fs::create_dir_all(release.join("empty")).unwrap();
        fs::create_dir_all(release.join(".well-known")).unwrap();
        fs::create_dir_all(release.join(".git")).unwrap();
        for name in [
            "a.txt",
            "b c.txt",
            "index.php",
            "UPPER.PHP",
            "lib.phar",
            ".env",
            "docs/index.html",
            ".well-known/x",
            ".git/config",
            "100%.txt",
            "index.php~",
        ] {
            fs::write(release.join(name), name).unwrap();
        }
        fs::write(dir.path().join("secret.txt"), "secret").unwrap();
        symlink(dir.path().join("secret.txt"), release.join("leak.txt")).unwrap();
        symlink(release.join("index.php"), release.join("source.txt")).unwrap();
        symlink(release.join(".env"), release.join("env.txt")).unwrap();
        symlink(release.join("a.txt"), release.join("alias.txt")).unwrap();
        // As deployments do it: "current" is switched from release to release.
        symlink(dir.path().join("releases/1"), dir.path().join("current")).unwrap();
        let config = HttpConfig::default();
        let root = dir.path().join("current/public");
        let files = StaticFiles::new(root, config.index, &config.forbid);
        (dir, files)
    }

    #[test]
    fn finds_files_and_leaves_the_rest_to_php() {
        let (_dir, files) = site();
        let table = [
            ("/a.txt", "file"),
            ("//a.txt", "file"),
            ("/b%20c.txt", "file"),
            ("/100%25.txt", "file"),
            ("/alias.txt", "file"),
            ("/.well-known/x", "file"),
            ("/docs/", "file"),
            ("/docs/index.html", "file"),
            ("/docs", "directory"),
            ("/", "nothing"),
            ("/empty/", "nothing"),
            ("/empty", "nothing"),
            ("/a.txt/", "nothing"),
            ("/none.txt", "nothing"),
            ("/index.php", "nothing"),
            ("/index.php~", "nothing"),
            ("/index.php/info", "nothing"),
            ("/UPPER.PHP", "nothing"),
            ("/lib.phar", "nothing"),
            ("/.env", "nothing"),
            ("/%2eenv", "nothing"),
            ("/.git/config", "nothing"),
            ("/../secret.txt", "nothing"),
            ("/%2e%2e/%2e%2e/secret.txt", "nothing"),
            ("/..%2fsecret.txt", "nothing"),
            ("/docs/..%5c..%5csecret.txt", "nothing"),
            ("/a.txt%00.html", "nothing"),
            ("/%ff", "nothing"),
            ("/leak.txt", "nothing"),
            ("/source.txt", "nothing"),
            ("/env.txt", "nothing"),
        ];
        for (path, expected) in table {
            let kind = match files.find(path) {
                Found::File(_) => "file",
                Found::Directory => "directory",
                Found::Nothing => "nothing",
            };
            assert_eq!(kind, expected, "{path}");
        }
    }

    #[test]
    fn a_compressed_variant_must_not_lead_out_either() {
        let (dir, files) = site();
        let release = dir.path().join("current/public");
        fs::write(release.join("a.txt.zst"), "z").unwrap();
        symlink(dir.path().join("secret.txt"), release.join("a.txt.gz")).unwrap();
        symlink(release.join(".env"), release.join("a.txt.br")).unwrap();
        let Found::File(path) = files.find("/a.txt") else { panic!("it is there") };
        assert_eq!(files.variants(&path), Variants { zstd: true, br: false, gzip: false });
    }

    #[test]
    fn a_root_that_is_switched_is_followed() {
        let (dir, files) = site();
        let next = dir.path().join("releases/2/public");
        fs::create_dir_all(&next).unwrap();
        fs::write(next.join("new.txt"), "new").unwrap();
        let current = dir.path().join("current");
        fs::remove_file(&current).unwrap();
        symlink(dir.path().join("releases/2"), &current).unwrap();
        assert!(matches!(files.find("/new.txt"), Found::File(_)));
        assert_eq!(files.find("/a.txt"), Found::Nothing);
    }

    #[test]
    fn a_redirect_never_leads_to_another_host() {
        let response = redirect(&Uri::from_static("//evil.example?x=1"));
        assert_eq!(response.headers()[LOCATION], "/evil.example/?x=1");
    }
}
