//! One request and its answer over one connection, which ends with them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::Builder,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::domain::limits::PROXY_HEAD_BYTES;

/// Bytes that HTTP holds of one stream: a head, and what comes with it.
pub const BUFFER: usize = 2 * PROXY_HEAD_BYTES;

/// The body of an answer; the connection lives as long as it does.
#[derive(Debug)]
pub struct Answered {
    body: Incoming,
    _connection: AbortOnDropHandle<()>,
}

/// Sends a request in origin form. Nothing is retried, no redirect is followed.
pub async fn exchange<S, B>(stream: S, request: Request<B>) -> Result<Response<Answered>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) =
        Builder::new().max_header_size(PROXY_HEAD_BYTES).max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await?;
    // What goes wrong on the connection is told by the request or the body.
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| Answered { body, _connection: connection }))
}

impl Body for Answered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
