//! The connection to a worker: bytes in, bytes out, frames put together.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use folk_goridge::{Frame, FrameError, Head, decode_head, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::monitor::Process;

/// The room for reading that is made at once, in bytes: many small answers share it.
const ROOM: usize = 32 * 1024;
/// The room that there is at least, in bytes: most answers come in one read, and a read that does
/// not fill its room saves the one that would find nothing.
const LEAST_ROOM: usize = 4 * 1024;
/// The most room that is made at once, in bytes, whatever a frame claims.
const MOST_ROOM: usize = 1 << 20;
/// The most that is read at once, in bytes.
pub(crate) const CHUNK: usize = 64 * 1024;
/// How long the event loop may take to tell of what a dead process said.
const LAST_BYTES: Duration = Duration::from_millis(50);

/// What carries the bytes.
#[derive(Debug)]
pub(crate) enum Link {
    /// A Unix socket, registered for reading only. A socket registered for both wakes the event
    /// loop whenever the worker has read something, once a request and for nothing.
    Socket(pipe::Receiver),
    Pipes {
        rx: pipe::Receiver,
        tx: pipe::Sender,
    },
}

impl Link {
    /// The link over a connected socket.
    pub(crate) fn socket(stream: UnixStream) -> io::Result<Self> {
        let fd = OwnedFd::from(stream.into_std()?);
        // What is asked of it, to be read without blocking, holds for a socket as well.
        Ok(Self::Socket(pipe::Receiver::from_owned_fd_unchecked(fd)?))
    }

    fn receiver(&self) -> &pipe::Receiver {
        match self {
            Self::Socket(rx) | Self::Pipes { rx, .. } => rx,
        }
    }

    async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Socket(rx) | Self::Pipes { rx, .. } => rx.read_buf(buffer).await,
        }
    }

    /// Whether something that was written is known to be unread. A socket tells that by an error
    /// instead; see [`Broken::Closed`].
    fn has_unread(&self) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Pipes { tx, .. } => rustix::io::ioctl_fionread(tx).is_ok_and(|bytes| bytes > 0),
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Socket(rx) => write_socket(rx, bytes).await,
            Self::Pipes { tx, .. } => tx.write_all(bytes).await,
        }
    }
}

/// Writes to a socket that is registered for reading only. A request mostly fits into the socket's
/// buffer; only where it does not is the socket registered for writing, for as long as it takes.
async fn write_socket(socket: &pipe::Receiver, mut bytes: &[u8]) -> io::Result<()> {
    use rustix::io::Errno;
    while !bytes.is_empty() {
        match rustix::io::write(socket, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let again = socket.as_fd().try_clone_to_owned()?;
                return UnixStream::from_std(again.into())?.write_all(bytes).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Why a connection is of no use any more.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The worker closed it. `unread`: before it had read everything that was written.
    Closed { unread: bool },
    /// What came is no frame.
    Frame(FrameError),
    /// What came is no answer.
    Protocol(String),
    /// The system failed.
    System(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A peer that closes a Unix socket while something waits in it to be read resets it.
            io::ErrorKind::ConnectionReset => Self::Closed { unread: true },
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                Self::Closed { unread: false }
            }
            _ => Self::System(error.to_string()),
        }
    }
}

impl From<FrameError> for Broken {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// What an idle connection shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    Quiet,
    Closed,
    /// The worker spoke without being asked. The text is what it said, made printable.
    Spoke(String),
}

/// A connection with its read buffer.
#[derive(Debug)]
pub(crate) struct Wire {
    link: Link,
    inbox: BytesMut,
    limit: u32,
    /// Its end ends the connection, also where a child of it holds on to its side.
    process: Arc<Process>,
}

impl Wire {
    /// A connection whose frames have at most `limit` bytes of payload.
    pub(crate) fn new(link: Link, limit: u32, process: Arc<Process>) -> Self {
        Self { link, inbox: BytesMut::new(), limit, process }
    }

