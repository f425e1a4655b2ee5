//! One host, one spelling.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use thiserror::Error;

/// Characters of a host name.
const NAME_CHARS: usize = 253;
/// Characters of a part between dots.
const LABEL_CHARS: usize = 63;
/// Characters of a wrong text that its error shows.
const SHOWN_CHARS: usize = 100;

/// A name or an address.
///
/// Names are lower case, in their ASCII form (IDNA), without a dot at the end. An IPv4 address in
/// IPv6 clothes (`::ffff:10.0.0.1`) is the IPv4 address. Spellings that only some programs take for an
/// address (`0x7f.1`, `2130706433`, `010.0.0.1`) are no hosts at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

/// Why a text names no host.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    #[error(
        "`{0}` is not a host: write a name, an IPv4 address as four decimal numbers, or an IPv6 address in brackets"
    )]
    Unreadable(String),
    #[error("`{text}` is an odd spelling of an address: write {address}")]
    Odd { text: String, address: IpAddr },
    #[error("`{0}` has no port from 1 to 65535 after its last colon")]
    Port(String),
    #[error("`{0}` names no port")]
    NoPort(String),
    #[error("`{0}` is not a network: write an address and a length, such as 10.0.0.0/8, without bits behind it")]
    Network(String),
}

impl Host {
    /// Reads a host without a port. IPv6 with or without brackets.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address = inner.parse::<Ipv6Addr>().map_err(|_| unreadable(text))?;
            return Ok(Self::of(address.into()));
        }
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self::of(address)),
            Err(_) => name(text).map(Self::Name),
        }
    }

    /// The host at an address.
    pub fn of(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A host and a port: where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    pub host: Host,
    pub port: u16,
}

impl Destination {
    /// Reads `host:port`, or `host` where there is a default. IPv6 must stand in brackets.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, HostError> {
        let (host, port) = split_port(text)?;
        let port = port.or(default_port).ok_or_else(|| HostError::NoPort(shown(text)))?;
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Splits a port off, if there is one. Without brackets there can be one colon at most.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), HostError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(at) => text.split_at(at + 2),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').ok_or_else(|| unreadable(text))?;
    if digits.contains(':') {
        return Err(unreadable(text));
    }
    Ok((host, Some(number(digits).ok_or_else(|| HostError::Port(shown(text)))?)))
}

fn number(digits: &str) -> Option<u16> {
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port > 0)
}

/// The one spelling of a name.
pub(super) fn name(text: &str) -> Result<String, HostError> {
    // What a resolver would never be asked for, but a parser of addresses decodes or cuts.
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || "%/\\@?#:[]*".contains(c)) {
        return Err(unreadable(text));
    }
    match url::Host::parse(text.strip_suffix('.').unwrap_or(text)) {
        Ok(url::Host::Domain(name)) if is_name(&name) => Ok(name),
        Ok(url::Host::Ipv4(address)) => Err(HostError::Odd { text: shown(text), address: address.into() }),
        Ok(url::Host::Domain(_) | url::Host::Ipv6(_)) | Err(_) => Err(unreadable(text)),
    }
}

fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_CHARS).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= NAME_CHARS && name.split('.').all(label)
}

fn unreadable(text: &str) -> HostError {
    HostError::Unreadable(shown(text))
}

/// Enough of a wrong text to find it again, harmless in a log.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
