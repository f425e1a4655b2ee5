//! Resolving and connecting, in this one place.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};

use super::policy::{Policy, Refusal};
use crate::domain::{
    limits::{ADDRESSES_TRIED, CONNECT_WAIT, RESOLVE_WAIT},
    network::{Destination, Host},
};

/// Where a name's addresses come from.
pub trait Resolve: Send + Sync + fmt::Debug {
    /// All addresses, the preferred one first.
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;
}

/// The host's own resolver: /etc/hosts, DNS, whatever it is set up with.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect()) })
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the name of {destination} cannot be resolved: {source}")]
    Resolve { destination: Destination, source: io::Error },
    #[error("the name of {0} has no address")]
    NoAddress(Destination),
    #[error("the name of {destination} was not resolved within {} s", RESOLVE_WAIT.as_secs())]
    ResolveSlow { destination: Destination },
    #[error("{destination} cannot be reached at {address}: {source}")]
    Connect { destination: Destination, address: IpAddr, source: io::Error },
    #[error("{destination} did not answer at {address} within {} s", CONNECT_WAIT.as_secs())]
    ConnectSlow { destination: Destination, address: IpAddr },
}

/// Makes connections that a policy allows.
#[derive(Clone, Debug)]
pub struct Dialer {
    policy: Policy,
    resolver: Arc<dyn Resolve>,
}

impl Dialer {
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>) -> Self {
        Self { policy, resolver }
    }

    /// Checks, resolves once, checks again, and connects to one of the addresses that were checked.
    /// Where some addresses of a name are refused, the others may be used.
    pub async fn dial(&self, destination: &Destination) -> Result<TcpStream, DialError> {
        self.policy.check_host(destination)?;
        let addresses = self.addresses(destination).await?;
        let mut last = DialError::NoAddress(destination.clone());
        let mut allowed = Vec::new();
        for address in addresses {
            match self.policy.check_address(destination, address) {
                Ok(()) => allowed.push(address),
                Err(refusal) => last = refusal.into(),
            }
        }
        for address in allowed.into_iter().take(ADDRESSES_TRIED) {
            match connect(destination, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn addresses(&self, destination: &Destination) -> Result<Vec<IpAddr>, DialError> {
        let name = match &destination.host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) => name,
        };
        let destination = || destination.clone();
        match timeout(RESOLVE_WAIT, self.resolver.resolve(name)).await {
            Ok(Ok(found)) => Ok(found.into_iter().map(|address| address.to_canonical()).collect()),
            Ok(Err(source)) => Err(DialError::Resolve { destination: destination(), source }),
            Err(_) => Err(DialError::ResolveSlow { destination: destination() }),
        }
    }
}

async fn connect(destination: &Destination, address: IpAddr) -> Result<TcpStream, DialError> {
    let failed = |source| DialError::Connect { destination: destination.clone(), address, source };
    match timeout(CONNECT_WAIT, TcpStream::connect(SocketAddr::new(address, destination.port))).await {
        Ok(Ok(stream)) => {
            stream.set_nodelay(true).map_err(failed)?;
            Ok(stream)
        }
        Ok(Err(source)) => Err(failed(source)),
        Err(_) => Err(DialError::ConnectSlow { destination: destination.clone(), address }),
    }
}
