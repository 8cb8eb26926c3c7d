//! What workers print: to the log line by line, and its end kept as their last words.

use folk_api::OneLine;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::Instant;

/// The longest line that is logged, in bytes. The rest of a longer one is dropped.
const LONGEST_LINE: usize = 8 * 1024;
/// How much of what a worker printed last is kept, in bytes.
const LAST_WORDS: usize = 4 * 1024;
/// How many lines of a stream are logged in a second. The rest is counted.
const LINES_A_SECOND: u32 = 1000;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// Whose lines they are.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) pool: Arc<str>,
    pub(crate) slot: u32,
    pub(crate) pid: u32,
}

/// The end of what a worker printed, on whichever stream.
#[derive(Debug, Default)]
pub(crate) struct Tail(Mutex<VecDeque<u8>>);

impl Tail {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = &bytes[bytes.len().saturating_sub(LAST_WORDS)..];
        let excess = (kept.len() + bytes.len()).saturating_sub(LAST_WORDS);
        kept.drain(..excess);
        kept.extend(bytes);
    }

    /// The text, trimmed.
    pub(crate) fn text(&self) -> String {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.make_contiguous()).trim().to_owned()
    }
}

/// Logs everything that comes from `stream` until its end.
pub(crate) async fn log(mut stream: pipe::Receiver, source: Source, name: Name, tail: Arc<Tail>) {
    let mut buffer = BytesMut::with_capacity(LONGEST_LINE);
    let mut lines = Lines::default();
    let mut meter = Meter::new(Instant::now());
    loop {
        buffer.clear();
        buffer.reserve(LONGEST_LINE);
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        tail.push(&buffer);
        lines.feed(&buffer, |line| {
            let verdict = meter.admit(Instant::now());
            if let Some(dropped) = verdict.dropped_before {
                say_dropped(source, &name, dropped);
            }
            if verdict.pass {
                say(source, &name, line);
            }
        });
    }
    lines.finish(|line| say(source, &name, line));
    if meter.dropped > 0 {
        say_dropped(source, &name, meter.dropped);
    }
}

fn say(source: Source, name: &Name, line: &[u8]) {
    let (pool, slot, pid) = (&*name.pool, name.slot, name.pid);
    let line = String::from_utf8_lossy(line);
    let line = OneLine(line);
    match source {
        Source::Stdout => tracing::info!(target: "folk::worker", pool, slot, pid, "{line}"),
        Source::Stderr => tracing::warn!(target: "folk::worker", pool, slot, pid, "{line}"),
    }
}

fn say_dropped(source: Source, name: &Name, dropped: u64) {
    let (pool, slot, pid) = (&*name.pool, name.slot, name.pid);
    tracing::warn!(
        target: "folk::worker", pool, slot, pid,
        "{dropped} lines of {source:?} were not logged: more than {LINES_A_SECOND} in a second"
    );
}

/// Cuts a stream of bytes into lines of bounded length.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
    /// The rest of the line at hand is dropped.
    skipping: bool,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.push(&bytes[..end], &mut emit);
            self.end(&mut emit);
            bytes = &bytes[end + 1..];
        }
        self.push(bytes, &mut emit);
    }

    fn finish(mut self, mut emit: impl FnMut(&[u8])) {
        self.end(&mut emit);
    }

    fn push(&mut self, bytes: &[u8], emit: &mut impl FnMut(&[u8])) {
        if self.skipping {
            return;
        }
        let room = LONGEST_LINE - self.partial.len();
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.partial.extend_from_slice(" […]".as_bytes());
            self.end(emit);
            self.skipping = true;
        }
    }

    fn end(&mut self, emit: &mut impl FnMut(&[u8])) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        if !line.is_empty() {
            emit(line);
        }
        self.partial.clear();
        self.skipping = false;
    }
}

/// Lets so many lines pass in a second.
#[derive(Debug)]
struct Meter {
    since: Instant,
    passed: u32,
    dropped: u64,
}

struct Verdict {
    pass: bool,
    dropped_before: Option<u64>,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self { since: now, passed: 0, dropped: 0 }
    }

    fn admit(&mut self, now: Instant) -> Verdict {
        let mut dropped_before = None;
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            dropped_before = Some(self.dropped).filter(|&dropped| dropped > 0);
            *self = Self::new(now);
        }
        let pass = self.passed < LINES_A_SECOND;
        if pass {
            self.passed += 1;
        } else {
            self.dropped += 1;
        }
        Verdict { pass, dropped_before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut emit = |line: &[u8]| found.push(String::from_utf8_lossy(line).into_owned());
        for chunk in chunks {
            lines.feed(chunk, &mut emit);
        }
        lines.finish(&mut emit);
        found
    }

    #[test]
    fn lines_are_put_together_from_pieces_and_empty_ones_left_out() {
        assert_eq!(lines_of(&[b"on", b"e\r\n\ntwo\nth", b"ree"]), ["one", "two", "three"]);
    }

    #[test]
    fn the_end_of_a_line_without_end_is_dropped() {
        let long = vec![b'x'; 3 * LONGEST_LINE];
        let found = lines_of(&[&long, &long, b"\nnext\n"]);
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with("x […]") && found[0].len() < LONGEST_LINE + 10);
        assert_eq!(found[1], "next");
    }

    #[test]
    fn only_the_last_words_are_kept() {
        let tail = Tail::default();
        tail.push(&vec![b'a'; 3 * LAST_WORDS]);
        tail.push(b"the end\n");
        let text = tail.text();
        assert!(text.ends_with("aaathe end"));
        assert_eq!(text.len(), LAST_WORDS - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_beyond_the_rate_are_counted_and_told_later() {
        let mut meter = Meter::new(Instant::now());
        for _ in 0..LINES_A_SECOND {
            assert!(meter.admit(Instant::now()).pass);
        }
        for _ in 0..7 {
            assert!(!meter.admit(Instant::now()).pass);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let verdict = meter.admit(Instant::now());
        assert!(verdict.pass);
        assert_eq!(verdict.dropped_before, Some(7));
    }
}
