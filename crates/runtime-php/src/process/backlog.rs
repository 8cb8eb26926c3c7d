//! Answers whose readers are behind: kept in files without names, so that no worker waits for a
//! slow client.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use folk_api::{BodyError, BodySender};

use super::body::Spooled;
use super::budget::{Budget, Share};

/// Where answers wait, and how much of them.
#[derive(Debug)]
pub(crate) struct Backlog {
    dir: PathBuf,
    room: Budget,
}

impl Backlog {
    pub(crate) fn new(dir: PathBuf, bytes: u64) -> Self {
        Self { dir, room: Budget::new(bytes) }
    }

    /// A place for `length` bytes.
    pub(crate) async fn open(&self, length: u64) -> io::Result<Stash> {
        let mut room = self.room.share();
        if !room.try_add(length) {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many answers wait"));
        }
        let dir = self.dir.clone();
        let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(dir)).await??;
        Ok(Stash { file: Arc::new(file), length: 0, _room: room })
    }
}

/// What waits of one answer.
#[derive(Debug)]
pub(crate) struct Stash {
    file: Arc<File>,
    length: u64,
    _room: Share,
}

impl Stash {
    /// Adds `chunk`, or nothing of it when that fails.
    pub(crate) async fn append(&mut self, chunk: Bytes) -> io::Result<()> {
        let (file, offset, length) = (Arc::clone(&self.file), self.length, chunk.len() as u64);
        tokio::task::spawn_blocking(move || file.write_all_at(&chunk, offset)).await??;
        self.length += length;
        Ok(())
    }

    /// Hands everything to `body`, as fast as that is read.
    ///
    /// # Errors
    ///
    /// It cannot be read back.
    pub(crate) async fn feed(self, body: &mut BodySender) -> Result<(), BodyError> {
        let stored = Spooled::new(self.file, self.length);
        let mut offset = 0;
        while offset < stored.length {
            let chunk = stored.read_at(offset).await.map_err(|error| {
                BodyError::Failed(format!("a stored answer cannot be read: {error}"))
            })?;
            offset += chunk.len() as u64;
            if body.send(Bytes::from(chunk)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The same to the end of the body, beside the worker. Ends when the reader reads on or leaves.
    pub(crate) fn feed_to_its_end(self, mut body: BodySender) {
        tokio::spawn(async move {
            match self.feed(&mut body).await {
                Ok(()) => {
                    let _gone = body.finish().await;
                }
                Err(error) => body.fail(error).await,
            }
        });
    }
}
