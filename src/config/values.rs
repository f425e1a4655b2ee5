//! What keys hold: each written as one text in flags and variables, and as TOML has it in the file.

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::domain::network::{Entry, Network, Portless};

/// Several: `a,b` as text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FromStr> FromStr for List<T>
where
    T::Err: Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        items(text)
            .map(|item| item.parse().map_err(|error: T::Err| error.to_string()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Several by name: `name=value,name=value` as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Named<T>(pub BTreeMap<String, T>);

impl<T: FromStr> FromStr for Named<T>
where
    T::Err: Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = |item: &str| {
            let (name, value) = item.split_once('=').ok_or_else(|| format!("`{item}` is not NAME=VALUE"))?;
            let value = value.trim().parse().map_err(|error: T::Err| error.to_string())?;
            Ok::<_, String>((name.trim().to_owned(), value))
        };
        items(text).map(pair).collect::<Result<_, _>>().map(Self)
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Where the server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse().map_err(|_| format!("`{text}` is not ADDRESS:PORT, such as 127.0.0.1:7070"))?;
        Ok(Self(address))
    }
}

/// What links begin with, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(pub String);

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_one = |url: url::Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
        };
        if text.parse().is_ok_and(is_one) {
            return Ok(Self(text.trim_end_matches('/').to_owned()));
        }
        Err(format!("`{text}` is not an address such as https://airlock.example.org"))
    }
}

/// One entry of `outbound_allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed(pub String);

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Entry::parse(text, Portless::Any).map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }
}

/// Proxies whose `X-Forwarded-For` is believed: addresses and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Proxy>);

impl Proxies {
    pub fn contains(&self, address: &IpAddr) -> bool {
        self.0.iter().any(|proxy| proxy.0.holds(*address))
    }
}

impl From<List<Proxy>> for Proxies {
    fn from(List(proxies): List<Proxy>) -> Self {
        Self(proxies)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxy(Network);

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpAddr>().map(Network::only).or_else(|_| text.parse());
        network.map(Self).map_err(|()| format!("`{text}` is neither an address nor a network such as 10.0.0.0/8"))
    }
}

/// The uids that jails use when the server is root, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidRange {
    pub first: u32,
    pub last: u32,
}

impl Default for UidRange {
    fn default() -> Self {
        Self { first: 60_000, last: 69_999 }
    }
}

impl FromStr for UidRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match ends {
            Some((first, last)) if first >= 1_000 && first <= last => Ok(Self { first, last }),
            _ => Err(format!("`{text}` is not FIRST-LAST with a first of 1000 or more, such as 60000-69999")),
        }
    }
}

/// Whether connections are encrypted where no certificate is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    Off,
    SelfSigned,
}

impl TlsMode {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::SelfSigned => "self-signed",
        }
    }
}

impl FromStr for TlsMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = [Self::Off, Self::SelfSigned].into_iter().find(|mode| mode.word() == text);
        found.ok_or_else(|| format!("`{text}` is neither `self-signed` nor `off`"))
    }
}

/// In the file they are the same texts.
macro_rules! texts {
    ($($name:ty),+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )+};
}

texts!(Listen, PublicUrl, Allowed, Proxy, UidRange, TlsMode);
