//! Bodies that nobody reads to their end.
//!
//! An answer that comes before the body was read ends the connection on HTTP/1: what follows in it is
//! body still, and no request. Whoever sends must hear that, or their next request is lost.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, Version, header},
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Knows how far the body of one request was read.
#[derive(Debug)]
pub struct Unread {
    version: Version,
    left: Arc<AtomicBool>,
}

impl Unread {
    /// Looks at the body of a request from now on.
    pub fn watch(request: &mut Request) -> Self {
        let body = std::mem::take(request.body_mut());
        let left = Arc::new(AtomicBool::new(!body.is_end_stream()));
        *request.body_mut() = Body::new(Watched { body, left: Arc::clone(&left) });
        Self { version: request.version(), left }
    }

    /// Announces that the connection ends, where it does.
    pub fn announce(self, response: &mut Response) {
        if self.version <= Version::HTTP_11 && self.left.load(Ordering::Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

struct Watched {
    body: Body,
    left: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.left.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
