//! A plain client for HTTP/1.1 that shows what came as it came.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

/// A connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// What is asked.
#[derive(Clone)]
pub struct Ask {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// What was answered.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// The 1xx responses before it.
    pub interim: Vec<Answer>,
}

impl Ask {
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, headers: Vec::new(), body: Vec::new() }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", target) }
    }

    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn head(&self) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nhost: story\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if !self.body.is_empty() {
            head.extend(format!("content-length: {}\r\n", self.body.len()).into_bytes());
        }
        head.extend(b"\r\n");
        head
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks, and reads the whole answer.
    pub fn ask(&mut self, ask: &Ask) -> io::Result<Answer> {
        // A server that refuses a body need not read it to its end; what it says is what counts.
        let sent = self.send(ask);
        let mut interim = Vec::new();
        let mut answer = loop {
            let head = match (self.head(), &sent) {
                (Err(_), Err(unsent)) => {
                    return Err(io::Error::new(unsent.kind(), unsent.to_string()));
                }
                (head, _) => head?,
            };
            if head.status >= 200 {
                break head;
            }
            interim.push(head);
        };
        answer.interim = interim;
        if ask.method != "HEAD" {
            answer.body = self.body(&answer)?;
        }
        Ok(answer)
    }

    pub fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.ask(&Ask::get(target))
    }

    /// Asks, and reads nothing yet.
    pub fn send(&mut self, ask: &Ask) -> io::Result<()> {
        self.write(&ask.head())?;
        self.write(&ask.body)
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more comes from here.
    pub fn finish_writing(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// The head of the next response, 1xx included.
    pub fn head(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let (_version, rest) = line.split_once(' ').ok_or_else(|| bad("no status line", &line))?;
        let status = rest.get(..3).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| bad("no status", &line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.raw_line()?;
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|&byte| byte == b':');
            let colon = colon.ok_or_else(|| bad("no header", &String::from_utf8_lossy(&line)))?;
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
        Ok(Answer { status, headers, body: Vec::new(), interim: Vec::new() })
    }

    /// The body that belongs to `head`.
    pub fn body(&mut self, head: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if matches!(head.status, 204 | 304) {
            return Ok(body);
        }
        if head.text("transfer-encoding").as_deref() == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
        } else if let Some(length) = head.text("content-length") {
            body.resize(length.parse().map_err(|_| bad("no length", &length))?, 0);
            self.stream.read_exact(&mut body)?;
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let length = usize::from_str_radix(&line, 16).map_err(|_| bad("no chunk", &line))?;
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk)?;
        if !self.raw_line()?.is_empty() {
            return Err(bad("a chunk without end", &line));
        }
        Ok((length > 0).then_some(chunk))
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    fn line(&mut self) -> io::Result<String> {
        self.raw_line().map(|line| String::from_utf8_lossy(&line).into_owned())
    }

    fn raw_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed"));
        }
        line.pop_if(|last| *last == b'\r');
        Ok(line)
    }
}

impl Answer {
    /// The body as text.
    pub fn body(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The values of a header, as they came.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let of_name = self.headers.iter().filter(|(found, _)| found == name);
        of_name.map(|(_, value)| value.as_slice()).collect()
    }

    /// The first value of a header.
    pub fn text(&self, name: &str) -> Option<String> {
        self.values(name).first().map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.status)?;
        for (name, value) in &self.headers {
            write!(f, "{name}: {}; ", String::from_utf8_lossy(value))?;
        }
        write!(f, "{}", String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]))
    }
}

fn bad(what: &str, line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {line:?}"))
}
