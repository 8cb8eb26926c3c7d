//! A Unix socket that only this user can open and only one server has.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::fs::FlockOperation;
use tokio::net::{UnixListener, UnixStream};

/// How long a server that may be there has to answer the knock.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// A bound socket. Dropping it removes its file, unless another has taken the place.
#[derive(Debug)]
pub(crate) struct PrivateSocket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket's file.
    file: (u64, u64),
    /// Held as long as the socket; the kernel lets go of it however the server ends.
    _lock: File,
}

impl PrivateSocket {
    /// Binds the socket at `path`, mode 0600, in place of one that a dead server left behind.
    ///
    /// # Errors
    ///
    /// A live server has it, something else is in its place, or the directory does not allow it.
    pub(crate) async fn bind(path: &Path) -> anyhow::Result<Self> {
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(directory).with_context(|| {
            format!("failed to make the directory of socket {}", path.display())
        })?;
        let lock = lock(path)?;
        remove_stale(path).await?;
        let listener = bind_aside(path, directory)
            .with_context(|| format!("failed to bind socket {}", path.display()))?;
        let found = std::fs::symlink_metadata(path)?;
        let file = (found.dev(), found.ino());
        Ok(Self { listener, path: path.to_owned(), file, _lock: lock })
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if is_ours {
            // Gone meanwhile is as good.
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

/// Takes the lock that goes with the socket. Its file stays: to remove it would let two servers
/// hold two locks of the same name.
fn lock(path: &Path) -> anyhow::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&name)
        .with_context(|| format!("failed to open {}", Path::new(&name).display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            anyhow::bail!("another server answers on {}; stop it first", path.display())
        }
        // A file system without locks; the knock has to do.
        Err(_) => Ok(file),
    }
}

/// Removes a socket that nobody answers on, and nothing else.
async fn remove_stale(path: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            anyhow::bail!("{} is in the way of a socket and is none", path.display())
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context(format!("failed to look at {}", path.display())),
    }
    match tokio::time::timeout(KNOCK_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // It answers, is too busy to, or is not ours to knock at: somebody's in any case.
        Ok(Ok(_) | Err(_)) | Err(_) => {
            anyhow::bail!("another server answers on {}; stop it first", path.display())
        }
    }
    std::fs::remove_file(path)
        .with_context(|| format!("failed to remove stale socket {}", path.display()))
}

/// Binds in a directory that only this user enters, and moves the socket to its place: it is never
/// seen with another mode than its own.
fn bind_aside(path: &Path, directory: &Path) -> io::Result<UnixListener> {
    // Short, as the whole path of a socket has 107 bytes.
    let aside = directory.join(format!(".f{}", std::process::id()));
    let _left_by_a_crash = std::fs::remove_dir_all(&aside);
    DirBuilder::new().mode(0o700).create(&aside)?;
    let socket = aside.join("s");
    let bound = UnixListener::bind(&socket).and_then(|listener| {
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        std::fs::rename(&socket, path)?;
        Ok(listener)
    });
    let removed = std::fs::remove_dir_all(&aside);
    let listener = bound?;
    removed?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("var").join("x.sock");
        (directory, path)
    }

    #[tokio::test]
    async fn the_socket_is_private_and_goes_with_its_server() {
        let (directory, path) = place();
        let socket = PrivateSocket::bind(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let entries = std::fs::read_dir(directory.path().join("var")).unwrap().count();
        assert_eq!(entries, 2, "the socket and its lock");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn that_of_a_live_server_is_not_taken_even_when_it_does_not_answer() {
        let (_directory, path) = place();
        let socket = PrivateSocket::bind(&path).await.unwrap();
        let error = PrivateSocket::bind(&path).await.unwrap_err().to_string();
        assert!(error.contains("another server answers"), "{error}");
        // Somebody else's, without a lock, and with its line full.
        let other = path.with_file_name("other.sock");
        let _busy = std::os::unix::net::UnixListener::bind(&other).unwrap();
        assert!(PrivateSocket::bind(&other).await.is_err());
        drop(socket);
        PrivateSocket::bind(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_stale_one_is_replaced_and_what_is_no_socket_is_left_alone() {
        let (_directory, path) = place();
        drop(PrivateSocket::bind(&path).await.unwrap());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = PrivateSocket::bind(&path).await.unwrap();
        drop(socket);
        std::fs::write(&path, "precious").unwrap();
        assert!(PrivateSocket::bind(&path).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn what_another_put_in_its_place_is_not_removed() {
        let (_directory, path) = place();
        let socket = PrivateSocket::bind(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "somebody else's").unwrap();
        drop(socket);
        assert!(path.exists());
    }
}
