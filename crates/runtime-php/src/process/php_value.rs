//! PHP's own serialization, as much of it as contexts need: scalars and arrays, no objects.
//!
//! The reader is a cursor over bytes from a worker: it allocates nothing, never recurses, and every
//! length it is told is checked against what is there.

use bytes::{BufMut, BytesMut};

/// Writes values one after the other.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a mut BytesMut);

impl Writer<'_> {
    /// `null`.
    pub fn null(&mut self) {
        self.0.put_slice(b"N;");
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.0.put_slice(if value { b"b:1;" } else { b"b:0;" });
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        self.0.put_slice(b"i:");
        if value < 0 {
            self.0.put_u8(b'-');
        }
        self.digits(value.unsigned_abs());
        self.0.put_u8(b';');
    }

    /// A string of bytes.
    pub fn str(&mut self, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.0.put_slice(b"s:");
        self.digits(value.len() as u64);
        self.0.put_slice(b":\"");
        self.0.put_slice(value);
        self.0.put_slice(b"\";");
    }

    /// Begins an array of `length` entries: key, value, key, value, then [`end`](Self::end).
    pub fn array(&mut self, length: usize) {
        self.0.put_slice(b"a:");
        self.digits(length as u64);
        self.0.put_slice(b":{");
    }

    /// Ends an array.
    pub fn end(&mut self) {
        self.0.put_u8(b'}');
    }

    fn digits(&mut self, mut value: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.0.put_slice(&digits[at..]);
    }
}

/// A value, or the beginning of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float, as it was written.
    Float(&'a [u8]),
    /// A string of bytes.
    Str(&'a [u8]),
    /// An array of so many entries follows: key, value, key, value, end.
    Array(usize),
}

/// Not what PHP's `serialize()` writes, at this byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Where, in bytes from the beginning.
    pub at: usize,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "malformed serialization at byte {}", self.at)
    }
}

/// Reads values one after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next value, or the beginning of an array.
    ///
    /// # Errors
    ///
    /// There is none, or it is an object or a reference.
    pub fn token(&mut self) -> Result<Token<'a>, Malformed> {
        let kind = self.byte()?;
        if kind == b'N' {
            self.expect(b';')?;
            return Ok(Token::Null);
        }
        self.expect(b':')?;
        match kind {
            b'b' => match (self.byte()?, self.byte()?) {
                (value @ (b'0' | b'1'), b';') => Ok(Token::Bool(value == b'1')),
                _ => Err(self.malformed()),
            },
            b'i' => self.int(b';').map(Token::Int),
            b'd' => self.until(b';').map(Token::Float),
            b's' => {
                let length = self.length(b':')?;
                self.expect(b'"')?;
                let end = self.at.checked_add(length).ok_or_else(|| self.malformed())?;
                let text = self.bytes.get(self.at..end).ok_or_else(|| self.malformed())?;
                self.at = end;
                self.expect(b'"')?;
                self.expect(b';')?;
                Ok(Token::Str(text))
            }
            b'a' => {
                let length = self.length(b':')?;
                self.expect(b'{')?;
                Ok(Token::Array(length))
            }
            _ => Err(self.malformed()),
        }
    }

    /// The end of an array.
    ///
    /// # Errors
    ///
    /// Something else comes next.
    pub fn end(&mut self) -> Result<(), Malformed> {
        self.expect(b'}')
    }

    /// The end of everything.
    ///
    /// # Errors
    ///
    /// Something comes next.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.malformed()) }
    }

    /// The error at this place.
    pub fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed())?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Malformed> {
        if self.bytes.get(self.at) != Some(&wanted) {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    fn until(&mut self, end: u8) -> Result<&'a [u8], Malformed> {
        // Numbers are short: a long one is not one.
        const LONGEST: usize = 64;
        let rest = &self.bytes[self.at..];
        let rest = &rest[..rest.len().min(LONGEST)];
        let length = rest.iter().position(|&byte| byte == end).ok_or_else(|| self.malformed())?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn int(&mut self, end: u8) -> Result<i64, Malformed> {
        let start = self.malformed();
        let digits = self.until(end)?;
        std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(start)
    }

    fn length(&mut self, end: u8) -> Result<usize, Malformed> {
        let start = self.malformed();
        let length = usize::try_from(self.int(end)?).map_err(|_| start)?;
        // Every entry takes some bytes: a length beyond them is a lie.
        if length > self.bytes.len() { Err(start) } else { Ok(length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut Writer(&mut out));
        out.to_vec()
    }

    #[test]
    fn writes_what_php_writes() {
        let bytes = written(|w| {
            w.array(4);
            w.int(0);
            w.str("né\"");
            w.str("k");
            w.int(-12);
            w.int(1);
            w.bool(true);
            w.int(2);
            w.null();
            w.end();
        });
        let expected = "a:4:{i:0;s:4:\"né\"\";s:1:\"k\";i:-12;i:1;b:1;i:2;N;}";
        assert_eq!(bytes, expected.as_bytes());
    }

    #[test]
    fn the_extremes_of_integers_survive() {
        for value in [0, i64::MIN, i64::MAX, -1] {
            let bytes = written(|w| w.int(value));
            assert_eq!(Reader::new(&bytes).token(), Ok(Token::Int(value)));
        }
    }

    #[test]
    fn lengths_that_lie_are_found() {
        for bad in [
            "s:5:\"abc\";",
            "s:-1:\"\";",
            "a:99999999:{",
            "s:18446744073709551615:\"",
            "i:;",
            "b:2;",
        ] {
            assert!(Reader::new(bad.as_bytes()).token().is_err(), "{bad}");
        }
    }

    #[test]
    fn objects_and_references_are_refused() {
        for bad in ["O:8:\"stdClass\":0:{}", "r:1;", "C:1:\"A\":0:{}", "E:3:\"A:B\";"] {
            assert!(Reader::new(bad.as_bytes()).token().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while reader.token().is_ok() {}
        }

        #[test]
        fn any_string_survives(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let out = written(|w| w.str(&bytes));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.token(), Ok(Token::Str(&bytes[..])));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
