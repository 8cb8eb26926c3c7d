//! What a server that was killed left behind: directories of sockets and files of uploads.
//!
//! Their names carry the pid of their server and, because containers may share a directory and
//! each counts its pids from 1, the number of its pid namespace.

use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Pid;

const SOCKETS: &str = "folk-";
const UPLOAD: &str = "folk-upload-";

/// From this age on an upload is nobody's, where its server cannot be asked for.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// How the names of directories of sockets begin.
pub(crate) fn sockets_prefix() -> String {
    format!("{SOCKETS}{}-{}-", std::process::id(), namespace())
}

/// How the names of files of uploads begin.
pub(crate) fn upload_prefix() -> String {
    format!("{UPLOAD}{}-{}-", std::process::id(), namespace())
}

/// Removes the directories of sockets in `parent` whose server is gone.
pub(crate) fn sweep_sockets(parent: &Path) {
    sweep(parent, SOCKETS, |entry, meta, owner| {
        if meta.is_dir() && owner == Owner::Gone {
            for socket in std::fs::read_dir(entry.path())? {
                let socket = socket?;
                if socket.file_type()?.is_socket() {
                    std::fs::remove_file(socket.path())?;
                }
            }
            // Stays where anything else is in it.
            std::fs::remove_dir(entry.path())?;
        }
        Ok(())
    });
}

/// Removes the files of uploads in `dir` whose server is gone.
pub(crate) fn sweep_uploads(dir: &Path) {
    sweep(dir, UPLOAD, |entry, meta, owner| {
        let old = || meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > OLD));
        if meta.is_file() && (owner == Owner::Gone || owner == Owner::Elsewhere && old()) {
            std::fs::remove_file(entry.path())?;
        }
        Ok(())
    });
}

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Alive,
    Gone,
    /// In another container, where its pid tells nothing.
    Elsewhere,
}

fn sweep(
    dir: &Path,
    kind: &str,
    mut remove: impl FnMut(&DirEntry, &Metadata, Owner) -> io::Result<()>,
) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(|name| owner(name, kind)) else { continue };
        // Of the entry itself: a link is not followed.
        let Ok(meta) = entry.metadata() else { continue };
        if owner == Owner::Alive || meta.uid() != rustix::process::geteuid().as_raw() {
            continue;
        }
        match remove(&entry, &meta, owner) {
            Ok(()) => {}
            // Another pool's runtime was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = entry.path();
                tracing::debug!("{} of a dead server stays: {error}", path.display());
            }
        }
    }
}

/// Whose a name is; `None` for a name that is not made here.
fn owner(name: &str, kind: &str) -> Option<Owner> {
    let (pid, rest) = name.strip_prefix(kind)?.split_once('-')?;
    let (space, _random) = rest.split_once('-')?;
    let pid = Pid::from_raw(pid.parse().ok()?)?;
    let space: u64 = space.parse().ok()?;
    Some(if space != namespace() {
        Owner::Elsewhere
    } else if rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
        Owner::Gone
    } else {
        Owner::Alive
    })
}

/// The number of the pid namespace; 0 where the system has none.
fn namespace() -> u64 {
    static NUMBER: OnceLock<u64> = OnceLock::new();
    *NUMBER.get_or_init(|| std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::time::SystemTime;

    /// The pid of a process that has ended.
    fn dead() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn upload(dir: &Path, name: String) -> PathBuf {
        let path = dir.join(name);
        File::create(&path).unwrap();
        path
    }

    #[test]
    fn uploads_of_dead_servers_go_and_those_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (pid, space) = (dead(), namespace());
        upload(dir.path(), format!("folk-upload-{pid}-{space}-gone"));
        let stay = [
            format!("{}alive", upload_prefix()),
            format!("folk-upload-{pid}-{}-elsewhere", space + 1),
            format!("folk-upload-{pid}-not-ours"),
            format!("other-upload-{pid}-{space}-x"),
        ];
        for name in &stay {
            upload(dir.path(), name.clone());
        }
        std::fs::create_dir(dir.path().join(format!("folk-upload-{pid}-{space}-dir"))).unwrap();
        sweep_uploads(dir.path());
        let left = names(dir.path());
        for name in &stay {
            assert!(left.contains(name), "{name}: {left:?}");
        }
        assert_eq!(left.len(), stay.len() + 1, "{left:?}");
    }

    #[test]
    fn an_upload_of_another_container_goes_once_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = upload(dir.path(), format!("folk-upload-1-{}-x", namespace() + 1));
        sweep_uploads(dir.path());
        assert!(path.exists());
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - 2 * OLD).unwrap();
        sweep_uploads(dir.path());
        assert!(!path.exists());
    }

    #[test]
    fn sockets_of_a_dead_server_go_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let (pid, space) = (dead(), namespace());
        let make = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            drop(UnixListener::bind(path.join("1.sock")).unwrap());
            path
        };
        let gone = make(&format!("folk-{pid}-{space}-gone"));
        let alive = make(&format!("{}alive", sockets_prefix()));
        let foreign = make(&format!("folk-{pid}-{space}-foreign"));
        File::create(foreign.join("notes.txt")).unwrap();
        sweep_sockets(dir.path());
        assert!(!gone.exists());
        assert_eq!(names(&alive), ["1.sock"]);
        assert_eq!(names(&foreign), ["notes.txt"]);
        let link = dir.path().join(format!("folk-{pid}-{space}-link"));
        std::os::unix::fs::symlink(&alive, &link).unwrap();
        sweep_sockets(dir.path());
        assert_eq!(names(&alive), ["1.sock"], "a link is not followed");
    }
}
