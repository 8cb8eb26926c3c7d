//! Text from outside, as a log may show it.

use std::fmt::{self, Display, Write};

/// What it wraps, on one line and without control characters: a message of the application, or a
/// name a client chose, must not be able to write log lines of its own or steer a terminal.
#[derive(Debug, Clone, Copy)]
pub struct OneLine<T>(pub T);

impl<T: Display> Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unfit) {
            let (plain, from) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut chars = from.chars();
            if let Some(unfit) = chars.next() {
                write!(self.0, "{}", unfit.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Controls, the line breaks of Unicode, and what reverses the direction of writing.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_make_lines_or_steer_a_terminal_is_escaped() {
        for (text, expected) in [
            ("plain", "plain"),
            ("App\\Größe \"x\" 日本", "App\\Größe \"x\" 日本"),
            ("one\r\ntwo\tthree\n", "one\\r\\ntwo\\tthree\\n"),
            ("\u{1b}[31mred\u{7f}\u{9b}", "\\u{1b}[31mred\\u{7f}\\u{9b}"),
            ("a\u{2028}b\u{202e}c", "a\\u{2028}b\\u{202e}c"),
            ("", ""),
        ] {
            assert_eq!(OneLine(text).to_string(), expected);
        }
    }
}
