//! Lists of hosts.

use std::{fmt, net::IpAddr, str::FromStr};

use super::host::{Destination, Host, HostError, name, shown, split_port};

/// The port of an entry that names none, where [`Portless::Https`] holds.
const HTTPS: u16 = 443;

/// What an entry without a port means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portless {
    /// Port 443: what a run may reach.
    Https,
    /// Every port: what the operator says about a host.
    Any,
}

/// One entry: `host`, `*.suffix`, an address, or a network such as `10.0.0.0/8`; each with `:port` or
/// without. IPv6 in brackets: `[fd00::1]:443`, `[fd00::/8]:443`; a network may also do without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    whom: Whom,
    /// None: every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    Name(String),
    /// Every name that ends so; the dot in front is part of it.
    Below(String),
    Network(Network),
}

impl Entry {
    pub fn parse(text: &str, portless: Portless) -> Result<Self, HostError> {
        if text.contains("://") {
            return Err(HostError::Unreadable(shown(text)));
        }
        let (whom, port) = if text.contains('/') { network_and_port(text)? } else { host_and_port(text)? };
        let port = match portless {
            Portless::Https => port.or(Some(HTTPS)),
            Portless::Any => port,
        };
        Ok(Self { whom, port })
    }

    fn is_for(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    fn names(&self, host: &Host) -> bool {
        match (&self.whom, host) {
            (Whom::Name(own), Host::Name(name)) => own == name,
            (Whom::Below(suffix), Host::Name(name)) => name.ends_with(suffix),
            (Whom::Network(network), Host::Address(address)) => network.holds(*address),
            (Whom::Name(_) | Whom::Below(_), Host::Address(_)) | (Whom::Network(_), Host::Name(_)) => false,
        }
    }
}

fn host_and_port(text: &str) -> Result<(Whom, Option<u16>), HostError> {
    let (host, port) = split_port(text)?;
    let whom = match host.strip_prefix("*.") {
        Some(suffix) => Whom::Below(format!(".{}", name(suffix)?)),
        None => match Host::parse(host)? {
            Host::Name(name) => Whom::Name(name),
            Host::Address(address) => Whom::Network(Network::only(address)),
        },
    };
    Ok((whom, port))
}

fn network_and_port(text: &str) -> Result<(Whom, Option<u16>), HostError> {
    let (network, port) = if text.starts_with('[') {
        let (bracketed, port) = split_port(text)?;
        (bracketed.trim_start_matches('[').trim_end_matches(']'), port)
    } else {
        // The first colon after the slash; those before it belong to an IPv6 address.
        let slash = text.find('/').unwrap_or_default();
        let (_, port) = split_port(&text[slash..])?;
        let end = text[slash..].find(':').map_or(text.len(), |colon| slash + colon);
        (&text[..end], port)
    };
    let network = network.parse().map_err(|()| HostError::Network(shown(text)))?;
    Ok((Whom::Network(network), port))
}

/// A range of addresses: all that share a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    /// Bits that all addresses share.
    prefix: u8,
}

impl Network {
    /// The network of one address.
    pub fn only(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, prefix: bits(first) }
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                first.to_bits() == address.to_bits() & mask
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                first.to_bits() == address.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    pub const fn first(&self) -> IpAddr {
        self.first
    }

    pub fn last(&self) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => {
                let rest = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((first.to_bits() | rest).into())
            }
            IpAddr::V6(first) => {
                let rest = u128::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6((first.to_bits() | rest).into())
            }
        }
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').ok_or(())?;
        let first: IpAddr = address.parse().map_err(drop)?;
        let digits = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u8 = prefix.parse().map_err(drop)?;
        // An IPv4 network in IPv6 clothes would never meet an address.
        let canonical = first.to_canonical() == first;
        let network = Self { first, prefix };
        let whole = digits && canonical && prefix <= bits(first);
        if whole && network.begins_with_itself() { Ok(network) } else { Err(()) }
    }
}

impl Network {
    /// Whether nothing is set behind the prefix: `10.1.2.3/8` is a slip of whoever wrote it.
    fn begins_with_itself(&self) -> bool {
        self.holds(self.first)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// Entries of which one must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Entry>);

impl AllowList {
    /// The first entry that cannot be read is the error.
    pub fn parse<T: AsRef<str>>(texts: &[T], portless: Portless) -> Result<Self, HostError> {
        texts.iter().map(|text| Entry::parse(text.as_ref(), portless)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the host is listed with the port, as it is named: a name by its name, an address by
    /// itself or a network.
    pub fn lists(&self, destination: &Destination) -> bool {
        self.0.iter().any(|entry| entry.is_for(destination.port) && entry.names(&destination.host))
    }

    /// The listed networks that hold an address, a single address being a network, too.
    pub fn networks(&self, address: IpAddr, port: u16) -> impl Iterator<Item = &Network> {
        self.0.iter().filter(move |entry| entry.is_for(port)).filter_map(move |entry| match &entry.whom {
            Whom::Network(network) if network.holds(address) => Some(network),
            Whom::Network(_) | Whom::Name(_) | Whom::Below(_) => None,
        })
    }
}
