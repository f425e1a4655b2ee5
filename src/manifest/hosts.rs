//! Hosts as they are named in `network` and `headers`.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::declared::AllowedHost;

/// Why a text does not name a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("a host stands alone or with its port, such as api.example.org or db.internal:5432")]
    NotAlone,
    #[error("a port is a number from 1 to 65535")]
    Port,
    #[error("a host's name is letters, digits, - and _ between dots, at most 63 in a part and 253 in all")]
    Name,
    #[error("write an internationalised name in its ASCII form, xn--…")]
    NotAscii,
    #[error("`*.` may only begin a name that has at least two further parts, such as *.example.org")]
    Wildcard,
    #[error("an address is written as four numbers between dots")]
    Address,
}

impl FromStr for AllowedHost {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if text.contains("://") || text.contains(['/', '@', '?', '#', ' ']) {
            return Err(HostError::NotAlone);
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self { host: address.to_string(), port: None });
        }
        if let Some(inner) = text.strip_prefix('[') {
            let (address, rest) = inner.split_once(']').ok_or(HostError::NotAlone)?;
            let address: Ipv6Addr = address.parse().map_err(|_| HostError::NotAlone)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(parse_port(port)?),
                None if rest.is_empty() => None,
                None => return Err(HostError::NotAlone),
            };
            return Ok(Self { host: address.to_string(), port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (text, None),
        };
        Ok(Self { host: host_name(host)?, port })
    }
}

fn parse_port(text: &str) -> Result<u16, HostError> {
    match text.parse() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        Ok(_) | Err(_) => Err(HostError::Port),
    }
}

fn host_name(text: &str) -> Result<String, HostError> {
    if !text.is_ascii() {
        return Err(HostError::NotAscii);
    }
    let name = text.to_ascii_lowercase();
    let (wildcard, rest) = match name.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, name.as_str()),
    };
    if rest.contains('*') {
        return Err(HostError::Wildcard);
    }
    let labels: Vec<&str> = rest.split('.').collect();
    if name.len() > 253 || !labels.iter().all(|label| is_label(label)) {
        return Err(HostError::Name);
    }
    // Resolvers take `127.1`, `0x7f.1` and `2130706433` for addresses, too: only one form is read.
    if labels.last().is_some_and(|last| is_number(last)) && (wildcard || rest.parse::<Ipv4Addr>().is_err()) {
        return Err(HostError::Address);
    }
    if wildcard && labels.len() < 2 {
        return Err(HostError::Wildcard);
    }
    Ok(name)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_number(label: &str) -> bool {
    let digits = label.bytes().all(|b| b.is_ascii_digit());
    let hex = label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    digits || hex
}

impl AllowedHost {
    /// Whether whatever `other` names is named by this one, too.
    pub fn covers(&self, other: &Self) -> bool {
        let below = self.host.strip_prefix('*').is_some_and(|domain| other.host.ends_with(domain));
        (self.host == other.host || below) && (self.port.is_none() || self.port == other.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_with_and_without_its_port() {
        for (text, host, port) in [
            ("API.example.org", "api.example.org", None),
            ("db.internal:5432", "db.internal", Some(5_432)),
            ("localhost:80", "localhost", Some(80)),
            ("*.example.org", "*.example.org", None),
            ("10.0.0.7:443", "10.0.0.7", Some(443)),
            ("[2001:db8::1]:443", "2001:db8::1", Some(443)),
            ("2001:db8:0::1", "2001:db8::1", None),
        ] {
            assert_eq!(text.parse(), Ok(AllowedHost { host: host.into(), port }), "{text}");
        }
        let v6: AllowedHost = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!(v6.to_string(), "[2001:db8::1]:443");
    }

    #[test]
    fn what_could_be_taken_for_another_host_is_refused() {
        for (text, error) in [
            ("https://api.example.org", HostError::NotAlone),
            ("user@host", HostError::NotAlone),
            ("a.org:0", HostError::Port),
            ("a.org:+80", HostError::Port),
            ("a.org:99999", HostError::Port),
            ("", HostError::Name),
            ("a..b", HostError::Name),
            ("-a.org", HostError::Name),
            ("*", HostError::Wildcard),
            ("*.org", HostError::Wildcard),
            ("a.*.org", HostError::Wildcard),
            ("bücher.example", HostError::NotAscii),
            ("127.1", HostError::Address),
            ("2130706433", HostError::Address),
            ("0x7f.0x1", HostError::Address),
            ("010.0.0.1", HostError::Address),
            ("*.0.0.1", HostError::Address),
        ] {
            assert_eq!(text.parse::<AllowedHost>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_wildcard_covers_what_is_below_it_and_not_itself() {
        let host = |text: &str| text.parse::<AllowedHost>().unwrap();
        assert!(host("*.example.org").covers(&host("a.example.org:443")));
        assert!(!host("*.example.org").covers(&host("example.org")));
        assert!(!host("*.example.org").covers(&host("badexample.org")));
        assert!(host("a.org").covers(&host("a.org:8443")));
        assert!(!host("a.org:443").covers(&host("a.org")));
    }
}
