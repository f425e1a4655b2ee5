//! What kind of place an address is.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The kinds that matter for what may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// Anywhere on the internet.
    Public,
    /// RFC 1918, unique and site-local IPv6, carriers' address translation (RFC 6598).
    Private,
    /// RFC 3927, `fe80::/10`.
    LinkLocal,
    Loopback,
    /// Where clouds tell a machine its credentials, whatever range that is in.
    Metadata,
    /// Set aside for documentation, measurements or the future, and tunnels that hide where they end.
    Reserved,
    /// No single host: unspecified, multicast, broadcast.
    Nowhere,
}

/// Where the large clouds answer; most are link-local, these are not, or not only.
const METADATA: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), // Amazon, Google, Azure, Oracle, DigitalOcean, OpenStack
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),   // Amazon's containers
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),   // Azure
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // Amazon
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), // Google
];

impl AddressClass {
    /// The class of an address; of one that carries an IPv4 address inside, that one's.
    pub fn of(address: IpAddr) -> Self {
        if METADATA.contains(&address) {
            return Self::Metadata;
        }
        match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(inner) => Self::of(inner.into()),
                None => v6(address),
            },
        }
    }
}

fn v4(address: Ipv4Addr) -> AddressClass {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0 | 224..=239, ..) => AddressClass::Nowhere,
        _ if address.is_broadcast() => AddressClass::Nowhere,
        (127, ..) => AddressClass::Loopback,
        (169, 254, _) => AddressClass::LinkLocal,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => AddressClass::Private,
        // Protocols, documentation, the old 6to4 relays, measurements, the future.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) | (240.., ..) => {
            AddressClass::Reserved
        }
        _ => AddressClass::Public,
    }
}

fn v6(address: Ipv6Addr) -> AddressClass {
    let [a, b, c, ..] = address.segments();
    match (a, b, c) {
        _ if address.is_loopback() => AddressClass::Loopback,
        _ if address.is_unspecified() || address.is_multicast() => AddressClass::Nowhere,
        (0xfe80..=0xfebf, ..) => AddressClass::LinkLocal,
        // Unique local, the old site-local, and a network's own address translation (RFC 8215).
        (0xfc00..=0xfdff | 0xfec0..=0xfeff, ..) | (0x64, 0xff9b, 1) => AddressClass::Private,
        // Teredo and its neighbours (RFC 2928), documentation.
        (0x2001, 0..=0x1ff | 0xdb8, _) | (0x3fff, 0..=0xfff, _) => AddressClass::Reserved,
        // What is given out to the internet (2000::/3). The rest waits.
        (0x2000..=0x3fff, ..) => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

/// The IPv4 address that packets to this one end up at: mapped, translated (RFC 6052, RFC 2765),
/// compatible, 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // `::` and `::1` are themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

impl fmt::Display for AddressClass {
    /// With its article, for a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Loopback => "a loopback address",
            Self::Metadata => "a cloud's metadata address",
            Self::Reserved => "a reserved address",
            Self::Nowhere => "no host's address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_range_is_known_at_its_edges() {
        use AddressClass::{LinkLocal, Loopback, Metadata, Nowhere, Private, Public, Reserved};
        for (class, addresses) in [
            (
                Public,
                "1.1.1.1 9.255.255.255 11.0.0.0 172.15.255.255 172.32.0.0 100.63.255.255 100.128.0.0 192.167.1.1 \
                      126.255.255.255 128.0.0.0 169.253.1.1 223.255.255.255 2606:4700::1111 2001:200::1 2a00::1",
            ),
            (
                Private,
                "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.1 100.64.0.0 100.127.255.255 \
                       fc00::1 fdff::1 fec0::1 64:ff9b:1::1",
            ),
            (LinkLocal, "169.254.0.1 169.254.255.255 fe80::1 febf::1"),
            (Loopback, "127.0.0.1 127.255.255.255 ::1"),
            (Metadata, "169.254.169.254 168.63.129.16 100.100.100.200 fd00:ec2::254 192.0.0.192"),
            (
                Reserved,
                "192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 240.0.0.1 192.88.99.1 2001::1 2001:db8::1 \
                        3fff::1 4000::1 100::1 5f00::1",
            ),
            (Nowhere, "0.0.0.0 0.1.2.3 255.255.255.255 224.0.0.1 239.1.1.1 :: ff02::1"),
        ] {
            for address in addresses.split_whitespace() {
                assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
            }
        }
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_what_it_is() {
        for (clothed, class) in [
            ("::ffff:127.0.0.1", AddressClass::Loopback),
            ("::ffff:0:127.0.0.1", AddressClass::Loopback),
            ("::127.0.0.1", AddressClass::Loopback),
            ("64:ff9b::169.254.169.254", AddressClass::Metadata),
            ("64:ff9b::10.0.0.1", AddressClass::Private),
            ("2002:7f00:1::", AddressClass::Loopback),
            ("2002:a9fe:a9fe::1", AddressClass::Metadata),
            ("2002:c0a8:1::1", AddressClass::Private),
            ("::ffff:0.0.0.0", AddressClass::Nowhere),
            ("::ffff:8.8.8.8", AddressClass::Public),
        ] {
            assert_eq!(AddressClass::of(clothed.parse().unwrap()), class, "{clothed}");
        }
    }
}
