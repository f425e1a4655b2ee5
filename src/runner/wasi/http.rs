//! Outgoing HTTP of guests.

use std::future::Future;

use http::{Request, Response};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::denials::Watch;
use crate::protocol::DenialKind;

/// What a guest's requests meet.
pub struct Outgoing {
    watch: Watch,
}

impl Outgoing {
    pub fn new(watch: Watch) -> Self {
        Self { watch }
    }
}

type Sent = Result<(), Error>;
type Answer = Result<(Response<WasiBody>, Box<dyn Future<Output = Sent> + Send>), Error>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Sent> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        self.watch.deny(DenialKind::Http, &format!("{} {host}", request.method()));
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
