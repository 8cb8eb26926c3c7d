//! `http.v1`, the protocol-buffer form of RoadRunner's HTTP contexts.

use std::collections::BTreeMap;

use bytes::BytesMut;
use prost::Message;

use super::roadrunner::Context;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Values {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) value: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    remote_addr: String,
    #[prost(string, tag = "2")]
    protocol: String,
    #[prost(string, tag = "3")]
    method: String,
    #[prost(string, tag = "4")]
    uri: String,
    #[prost(btree_map = "string, message", tag = "5")]
    header: BTreeMap<String, Values>,
    #[prost(btree_map = "string, message", tag = "6")]
    cookies: BTreeMap<String, Values>,
    #[prost(string, tag = "7")]
    raw_query: String,
    #[prost(bool, tag = "8")]
    parsed: bool,
    #[prost(bytes = "vec", tag = "9")]
    uploads: Vec<u8>,
    #[prost(btree_map = "string, message", tag = "10")]
    attributes: BTreeMap<String, Values>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Response {
    #[prost(int64, tag = "1")]
    pub(crate) status: i64,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(crate) headers: BTreeMap<String, Values>,
}

/// Writes the context of a request.
pub(crate) fn encode_request(context: Context<'_>, out: &mut BytesMut) {
    let one = |text: String| Values { value: vec![text.into_bytes()] };
    let request = Request {
        remote_addr: context.remote_addr,
        protocol: context.protocol.to_owned(),
        method: context.method.to_owned(),
        uri: context.uri,
        header: context
            .headers
            .into_iter()
            .map(|(name, values)| {
                (name, Values { value: values.into_iter().map(<[u8]>::to_vec).collect() })
            })
            .collect(),
        cookies: context.cookies.into_iter().map(|(name, value)| (name, one(value))).collect(),
        raw_query: context.raw_query.to_owned(),
        parsed: context.parsed,
        uploads: context.uploads.map(|tree| tree.to_string().into_bytes()).unwrap_or_default(),
        attributes: BTreeMap::new(),
    };
    out.reserve(request.encoded_len());
    if let Err(error) = request.encode(out) {
        // Not reached: it fails only for lack of room, and a BytesMut makes room.
        tracing::error!(%error, "a request was not encoded");
    }
}

/// Reads the head of an answer.
pub(crate) fn decode_response(context: &[u8]) -> Result<Response, prost::DecodeError> {
    Response::decode(context)
}

#[cfg(test)]
pub(crate) fn encode_response_for_tests(status: i64, headers: &[(&str, &[&str])]) -> bytes::Bytes {
    let values =
        |list: &[&str]| Values { value: list.iter().map(|v| v.as_bytes().to_vec()).collect() };
    let headers = headers.iter().map(|(name, list)| ((*name).to_owned(), values(list))).collect();
    Response { status, headers }.encode_to_vec().into()
}
