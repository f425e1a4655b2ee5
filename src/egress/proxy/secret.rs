//! Secrets that a guest may use and not read.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use thiserror::Error;

use crate::domain::network::{Destination, HostError};

/// A header that is added to requests to one host and port.
///
/// The value is sensitive: `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct BoundHeader {
    destination: Destination,
    name: HeaderName,
    value: HeaderValue,
    plain: bool,
}

/// Why a header cannot be bound. Never shows the value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BindError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("`{0}` is not the name of a header")]
    Name(String),
    #[error("the header `{0}` is the connection's own business and cannot be bound")]
    Connection(HeaderName),
    #[error("the secret for the header `{0}` holds characters that no header can carry")]
    Value(HeaderName),
}

/// What says where a request goes or where it ends.
const NOT_BOUND: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
];

impl BoundHeader {
    /// `host` without a port means port 443.
    pub fn new(host: &str, name: &str, value: &str) -> Result<Self, BindError> {
        const HTTPS: u16 = 443;
        let destination = Destination::parse(host, Some(HTTPS))?;
        let shown = || name.chars().filter(|c| !c.is_control()).take(100).collect();
        let name: HeaderName = name.parse().map_err(|_| BindError::Name(shown()))?;
        if NOT_BOUND.contains(&name.as_str()) {
            return Err(BindError::Connection(name));
        }
        let mut value: HeaderValue = value.parse().map_err(|_| BindError::Value(name.clone()))?;
        value.set_sensitive(true);
        Ok(Self { destination, name, value, plain: false })
    }

    /// Also over `http`, in clear: where the operator lists the host for it.
    pub const fn allow_plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Whether requests to this host must be secure.
    pub fn forbids_plain(&self, destination: &Destination) -> bool {
        !self.plain && self.destination == *destination
    }

    /// Puts the header in, in place of whatever the guest wrote there.
    pub fn put(&self, destination: &Destination, headers: &mut HeaderMap) {
        if self.destination == *destination {
            headers.insert(self.name.clone(), self.value.clone());
        }
    }

    pub const fn name(&self) -> &HeaderName {
        &self.name
    }
}
