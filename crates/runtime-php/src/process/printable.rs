//! Text from PHP on its way into a log line.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` as one line that no terminal obeys: control characters are escaped, and with them the
/// line ends by which a text could pass for another entry of the log.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\t';
    if !text.chars().any(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if obeyed(c) {
            // Writing to a string does not fail.
            let _written = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        assert_eq!(one_line("Größe:\t日本"), "Größe:\t日本");
        let forged = "a\nWARN b\r\x1b[31mred\u{9b}0m\0";
        assert_eq!(one_line(forged), "a\\nWARN b\\r\\u{1b}[31mred\\u{9b}0m\\u{0}");
    }
}
