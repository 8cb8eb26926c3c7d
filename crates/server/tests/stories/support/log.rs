//! What the server writes, line by line, as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::until;

/// How many lines, and how much of each, of a story that failed are shown.
const MOST_SHOWN: usize = 60;
const LONGEST_SHOWN: usize = 400;

/// The lines of one stream so far. Clones share them.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Collects what comes from `stream` until its end.
    pub fn follow(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let lines = log.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.with(|lines| lines.lines.push(text));
                line.clear();
            }
            lines.with(|lines| lines.ended = true);
        });
        log
    }

    /// Waits for a line that holds `text`.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_nth(text, 1)
    }

    /// Waits for the `count`th line that holds `text`.
    pub fn wait_for_nth(&self, text: &str, count: usize) -> String {
        until(&format!("line {count} of the log with {text:?}"), || self.nth(text, count))
    }

    /// How many lines hold `text` so far.
    pub fn count(&self, text: &str) -> usize {
        self.with(|lines| lines.lines.iter().filter(|line| line.contains(text)).count())
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.with(|lines| lines.lines.join("\n"))
    }

    /// The last lines so far, for people to read.
    pub fn end(&self) -> String {
        self.with(|lines| {
            let last = &lines.lines[lines.lines.len().saturating_sub(MOST_SHOWN)..];
            let short =
                last.iter().map(|line| line.chars().take(LONGEST_SHOWN).collect::<String>());
            short.collect::<Vec<_>>().join("\n")
        })
    }

    /// Everything, once the stream has ended.
    pub fn whole(&self) -> String {
        until("the end of the log", || self.with(|lines| lines.ended.then_some(())));
        self.text()
    }

    fn nth(&self, text: &str, count: usize) -> Option<String> {
        self.with(|lines| {
            lines.lines.iter().filter(|line| line.contains(text)).nth(count - 1).cloned()
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Lines) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
