//! Reading the answer to a request, whole or in parts.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use folk_api::{Body, BodyError, Error, Job, Request, Response};
use folk_goridge::{Head, bits, flags};
use http::StatusCode;

use super::backlog::{Backlog, Stash};
use super::head::{self, Encoding, HeadError, ResponseHead};
use super::reader::Reader;
use super::wire::{Broken, CHUNK, Wire};

/// Answers of one frame up to this many bytes are handed over whole; larger ones as they arrive, so
/// that slow clients have no more of them in memory than a few chunks each.
const WHOLE: u32 = 128 * 1024;
/// The longest context of an answer, in bytes: names and values of its headers.
const LONGEST_CONTEXT: u32 = 1 << 20;
/// The longest error message that is passed on, in bytes.
const LONGEST_MESSAGE: u32 = 64 * 1024;
/// How many chunks of a streamed body may wait for its reader.
const AHEAD: usize = 4;
/// How long an answer of known length waits for its reader, all in all, before the rest of it goes
/// to a file: one that reads as fast as PHP writes needs none.
const READER_PATIENCE: Duration = Duration::from_millis(10);
/// How long a worker waits for a slow client where there is no room for its answer. Then the answer
/// is cut: one client must not take the worker from the others.
const NO_ROOM_PATIENCE: Duration = Duration::from_secs(2);
const STOPPING: &[u8] = b"{\"stop\":true}";

/// How the worker took a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It answered, and the answer was handed over.
    Answered {
        /// With a status from 500 on.
        server_error: bool,
    },
    /// It did not take it and ends.
    Stopping,
}

/// An answer that broke off.
#[derive(Debug)]
pub(crate) struct BrokenOff {
    pub(crate) why: Broken,
    /// Whether anything of the answer came.
    pub(crate) begun: bool,
    reader: Reader,
}

impl BrokenOff {
    /// Tells the reader of the body, if there is one already.
    pub(crate) async fn tell(&mut self, why: &Error) {
        self.reader.fail(BodyError::Failed(why.to_string())).await;
    }
}

/// Reads the answer to `job` and hands it over. `encoding` and `tag` are those of the request. What
/// is read faster than it is wanted goes to the `backlog`.
pub(crate) async fn receive(
    wire: &mut Wire,
    job: &mut Job,
    encoding: Encoding,
    tag: u8,
    backlog: &Backlog,
) -> Result<Taken, BrokenOff> {
    let mut answer = Answer {
        wire,
        job,
        encoding,
        tag,
        backlog,
        reader: Reader::Waiting,
        begun: false,
        told_to_stop: false,
        server_error: false,
    };
    match answer.run().await {
        Ok(taken) => Ok(taken),
        Err(why) => {
            let Answer { begun, reader, .. } = answer;
            Err(BrokenOff { why, begun, reader })
        }
    }
}

struct Answer<'a> {
    wire: &'a mut Wire,
    job: &'a mut Job,
    encoding: Encoding,
    tag: u8,
    backlog: &'a Backlog,
    reader: Reader,
    begun: bool,
    told_to_stop: bool,
    server_error: bool,
}

