//! Compresses bytes in memory, a chunk at a time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use async_compression::Level;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use bytes::Bytes;
use folk_api::BodyError;
use tokio::io::AsyncWrite;

use crate::config::Algorithm;

/// Levels at which compressing costs about as much as PHP needs for the page.
const BROTLI: Level = Level::Precise(4);
const GZIP: Level = Level::Precise(5);
const ZSTD: Level = Level::Precise(3);

/// A compressor that writes to memory, which is always ready.
pub(super) enum Encoder {
    Brotli(Box<BrotliEncoder<Vec<u8>>>),
    Gzip(Box<GzipEncoder<Vec<u8>>>),
    Zstd(Box<ZstdEncoder<Vec<u8>>>),
}

impl Encoder {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let out = Vec::new();
        match algorithm {
            Algorithm::Br => Self::Brotli(Box::new(BrotliEncoder::with_quality(out, BROTLI))),
            Algorithm::Gzip => Self::Gzip(Box::new(GzipEncoder::with_quality(out, GZIP))),
            Algorithm::Zstd => Self::Zstd(Box::new(ZstdEncoder::with_quality(out, ZSTD))),
        }
    }

    /// All of a body.
    pub(super) fn all(mut self, bytes: &[u8]) -> Result<Bytes, BodyError> {
        self.write(bytes)?;
        self.finish()
    }

    /// The next part of a body; what comes back decompresses to all that was given so far.
    pub(super) fn chunk(&mut self, bytes: &[u8]) -> Result<Bytes, BodyError> {
        self.write(bytes)?;
        self.drive(|writer, cx| writer.poll_flush(cx))?;
        Ok(self.take())
    }

    /// What is needed after the last part.
    pub(super) fn finish(&mut self) -> Result<Bytes, BodyError> {
        self.drive(|writer, cx| writer.poll_shutdown(cx))?;
        Ok(self.take())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), BodyError> {
        while !bytes.is_empty() {
            let count = self.drive(|writer, cx| writer.poll_write(cx, bytes))?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn drive<T>(
        &mut self,
        step: impl FnOnce(Pin<&mut (dyn AsyncWrite + Unpin)>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Result<T, BodyError> {
        let writer: &mut (dyn AsyncWrite + Unpin) = match self {
            Self::Brotli(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        };
        match step(Pin::new(writer), &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                result.map_err(|error| BodyError::Failed(format!("cannot compress: {error}")))
            }
            Poll::Pending => Err(BodyError::Failed("cannot compress: memory was not ready".into())),
        }
    }

    fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(match self {
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }))
    }
}
