//! A request on its way out: its frame, with a body from memory or from a file.

use bytes::{BufMut, BytesMut};
use folk_api::{Error, HttpRequest, Request};
use folk_goridge::{encode_head, flags};

use super::body::{self, Prepared, Spooled};
use super::head::Encoding;
use super::wire::{Broken, Wire};
use super::worker::Dialect;
use super::{Codec, http_context, proto, roadrunner};

/// The head of a request frame: always one option.
const REQUEST_HEAD: usize = folk_goridge::HEADER + 4;
/// Bodies up to this many bytes are copied behind the context, to be written in one go.
const COPIED_BODY: usize = 64 * 1024;

/// Writes head, context and a small body of a request into `out`. The answer of a folk worker
/// repeats the `tag`.
pub(crate) fn encode(
    request: &Request,
    dialect: Dialect,
    codec: Codec,
    tag: u8,
    out: &mut BytesMut,
) -> Result<Encoding, Error> {
    if let Request::Http(http) = request
        && body::needs_preparation(http)
    {
        return Err(Error::Runtime("a request came to its worker unprepared".into()));
    }
    out.clear();
    out.put_bytes(0, REQUEST_HEAD);
    let (encoding, flag) = match dialect {
        Dialect::Folk => (Encoding::Php, flags::RAW),
        Dialect::RoadRunner if matches!(request, Request::Task(_)) => (Encoding::Json, flags::JSON),
        Dialect::RoadRunner => match codec {
            Codec::Proto => (Encoding::Proto, flags::PROTO),
            Codec::Json => (Encoding::Json, flags::JSON),
        },
    };
    let mut form_body = None;
    match (dialect, request) {
        (Dialect::Folk, Request::Http(http)) => http_context::http(http, out),
        (Dialect::Folk, Request::Method(call)) => http_context::method(call, out),
        (Dialect::Folk, Request::Task(task)) => http_context::task(task, out),
        (Dialect::RoadRunner, Request::Http(http)) => {
            let context = roadrunner::Context::new(http);
            match codec {
                Codec::Proto => proto::encode_request(context, out),
                Codec::Json => put_json(&context.into_json(), out),
            }
            form_body = Prepared::form_of(http).map(|form| roadrunner::fields_json(&form.fields));
        }
        (Dialect::RoadRunner, Request::Task(task)) => put_json(&roadrunner::task_json(task), out),
        (Dialect::RoadRunner, Request::Method(call)) => {
            let message = format!(
                "method {} cannot be called: the worker speaks RoadRunner's protocol, \
                 which has no methods; serve it with folk/sdk",
                call.method
            );
            return Err(Error::Application { code: None, message });
        }
    }
    let context = out.len() - REQUEST_HEAD;
    if let Some(body) = form_body {
        put_json(&body, out);
    }
    let in_memory = match body_of(request) {
        Payload::Memory(bytes) if bytes.len() <= COPIED_BODY => {
            out.put_slice(bytes);
            0
        }
        Payload::Memory(bytes) => bytes.len() as u64,
        Payload::File(spooled) => spooled.length,
    };
    let length = (out.len() - REQUEST_HEAD) as u64 + in_memory;
    let (Ok(context), Ok(length)) = (u32::try_from(context), u32::try_from(length)) else {
        return Err(Error::BadRequest(
            "a request of 4 GiB or more cannot be given to a worker".into(),
        ));
    };
    let mut head = BytesMut::with_capacity(REQUEST_HEAD);
    encode_head(&mut head, flag, 0, &[context], length);
    out[..REQUEST_HEAD].copy_from_slice(&head);
    out[folk_goridge::TAG] = tag;
    Ok(encoding)
}

fn put_json(value: &serde_json::Value, out: &mut BytesMut) {
    if let Err(error) = serde_json::to_writer(out.writer(), value) {
        // Not reached: a value made here has no key that is not text, and a BytesMut makes room.
        tracing::error!(%error, "a request was not encoded");
    }
}

/// The body of a request.
pub(crate) enum Payload<'a> {
    Memory(&'a [u8]),
    File(&'a Spooled),
}

pub(crate) fn body_of(request: &Request) -> Payload<'_> {
    match request {
        Request::Http(http) => http_body_of(http),
        Request::Method(call) => Payload::Memory(&call.payload),
        Request::Task(task) => Payload::Memory(&task.payload),
    }
}

fn http_body_of(http: &HttpRequest) -> Payload<'_> {
    match Prepared::of(http) {
        Some(Prepared::Spooled(spooled)) => Payload::File(spooled),
        Some(Prepared::Form { .. }) => Payload::Memory(&[]),
        // `encode` has refused what is not in memory.
        None => Payload::Memory(http.body.as_bytes().unwrap_or_default()),
    }
}

/// Why a request could not be written to its end.
pub(crate) enum Unsent {
    Broken(Broken),
    Body(Error),
}

impl From<Broken> for Unsent {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Writes what [`encode`] made of a request, and the rest of its body. Not cancel-safe.
pub(crate) async fn send(wire: &mut Wire, encoded: &[u8], body: Payload<'_>) -> Result<(), Unsent> {
    wire.write(encoded).await?;
    match body {
        Payload::Memory(bytes) if bytes.len() <= COPIED_BODY => {}
        Payload::Memory(bytes) => wire.write(bytes).await?,
        Payload::File(spooled) => {
            let mut offset = 0;
            while offset < spooled.length {
                let chunk = spooled.read_at(offset).await.map_err(|error| {
                    Unsent::Body(Error::Runtime(format!("a stored body cannot be read: {error}")))
                })?;
                wire.write(&chunk).await?;
                offset += chunk.len() as u64;
            }
        }
    }
    Ok(())
}