impl Answer<'_> {
    async fn run(&mut self) -> Result<Taken, Broken> {
        loop {
            let head = self.next_head().await?;
            self.begun = true;
            if head.tag != self.tag {
                return Err(Broken::Protocol(
                    "an answer to another request than the one it runs".to_owned(),
                ));
            }
            if head.has(flags::CONTROL) {
                return Err(Broken::Protocol("a control frame where an answer belongs".to_owned()));
            }
            let more = head.has_bits(bits::STREAM);
            if head.has(flags::ERROR) {
                self.error(head).await?;
            } else if !more && head.length <= WHOLE && matches!(self.reader, Reader::Waiting) {
                return self.whole(head).await;
            } else {
                self.part(head, more).await?;
            }
            if !more {
                self.reader.finish().await;
                return Ok(self.answered());
            }
            if matches!(self.reader, Reader::Gone) {
                // It answers a PING as well: a PONG after it would be left over.
                self.stop_stream().await?;
            } else if head.has_bits(bits::PING) {
                self.wire.write_frame(self.control(), bits::PONG, b"").await?;
            }
        }
    }

    /// An answer in one frame, the common case: no copy, no channel.
    async fn whole(&mut self, head: Head) -> Result<Taken, Broken> {
        let (context, body) = self.wire.frame(head).await?.split_context()?;
        if context == STOPPING && body.is_empty() {
            return Ok(Taken::Stopping);
        }
        let answer = self.read_head(&head, &context)?.and_then(final_head);
        self.server_error = answer.as_ref().is_ok_and(|(status, _)| status.is_server_error());
        let answer =
            answer.map(|(status, headers)| Response { status, headers, body: Body::full(body) });
        self.job.reply.send(answer);
        Ok(self.answered())
    }

    fn answered(&self) -> Taken {
        Taken::Answered { server_error: self.server_error }
    }

    /// A part of an answer, handed over as it arrives.
    async fn part(&mut self, head: Head, more: bool) -> Result<(), Broken> {
        let &[context_length] = head.options() else {
            let found = head.options().len();
            return Err(folk_goridge::FrameError::Options { expected: 1, found }.into());
        };
        if context_length > head.length || context_length > LONGEST_CONTEXT {
            let (claimed, payload) = (context_length as usize, head.length as usize);
            return Err(folk_goridge::FrameError::ContextLength { claimed, payload }.into());
        }
        self.wire.skip_head(&head);
        let context = self.wire.take(context_length as usize).await?;
        let length = head.length - context_length;
        if matches!(self.reader, Reader::Waiting) {
            let parsed = self.read_head(&head, &context)?;
            if let Ok(head) = &parsed
                && (102..200).contains(&head.status)
                && more
                && length == 0
            {
                self.inform(head);
                return Ok(());
            }
            let known = if more { None } else { Some(u64::from(length)) };
            self.open(parsed, known);
            if !more {
                return self.pump_ahead(u64::from(length)).await;
            }
        }
        self.pump(u64::from(length)).await
    }

    fn open(&mut self, head: Result<ResponseHead, Error>, length: Option<u64>) {
        match head.and_then(final_head) {
            Ok((status, headers)) => {
                self.server_error = status.is_server_error();
                let (sender, body) = Body::channel(AHEAD, length);
                let taken = self.job.reply.send(Ok(Response { status, headers, body }));
                self.reader = if taken { Reader::Open(sender) } else { Reader::Gone };
            }
            Err(error) => {
                self.job.reply.send(Err(error));
                self.reader = Reader::Gone;
            }
        }
    }

    fn inform(&self, head: &ResponseHead) {
        if let Request::Http(request) = &self.job.request
            && let Some(sink) = &request.interim
            && let Some(status) = status(head.status)
        {
            sink.send(status, &head.headers);
        }
    }

    /// Hands over `left` bytes as fast as they are read: the worker waits meanwhile.
    async fn pump(&mut self, mut left: u64) -> Result<(), Broken> {
        while left > 0 {
            let chunk = self.chunk(&mut left).await?;
            self.reader.send(chunk).await;
        }
        Ok(())
    }

    /// The next of `left` bytes.
    async fn chunk(&mut self, left: &mut u64) -> Result<Bytes, Broken> {
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(CHUNK);
        let chunk = self.wire.take_some(most).await?;
        *left -= chunk.len() as u64;
        Ok(chunk)
    }

    /// Hands over `left` bytes, the rest of the answer. Where its reader is behind they go to a
    /// file, and the worker is done as soon as it has written them.
    async fn pump_ahead(&mut self, mut left: u64) -> Result<(), Broken> {
        let mut patience = READER_PATIENCE;
        while left > 0 {
            let chunk = self.chunk(&mut left).await?;
            if !self.reader.send_within(chunk.clone(), &mut patience).await {
                let unread = self.put_aside(chunk, left).await?;
                return self.pump_without_room(unread).await;
            }
        }
        Ok(())
    }

    /// Hands over `left` bytes to a reader that is behind, while it has patience; drops the rest.
    async fn pump_without_room(&mut self, mut left: u64) -> Result<(), Broken> {
        let mut patience = NO_ROOM_PATIENCE;
        while left > 0 {
            let chunk = self.chunk(&mut left).await?;
            if !self.reader.send_within(chunk, &mut patience).await {
                self.give_reader_up().await;
            }
        }
        Ok(())
    }

    async fn give_reader_up(&mut self) {
        let why = "the client reads too slowly, and there is no room to store the answer";
        self.reader.fail(BodyError::Failed(why.to_owned())).await;
    }

    /// Puts `chunk` and the `left` bytes after it aside, to be handed over beside the worker.
    /// Returns how many are still to be read, where that cannot be or nobody wants them.
    async fn put_aside(&mut self, mut chunk: Bytes, mut left: u64) -> Result<u64, Broken> {
        let mut stash = match self.backlog.open(chunk.len() as u64 + left).await {
            Ok(stash) => stash,
            Err(error) => {
                self.hold_worker(None, chunk, &error).await;
                return Ok(left);
            }
        };
        loop {
            if let Err(error) = stash.append(chunk.clone()).await {
                self.hold_worker(Some(stash), chunk, &error).await;
                return Ok(left);
            }
            if !self.reader.is_there() {
                self.reader = Reader::Gone;
                return Ok(left);
            }
            if left == 0 {
                break;
            }
            chunk = self.chunk(&mut left).await?;
        }
        if let Some(body) = self.reader.take() {
            stash.feed_to_its_end(body);
        }
        Ok(0)
    }

    /// Hands over what was put aside, and `chunk` after it, while there is patience: there is no room
    /// for more.
    async fn hold_worker(&mut self, stash: Option<Stash>, chunk: Bytes, error: &io::Error) {
        tracing::warn!(
            "an answer cannot be stored, so a worker waits a moment for a slow client: {error}; \
             make room in upload_dir, or set another directory"
        );
        let mut patience = NO_ROOM_PATIENCE;
        let fed = match (stash, &mut self.reader) {
            (Some(stash), Reader::Open(body)) => {
                tokio::time::timeout(patience, stash.feed(body)).await
            }
            _ => Ok(Ok(())),
        };
        match fed {
            Ok(Ok(())) => {
                if !self.reader.send_within(chunk, &mut patience).await {
                    self.give_reader_up().await;
                }
            }
            Ok(Err(error)) => self.reader.fail(error).await,
            Err(_elapsed) => self.give_reader_up().await,
        }
    }

    /// The application failed and said so.
    async fn error(&mut self, head: Head) -> Result<(), Broken> {
        if head.length > LONGEST_MESSAGE {
            return Err(folk_goridge::FrameError::TooLarge {
                claimed: head.length,
                limit: LONGEST_MESSAGE,
            }
            .into());
        }
        let frame = self.wire.frame(head).await?;
        // With a context the message is what follows it.
        let text = frame.clone().split_context().map_or(frame.payload, |(_, text)| text);
        let message = String::from_utf8_lossy(&text).into_owned();
        if matches!(self.reader, Reader::Waiting) {
            self.reader = Reader::Gone;
            self.job.reply.send(Err(Error::Application { code: None, message }));
        } else {
            let news = BodyError::Failed(format!("application error: {message}"));
            self.reader.fail(news).await;
        }
        Ok(())
    }

    /// Waits for the next head and, between the parts of a stream, for its reader to leave.
    async fn next_head(&mut self) -> Result<Head, Broken> {
        if let Reader::Open(body) = &self.reader {
            let next = tokio::select! {
                biased;
                head = self.wire.head() => Some(head),
                () = body.closed() => None,
            };
            if let Some(head) = next {
                return head;
            }
            self.reader = Reader::Gone;
            self.stop_stream().await?;
        }
        self.wire.head().await
    }

    /// Asks the worker to end its stream, once.
    async fn stop_stream(&mut self) -> Result<(), Broken> {
        if std::mem::replace(&mut self.told_to_stop, true) {
            return Ok(());
        }
        self.wire.write_frame(self.control(), bits::STOP, b"").await
    }

    /// The flags of what is said about a stream. RoadRunner's packages take a control frame for
    /// JSON, and fail over one without.
    fn control(&self) -> u8 {
        match self.encoding {
            Encoding::Php => flags::CONTROL,
            Encoding::Proto | Encoding::Json => 0,
        }
    }

    /// The head of the answer. Methods and tasks have none.
    fn read_head(
        &self,
        frame: &Head,
        context: &Bytes,
    ) -> Result<Result<ResponseHead, Error>, Broken> {
        if !matches!(self.job.request, Request::Http(_)) {
            return Ok(Ok(ResponseHead { status: 200, headers: http::HeaderMap::new() }));
        }
        let encoding = if frame.has(flags::PROTO) {
            Encoding::Proto
        } else if frame.has(flags::JSON) {
            Encoding::Json
        } else {
            self.unmarked(context)
        };
        match head::parse(encoding, context) {
            Ok(head) => Ok(Ok(head)),
            Err(HeadError::Application(message)) => {
                Ok(Err(Error::Application { code: None, message }))
            }
            Err(HeadError::Protocol(what)) => Err(Broken::Protocol(what)),
        }
    }

    /// The encoding of an answer that does not name it: old RoadRunner workers always send JSON.
    fn unmarked(&self, context: &Bytes) -> Encoding {
        match self.encoding {
            Encoding::Php => Encoding::Php,
            Encoding::Proto | Encoding::Json if context.first() == Some(&b'{') => Encoding::Json,
            Encoding::Proto | Encoding::Json => Encoding::Proto,
        }
    }
}

fn status(code: i64) -> Option<StatusCode> {
    u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok())
}

fn final_head(head: ResponseHead) -> Result<(StatusCode, http::HeaderMap), Error> {
    match status(head.status) {
        Some(status) if (200..600).contains(&status.as_u16()) => Ok((status, head.headers)),
        Some(_) | None => Err(Error::Application {
            code: None,
            message: format!(
                "{} is no status for a response; it must be from 200 to 599",
                head.status
            ),
        }),
    }
}
