//! The way out of a jail whose network is a list: the proxy of one phase.
//!
//! The jail's pid 1 listens inside, [`super::talk`] serves, the rules are [`crate::egress`]'s. Here is
//! what makes one of it: where it is, how programs are told, and how a refusal reaches the log.

use std::{
    net::TcpListener,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::Either;

use crate::{
    domain::{
        Clock,
        network::{AllowList, Destination, Portless},
    },
    egress::{BoundHeader, Gateway, Ledger, Policy, Proxy, Role, SystemResolver, Trust, Within},
    protocol::{Environment, Produced},
};

use super::{asked::Asked, fault::Fault, wasi::line};

/// The proxy's port on the jail's loopback.
pub const PORT: u16 = 8_202;

/// What is on the jail's own loopback is not asked of a proxy.
const DIRECT: &str = "localhost,127.0.0.1,::1";

/// The proxy of one phase, and what it refused.
#[derive(Debug)]
pub struct WayOut {
    proxy: Arc<Proxy>,
    told: Arc<Mutex<Vec<String>>>,
}

/// Where the jail knocks.
#[derive(Debug)]
pub enum Door {
    /// On its loopback.
    Loopback(TcpListener),
    /// Over an inherited socket: see `line`.
    Line(OwnedFd),
}

impl WayOut {
    /// For programs. `asked` is roused when something was refused. Where `vouched` destinations lead is
    /// the operator's affair.
    pub fn open(
        listed: &[String],
        vouched: &[String],
        asked: Arc<Asked>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Fault> {
        let policy = Policy::run(list(listed)?).vouching(list(vouched)?);
        Ok(Self::with_role(policy, Role::Forward, asked, clock))
    }

    /// For guests, whose requests get `headers` on their way, or are answered `within`.
    pub fn for_guest(
        (listed, vouched): (&[String], &[String]),
        headers: Vec<BoundHeader>,
        within: Option<Within>,
        asked: Arc<Asked>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Fault> {
        let gateway = Gateway { trust: Trust::of_host().map_err(Fault::of)?, headers, within };
        let policy = Policy::run(list(listed)?).vouching(list(vouched)?);
        Ok(Self::with_role(policy, Role::Gateway(gateway), asked, clock))
    }

    fn with_role(policy: Policy, role: Role, asked: Arc<Asked>, clock: Arc<dyn Clock>) -> Self {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&told);
        // The ledger tells each refusal once, and only so many.
        let ledger = Ledger::new(clock, move |denial| {
            locked(&lines).push(format!("refused {}: {}", denial.tried, denial.reason));
            asked.rouse();
        });
        let proxy = Proxy::new(policy, Arc::new(SystemResolver), Arc::new(ledger), role);
        Self { proxy: Arc::new(proxy), told }
    }

    pub fn proxy(&self) -> Arc<Proxy> {
        Arc::clone(&self.proxy)
    }

    /// Lines for the log, each once.
    pub fn told(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.told))
    }

    /// What the phase has reached, and what it was refused.
    pub fn report(&self, produced: &mut Produced) {
        let ledger = self.proxy.ledger();
        (produced.hosts, produced.denials) = (ledger.hosts(), ledger.denials());
    }
}

fn list(texts: &[String]) -> Result<AllowList, Fault> {
    AllowList::parse(texts, Portless::Https)
        .map_err(|error| Fault::Other(format!("the list of hosts cannot be used: {error}")))
}

/// The variables by which programs find the proxy; some know the one case, some the other.
pub fn environment() -> Environment {
    let proxy = format!("http://127.0.0.1:{PORT}");
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, proxy.as_str()));
    let both =
        |(name, value): (&str, &str)| [(name.to_owned(), value.to_owned()), (name.to_lowercase(), value.to_owned())];
    proxies.into_iter().chain([("NO_PROXY", DIRECT)]).flat_map(both).collect()
}

/// Serves until it is aborted, and every connection with it.
pub async fn serve(door: Door, proxy: Arc<Proxy>) {
    let served = match door {
        Door::Loopback(listener) => {
            let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
            listener.map(|listener| Either::Left(proxy.serve(listener)))
        }
        Door::Line(end) => line::Asked::new(end).map(|asked| Either::Right(proxy.serve(asked))),
    };
    match served {
        Ok(serving) => serving.await,
        Err(error) => super::start::complain(&format_args!("cannot serve the jail's way out: {error}")),
    }
}

/// Connects whoever comes to one service, by the proxy's rules and into its records, until it is
/// aborted.
pub async fn relay(listener: TcpListener, proxy: Arc<Proxy>, to: String) {
    let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    match (listener, Destination::parse(&to, None)) {
        (Ok(listener), Ok(to)) => proxy.serve_tunnels(listener, to).await,
        (Err(error), _) => super::start::complain(&format_args!("cannot serve a relationship: {error}")),
        (_, Err(error)) => super::start::complain(&format_args!("cannot serve a relationship: {error}")),
    }
}

fn locked(lines: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_in_both_cases() {
        let told = environment();
        assert_eq!(told.len(), 8);
        assert_eq!(
            (told["HTTPS_PROXY"].as_str(), told["https_proxy"].as_str()),
            ("http://127.0.0.1:8202", "http://127.0.0.1:8202")
        );
        assert_eq!((told["NO_PROXY"].as_str(), told["no_proxy"].as_str()), (DIRECT, DIRECT));
    }

    #[test]
    fn a_list_that_cannot_be_read_opens_nothing() {
        let asked = Arc::new(Asked::new().unwrap());
        let error = WayOut::open(&["*".to_owned()], &[], asked, Arc::new(crate::runner::WallClock)).unwrap_err();
        assert!(error.to_string().contains("`*` is not a host"), "{error}");
    }
}
