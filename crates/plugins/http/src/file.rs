//! One file as a response: type, length, validators, ranges, precompressed variants.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use folk_api::{Body, BodyError};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body::{Frame, SizeHint};
use tower_http::services::ServeFile;

/// Which compressed variants lie beside a file and may be sent in its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Variants {
    pub(crate) zstd: bool,
    pub(crate) br: bool,
    pub(crate) gzip: bool,
}

/// The file as an answer to a request with that method and those headers. Errors are those of the
/// file system.
pub(crate) async fn serve(
    path: &Path,
    is_head: bool,
    headers: impl Iterator<Item = (HeaderName, HeaderValue)>,
    variants: Variants,
) -> std::io::Result<Response<Body>> {
    let mut request = Request::new(());
    *request.method_mut() = if is_head { Method::HEAD } else { Method::GET };
    request.headers_mut().extend(headers);
    let mut file = ServeFile::new(path);
    if variants.zstd {
        file = file.precompressed_zstd();
    }
    if variants.br {
        file = file.precompressed_br();
    }
    if variants.gzip {
        file = file.precompressed_gzip();
    }
    let response = file.try_call(request).await?;
    Ok(response.map(|body| match http_body::Body::size_hint(&body).exact() {
        Some(0) => Body::empty(),
        _ => Body::boxed(FileBody(body)),
    }))
}

/// The content of a file as it is read.
struct FileBody<B>(B);

impl<B> http_body::Body for FileBody<B>
where
    B: http_body::Body<Data = Bytes, Error = std::io::Error> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0)
            .poll_frame(cx)
            .map_err(|error| BodyError::Failed(format!("cannot read the file: {error}")))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