    /// Sets the limit for the payload of a frame, in bytes.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Writes bytes. Not cancel-safe.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        tokio::select! {
            biased;
            written = self.link.write_all(bytes) => Ok(written?),
            _ = self.process.exited() => Err(Broken::Closed { unread: false }),
        }
    }

    /// Writes a frame without options. Not cancel-safe.
    pub(crate) async fn write_frame(
        &mut self,
        flags: u8,
        bits: u8,
        payload: &[u8],
    ) -> Result<(), Broken> {
        let mut frame = BytesMut::new();
        encode(&mut frame, flags, bits, &[], payload);
        self.write(&frame).await
    }

    /// Waits for the next head and leaves it where it is. Cancel-safe.
    pub(crate) async fn head(&mut self) -> Result<Head, Broken> {
        loop {
            if let Some(head) = decode_head(&self.inbox, self.limit)? {
                return Ok(head);
            }
            self.fill(LEAST_ROOM).await?;
        }
    }

    /// Takes the head that [`head`](Self::head) showed.
    pub(crate) fn skip_head(&mut self, head: &Head) {
        self.inbox.advance(head.wire_len().min(self.inbox.len()));
    }

    /// Takes the whole frame whose head was shown. The payload shares the read buffer's memory.
    pub(crate) async fn frame(&mut self, head: Head) -> Result<Frame, Broken> {
        self.skip_head(&head);
        let payload = self.take(head.length as usize).await?;
        Ok(Frame { head, payload })
    }

    /// Takes exactly `length` bytes.
    pub(crate) async fn take(&mut self, length: usize) -> Result<Bytes, Broken> {
        while self.inbox.len() < length {
            self.fill(length - self.inbox.len()).await?;
        }
        Ok(self.inbox.split_to(length).freeze())
    }

    /// Takes what is there, at least one byte and at most `most`.
    pub(crate) async fn take_some(&mut self, most: usize) -> Result<Bytes, Broken> {
        if self.inbox.is_empty() {
            self.fill(most.min(CHUNK)).await?;
        }
        let length = self.inbox.len().min(most);
        Ok(self.inbox.split_to(length).freeze())
    }

    /// Whether something was read that nobody took.
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// What the connection shows while no request runs. Costs no system call as long as the
    /// event loop has seen nothing on it.
    pub(crate) fn peek_idle(&mut self) -> Idle {
        if self.inbox.is_empty() {
            self.make_room(LEAST_ROOM);
            match self.link.receiver().try_read_buf(&mut self.inbox) {
                Ok(0) => return Idle::Closed,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Idle::Quiet,
                Err(_) => return Idle::Closed,
            }
        }
        Idle::Spoke(sample(&self.inbox))
    }

    /// Waits until an idle connection shows something. Cancel-safe.
    pub(crate) async fn stirred(&mut self) -> Idle {
        loop {
            match self.peek_idle() {
                Idle::Quiet => {}
                other => return other,
            }
            if self.link.receiver().readable().await.is_err() {
                return Idle::Closed;
            }
        }
    }

    fn make_room(&mut self, wanted: usize) {
        let there = self.inbox.capacity() - self.inbox.len();
        if there < wanted.clamp(LEAST_ROOM, MOST_ROOM) {
            self.inbox.reserve(wanted.clamp(ROOM, MOST_ROOM));
        }
    }

    /// Reads what comes. Where the process ended meanwhile, all it said is there already.
    async fn read(&mut self) -> io::Result<usize> {
        tokio::select! {
            biased;
            read = self.link.read_buf(&mut self.inbox) => return read,
            _ = self.process.exited() => {}
        }
        let rest = self.link.read_buf(&mut self.inbox);
        tokio::time::timeout(LAST_BYTES, rest).await.unwrap_or(Ok(0))
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), Broken> {
        self.make_room(wanted);
        match self.read().await? {
            0 => Err(Broken::Closed { unread: self.link.has_unread() }),
            _ => Ok(()),
        }
    }
}

/// The beginning of `bytes`, made printable.
fn sample(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(160)]).into_owned()
}
