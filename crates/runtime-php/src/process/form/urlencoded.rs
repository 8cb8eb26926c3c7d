//! `application/x-www-form-urlencoded`.

use std::borrow::Cow;
use std::convert::Infallible;

use super::{Array, ENTRY};

/// The fields of `text`, at most `most` of them, and how many more there were.
pub fn parse(text: &[u8], most: usize) -> (Array<Vec<u8>>, usize) {
    match parse_within(text, most, |_| Ok::<(), Infallible>(())) {
        Ok(parsed) => parsed,
        Err(never) => match never {},
    }
}

/// The same, where `room` is asked for the memory that each field takes, in bytes.
pub(super) fn parse_within<E>(
    text: &[u8],
    most: usize,
    mut room: impl FnMut(u64) -> Result<(), E>,
) -> Result<(Array<Vec<u8>>, usize), E> {
    let mut fields = Array::default();
    let mut count = 0;
    for pair in text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        count += 1;
        if count > most {
            continue;
        }
        let equals = pair.iter().position(|&byte| byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        let entries = fields.insert(&url_decode(name), url_decode(value).into_owned());
        room(pair.len() as u64 + entries as u64 * ENTRY)?;
    }
    Ok((fields, count.saturating_sub(most)))
}

/// Decodes `+` and `%XX`; a `%` that begins neither stays.
pub(crate) fn url_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|&byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => decoded.push(b' '),
            b'%' => match tail {
                [high, low, after @ ..] if let (Some(h), Some(l)) = (hex(*high), hex(*low)) => {
                    decoded.push(h << 4 | l);
                    rest = after;
                }
                _ => decoded.push(b'%'),
            },
            byte => decoded.push(*byte),
        }
    }
    Cow::Owned(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes_what_is_encoded_and_leaves_the_rest() {
        assert_eq!(&*url_decode(b"a+b%20c%2"), b"a b c%2");
        assert_eq!(&*url_decode(b"%zz%%41%fF"), b"%zz%A\xff");
    }

    #[test]
    fn fields_beyond_the_limit_are_counted() {
        let (fields, ignored) = parse(b"a=1&b=2&&c=3&d", 2);
        assert_eq!((fields.len(), ignored), (2, 2));
    }

    proptest! {
        #[test]
        fn any_bytes_make_an_array(text in "[a\\[\\]=&. %0-9\\x00-]{0,60}") {
            let _parsed = parse(text.as_bytes(), 1000);
        }
    }
}
