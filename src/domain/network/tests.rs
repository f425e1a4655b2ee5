use std::net::IpAddr;

use super::*;

fn host(text: &str) -> String {
    Host::parse(text).unwrap().to_string()
}

fn list(entries: &[&str]) -> AllowList {
    AllowList::parse(entries, Portless::Https).unwrap()
}

fn lists(list: &AllowList, destination: &str) -> bool {
    list.lists(&Destination::parse(destination, None).unwrap())
}

#[test]
fn a_host_has_one_spelling() {
    for (written, meant) in [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("ｅxample.org", "example.org"),
        ("10.0.0.1", "10.0.0.1"),
        ("[FD00::0:1]", "[fd00::1]"),
        ("fd00::1", "[fd00::1]"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("a_b.example", "a_b.example"),
    ] {
        assert_eq!(host(written), meant, "{written}");
    }
}

#[test]
fn odd_spellings_of_addresses_are_refused_and_say_what_they_would_mean() {
    for text in
        ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "127.0.0.01", "0x7f000001", "１２７.0.0.1", "127.0.0.1."]
    {
        let error = Host::parse(text).unwrap_err();
        assert!(
            matches!(&error, HostError::Odd { address, .. } if address.to_string() == "127.0.0.1"),
            "{text}: {error}"
        );
        assert!(error.to_string().ends_with("write 127.0.0.1"), "{error}");
    }
}

#[test]
fn what_is_no_host_is_refused() {
    let long = "a".repeat(64);
    for text in [
        "",
        ".",
        "a..b",
        "*.example.org",
        "a b",
        "a%2eb",
        "user@host",
        "host/path",
        "[::1",
        "fe80::1%eth0",
        "[fe80::1%25eth0]",
        "a\0b",
        "1.2.3.999",
        "example.123",
        "host:80",
        "xn--\u{1f4a9}.example",
        "a\\b",
        "ex\u{2028}ample",
        &long,
    ] {
        assert!(matches!(Host::parse(text), Err(HostError::Unreadable(_))), "{text:?} {:?}", Host::parse(text));
    }
}

#[test]
fn a_port_is_a_plain_number() {
    let read = |text: &str| Destination::parse(text, None).map(|destination| destination.to_string());
    assert_eq!(read("Example.org:443").unwrap(), "example.org:443");
    assert_eq!(read("[::1]:80").unwrap(), "[::1]:80");
    for text in ["a:0", "a:65536", "a:+80", "a:", "a:8o", "a:000080", "[::1]:-1"] {
        assert!(matches!(read(text), Err(HostError::Port(_))), "{text}");
    }
    for text in ["::1:80", "a:1:2", "[::1]80", "[::1]:1:2"] {
        assert!(matches!(read(text), Err(HostError::Unreadable(_))), "{text} {:?}", read(text));
    }
    assert!(matches!(read("a"), Err(HostError::NoPort(_))));
    assert_eq!(Destination::parse("a", Some(80)).unwrap().port, 80);
}

#[test]
fn an_entry_means_one_host_and_one_port() {
    let list = list(&["Example.org.", "git.example:22", "*.Objects.example:9000"]);
    for yes in
        ["example.org:443", "EXAMPLE.org.:443", "git.example:22", "a.objects.example:9000", "a.b.objects.example:9000"]
    {
        assert!(lists(&list, yes), "{yes}");
    }
    for no in [
        "example.org:80",
        "www.example.org:443",
        "git.example:443",
        "objects.example:9000",
        "evilobjects.example:9000",
        "a.objects.example:443",
        "10.0.0.1:443",
    ] {
        assert!(!lists(&list, no), "{no}");
    }
}

#[test]
fn an_operators_entry_without_a_port_means_every_port() {
    let list = AllowList::parse(&["127.0.0.1", "hooks.internal", "10.0.0.0/8"], Portless::Any).unwrap();
    assert!(lists(&list, "127.0.0.1:1") && lists(&list, "hooks.internal:65535") && lists(&list, "10.9.9.9:80"));
    assert!(!lists(&list, "127.0.0.2:1"));
}

#[test]
fn addresses_are_listed_by_themselves_and_by_networks() {
    let list = list(&["10.1.0.0/16:5432", "[fd00::/8]:443", "fc01::/16", "[::1]:80", "192.0.2.7", "2001:db8::/32:80"]);
    for yes in [
        "10.1.2.3:5432",
        "[::ffff:10.1.2.3]:5432",
        "[fd12::1]:443",
        "[fc01::2]:443",
        "[::1]:80",
        "192.0.2.7:443",
        "[2001:db8::1]:80",
    ] {
        assert!(lists(&list, yes), "{yes}");
    }
    for no in ["10.2.0.1:5432", "10.1.2.3:443", "[fe80::1]:443", "192.0.2.8:443", "a.example:443"] {
        assert!(!lists(&list, no), "{no}");
    }
    let address: IpAddr = "10.1.2.3".parse().unwrap();
    let found: Vec<_> = list.networks(address, 5432).map(|network| (network.to_string(), network.last())).collect();
    assert_eq!(found, [("10.1.0.0/16".to_owned(), "10.1.255.255".parse().unwrap())]);
}

#[test]
fn the_widest_and_the_narrowest_network_have_the_right_ends() {
    for (text, first, last) in [
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ("10.0.0.1/32", "10.0.0.1", "10.0.0.1"),
        ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("::1/128", "::1", "::1"),
    ] {
        let network: Network = text.parse().unwrap();
        assert_eq!((network.first().to_string(), network.last().to_string()), (first.to_owned(), last.to_owned()));
        assert!(network.holds(network.first()) && network.holds(network.last()));
    }
}

#[test]
fn slips_in_a_list_are_named() {
    for (text, part) in [
        ("*", "`*` is not a host"),
        ("*:443", "is not a host"),
        ("ex*.org", "is not a host"),
        ("10.1.2.3/8", "is not a network"),
        ("10.0.0.0/33", "is not a network"),
        ("10.0.0.0/+8", "is not a network"),
        ("::ffff:10.0.0.0/104", "is not a network"),
        ("https://example.org", "is not a host"),
        ("https://example.org:443/", "is not a host"),
        ("example.org/path", "is not a network"),
        ("example.org:http", "has no port"),
        ("0x7f.1:80", "write 127.0.0.1"),
        ("*.0.0.1", "odd spelling"),
        ("fd00::1", "in brackets"),
    ] {
        let error = Entry::parse(text, Portless::Https).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
