//! Destinations as a stranger would write them, held against a second reader of addresses: the entry
//! for fuzzers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::{Request, header::HOST, http::request::Parts};

use super::{AddressClass, Policy, proxy::head};
use crate::domain::network::{AllowList, Destination, Host, Portless};

/// One text a line: what is asked for, what the request's `Host` header says, and the list.
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let (asked, said) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let entries: Vec<&str> = lines.take(100).collect();
    for portless in [Portless::Https, Portless::Any] {
        let Ok(list) = AllowList::parse(&entries, portless) else { continue };
        for destination in [asked, said].into_iter().filter_map(|text| Destination::parse(text, Some(443)).ok()) {
            spelled_one_way(&destination);
            judged(&list, &entries, &destination);
        }
    }
    for method in ["GET", "CONNECT"] {
        let mut request = Request::builder().method(method).uri(asked);
        if !said.is_empty() {
            request = request.header(HOST, said);
        }
        if let Ok(request) = request.body(()) {
            wished(&request.into_parts().0);
        }
    }
}

/// A destination is what its own text says, to this reader and to the one of URLs.
fn spelled_one_way(destination: &Destination) {
    let text = destination.to_string();
    assert_eq!(Destination::parse(&text, None).as_ref(), Ok(destination), "{text}");
    let url = url::Url::parse(&format!("http://{text}/")).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(url.port_or_known_default(), Some(destination.port), "{text}");
    let same = match (url.host(), &destination.host) {
        (Some(url::Host::Domain(other)), Host::Name(name)) => other == name,
        (Some(url::Host::Ipv4(other)), Host::Address(address)) => *address == IpAddr::V4(other),
        (Some(url::Host::Ipv6(other)), Host::Address(address)) => *address == IpAddr::V6(other),
        _ => false,
    };
    assert!(same, "{text} is {:?} to others", url.host());
}

/// Nothing that is not listed, and no special address by a name alone.
fn judged(list: &AllowList, entries: &[&str], destination: &Destination) {
    let policy = Policy::run(list.clone());
    let listed = policy.check_host(destination).is_ok();
    assert!(!listed || !entries.is_empty());
    if let Host::Name(name) = &destination.host {
        let last = name.rsplit('.').next().unwrap_or_default();
        let named = |entry: &&str| entry.to_ascii_lowercase().contains(last) || !entry.is_ascii();
        assert!(!listed || entries.iter().any(named), "{name} by {entries:?}");
    }
    for plain in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(10, 0, 0, 1)] {
        let clothed = IpAddr::V6(plain.to_ipv6_mapped());
        let says = |address: IpAddr| policy.check_address(destination, address).is_ok();
        assert_eq!(says(plain.into()), says(clothed), "{plain} in other clothes");
        // Whoever may reach it wrote an address, and not only a name.
        let meant = entries.iter().any(|entry| entry.bytes().any(|byte| byte.is_ascii_digit()));
        assert!(meant || !says(plain.into()), "{plain} by {entries:?}");
    }
    for nowhere in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        assert_eq!(AddressClass::of(nowhere), AddressClass::Nowhere);
        assert!(policy.check_address(destination, nowhere).is_err());
    }
}

/// A proxy's request goes where another reader of its address would send it.
fn wished(parts: &Parts) {
    match head::read(parts) {
        Ok(head::Wish::Tunnel(destination)) => spelled_one_way(&destination),
        Ok(head::Wish::Pass { secure, destination, path }) => {
            spelled_one_way(&destination);
            assert!(path.authority().is_none() && path.scheme().is_none(), "{path} is in origin form");
            let host = head::host_header(secure, &destination).expect("a destination is a header");
            let default = if secure { 443 } else { 80 };
            let again = host.to_str().ok().and_then(|text| Destination::parse(text, Some(default)).ok());
            assert_eq!(again.as_ref(), Some(&destination));
        }
        Err(why) => assert!(!why.to_string().chars().any(char::is_control), "{why:?}"),
    }
}
