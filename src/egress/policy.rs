//! Who may be reached.

use std::net::IpAddr;

use thiserror::Error;

use super::class::AddressClass;
use crate::domain::network::{AllowList, Destination, Host};

/// The rules for destinations: first for what was named, then for every address that it stands for.
#[derive(Clone, Debug)]
pub struct Policy {
    kind: Kind,
    list: AllowList,
    /// Destinations that may be anywhere but at a cloud's metadata.
    vouched: AllowList,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Of a run: the list is all there is.
    Run,
    /// Of the server's own calls: the list is what the operator adds.
    Outbound,
    /// Of calls to addresses that somebody else sent: the list is what the operator adds.
    Foreign,
}

/// Why a destination is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("{0} is not on this run's list")]
    NotListed(Destination),
    #[error(
        "{destination} is {at}{class} that is not on this run's list; list the address or its network, too, if that is meant",
        at = At { destination, address: *address }
    )]
    AddressNotListed { destination: Destination, address: IpAddr, class: AddressClass },
    #[error(
        "{destination} is {at}{class}; the operator can list it under outbound_allow",
        at = At { destination, address: *address }
    )]
    NotByOperator { destination: Destination, address: IpAddr, class: AddressClass },
    #[error(
        "{destination} is {at}{class}: nothing can be reached there",
        at = At { destination, address: *address }, class = AddressClass::Nowhere
    )]
    Nowhere { destination: Destination, address: IpAddr },
}

/// "at 10.0.0.1, ", or nothing where the destination is the address.
struct At<'a> {
    destination: &'a Destination,
    address: IpAddr,
}

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.destination.host {
            Host::Name(_) => write!(f, "at {}, ", self.address),
            Host::Address(_) => Ok(()),
        }
    }
}

impl Policy {
    /// For what a run does: only what is listed; loopback, link-local, private and reserved addresses
    /// only where the list holds the address itself or a network of nothing but such ones. That a name
    /// is listed says nothing about where its owner may point it.
    pub fn run(list: AllowList) -> Self {
        Self { kind: Kind::Run, list, vouched: AllowList::default() }
    }

    /// With destinations that the operator registered: whoever names them knows where they are, so they
    /// may be private, or this machine.
    #[must_use]
    pub fn vouching(mut self, vouched: AllowList) -> Self {
        self.vouched = vouched;
        self
    }

    /// For what the server calls on its own: public and private addresses; the rest only where the
    /// operator lists the host or the address. Metadata only by its address.
    pub fn outbound(operator: AllowList) -> Self {
        Self { kind: Kind::Outbound, list: operator, vouched: AllowList::default() }
    }

    /// For addresses that somebody else sent: public ones; the rest, private ones too, only where the
    /// operator lists the host or the address. Metadata only by its address.
    pub fn foreign(operator: AllowList) -> Self {
        Self { kind: Kind::Foreign, list: operator, vouched: AllowList::default() }
    }

    /// Before anything is resolved.
    pub fn check_host(&self, destination: &Destination) -> Result<(), Refusal> {
        match self.kind {
            Kind::Outbound | Kind::Foreign => Ok(()),
            Kind::Run if self.list.lists(destination) || self.vouched.lists(destination) => Ok(()),
            Kind::Run => Err(Refusal::NotListed(destination.clone())),
        }
    }

    /// Before the address is connected to.
    pub fn check_address(&self, destination: &Destination, address: IpAddr) -> Result<(), Refusal> {
        let class = AddressClass::of(address);
        let destination = destination.clone();
        match (class, self.kind) {
            (AddressClass::Public, _) | (AddressClass::Private, Kind::Outbound) => Ok(()),
            (AddressClass::Nowhere, _) => Err(Refusal::Nowhere { destination, address }),
            (class, Kind::Run) if class != AddressClass::Metadata && self.vouched.lists(&destination) => Ok(()),
            _ if self.lists_address(address, destination.port, class) => Ok(()),
            (
                AddressClass::Private
                | AddressClass::LinkLocal
                | AddressClass::Loopback
                | AddressClass::Metadata
                | AddressClass::Reserved,
                Kind::Run,
            ) => Err(Refusal::AddressNotListed { destination, address, class }),
            (
                AddressClass::Private | AddressClass::LinkLocal | AddressClass::Loopback | AddressClass::Reserved,
                Kind::Outbound | Kind::Foreign,
            ) if self.list.lists(&destination) => Ok(()),
            (
                AddressClass::Private
                | AddressClass::LinkLocal
                | AddressClass::Loopback
                | AddressClass::Reserved
                | AddressClass::Metadata,
                Kind::Outbound | Kind::Foreign,
            ) => Err(Refusal::NotByOperator { destination, address, class }),
        }
    }

    /// A network speaks for a special address only if all of it is of that class: whoever lists
    /// `0.0.0.0/0` means the internet, not this machine.
    fn lists_address(&self, address: IpAddr, port: u16, class: AddressClass) -> bool {
        let whole = |end: IpAddr| AddressClass::of(end) == class;
        self.list.networks(address, port).any(|network| whole(network.first()) && whole(network.last()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::network::Portless;

    fn run(entries: &[&str]) -> Policy {
        Policy::run(AllowList::parse(entries, Portless::Https).unwrap())
    }

    fn outbound(entries: &[&str]) -> Policy {
        Policy::outbound(AllowList::parse(entries, Portless::Any).unwrap())
    }

    /// What the policy says to `destination` when it resolves to `address`.
    fn says(policy: &Policy, destination: &str, address: &str) -> Result<(), Refusal> {
        let destination = Destination::parse(destination, None).unwrap();
        policy.check_host(&destination)?;
        policy.check_address(&destination, address.parse().unwrap())
    }

    #[test]
    fn a_run_reaches_what_is_listed_and_nothing_else() {
        let policy = run(&["git.example", "10.1.0.0/16:5432", "db.example:5432", "127.0.0.1:8080"]);
        assert_eq!(says(&policy, "git.example:443", "1.2.3.4"), Ok(()));
        assert_eq!(says(&policy, "10.1.2.3:5432", "10.1.2.3"), Ok(()));
        assert_eq!(says(&policy, "db.example:5432", "10.1.2.3"), Ok(()));
        assert_eq!(says(&policy, "127.0.0.1:8080", "127.0.0.1"), Ok(()));
        for (destination, address) in
            [("git.example:80", "1.2.3.4"), ("evil.example:443", "1.2.3.4"), ("1.2.3.4:443", "1.2.3.4")]
        {
            let refusal = says(&policy, destination, address).unwrap_err();
            assert_eq!(refusal.to_string(), format!("{destination} is not on this run's list"));
        }
    }

    #[test]
    fn a_listed_name_that_points_inside_is_refused() {
        let policy = run(&["git.example", "127.0.0.1:8080", "10.0.0.0/8:5432"]);
        for (address, class) in [
            ("127.0.0.1", "a loopback address"),
            ("::1", "a loopback address"),
            ("169.254.169.254", "a cloud's metadata address"),
            ("fe80::1", "a link-local address"),
            ("10.1.2.3", "a private address"),
            ("::ffff:10.1.2.3", "a private address"),
            ("198.18.0.1", "a reserved address"),
        ] {
            let refusal = says(&policy, "git.example:443", address).unwrap_err().to_string();
            assert!(refusal.contains(class) && refusal.contains(address), "{refusal}");
        }
        let refusal = says(&policy, "git.example:443", "0.0.0.0").unwrap_err().to_string();
        assert_eq!(refusal, "git.example:443 is at 0.0.0.0, no host's address: nothing can be reached there");
    }

    #[test]
    fn what_the_operator_vouches_for_may_be_private_but_no_metadata() {
        let vouched = AllowList::parse(&["db.internal:5432", "127.0.0.1:6379"], Portless::Https).unwrap();
        let policy = run(&["git.example"]).vouching(vouched);
        for address in ["10.1.2.3", "127.0.0.1", "1.2.3.4"] {
            assert_eq!(says(&policy, "db.internal:5432", address), Ok(()), "{address}");
        }
        assert_eq!(says(&policy, "127.0.0.1:6379", "127.0.0.1"), Ok(()));
        assert!(says(&policy, "db.internal:5432", "169.254.169.254").is_err());
        assert!(says(&policy, "db.internal:5433", "10.1.2.3").is_err());
        assert!(says(&policy, "git.example:443", "10.1.2.3").is_err());
    }

    #[test]
    fn a_wide_network_does_not_speak_for_what_hides_in_it() {
        let policy = run(&["0.0.0.0/0:80", "[::/0]:80", "169.254.0.0/16:80", "169.254.169.254:81"]);
        for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"] {
            assert!(says(&policy, &format!("{address}:80"), address).is_err(), "{address}");
        }
        assert!(says(&policy, "[::1]:80", "::1").is_err());
        assert_eq!(says(&policy, "8.8.8.8:80", "8.8.8.8"), Ok(()));
        assert_eq!(says(&policy, "169.254.1.1:80", "169.254.1.1"), Ok(()));
        assert_eq!(says(&policy, "169.254.169.254:81", "169.254.169.254"), Ok(()));
    }

    #[test]
    fn the_servers_own_calls_reach_private_hosts_but_not_this_machine() {
        let policy = outbound(&[]);
        assert_eq!(says(&policy, "hooks.example:443", "1.2.3.4"), Ok(()));
        assert_eq!(says(&policy, "hooks.internal:80", "10.0.0.1"), Ok(()));
        for address in ["127.0.0.1", "::1", "169.254.1.1", "fd00:ec2::254", "192.0.2.1", "0.0.0.0"] {
            assert!(says(&policy, "hooks.example:443", address).is_err(), "{address}");
        }
        let refusal = says(&policy, "127.0.0.1:80", "127.0.0.1").unwrap_err().to_string();
        assert_eq!(refusal, "127.0.0.1:80 is a loopback address; the operator can list it under outbound_allow");
    }

    #[test]
    fn what_somebody_else_sent_leads_inside_only_where_the_operator_says_so() {
        let foreign = |entries: &[&str]| Policy::foreign(AllowList::parse(entries, Portless::Any).unwrap());
        let policy = foreign(&[]);
        assert_eq!(says(&policy, "app.example:443", "1.2.3.4"), Ok(()));
        for address in ["10.0.0.1", "192.168.1.1", "fd12::1", "127.0.0.1", "169.254.1.1", "169.254.169.254", "0.0.0.0"]
        {
            assert!(says(&policy, "app.example:443", address).is_err(), "{address}");
        }
        let refusal = says(&policy, "10.0.0.1:80", "10.0.0.1").unwrap_err().to_string();
        assert_eq!(refusal, "10.0.0.1:80 is a private address; the operator can list it under outbound_allow");
        let policy = foreign(&["checks.internal", "10.1.0.0/16"]);
        assert_eq!(says(&policy, "checks.internal:443", "10.0.0.1"), Ok(()));
        assert_eq!(says(&policy, "other.internal:443", "10.1.2.3"), Ok(()));
        assert!(says(&policy, "other.internal:443", "10.2.2.3").is_err());
        assert!(says(&policy, "checks.internal:443", "169.254.169.254").is_err());
    }

    #[test]
    fn the_operator_may_vouch_for_a_host_but_not_by_its_name_for_metadata() {
        let policy = outbound(&["hooks.internal", "127.0.0.1:9000", "169.254.0.0/16"]);
        assert_eq!(says(&policy, "hooks.internal:8080", "127.0.0.1"), Ok(()));
        assert_eq!(says(&policy, "localhost:9000", "127.0.0.1"), Ok(()));
        assert_eq!(says(&policy, "169.254.7.7:80", "169.254.7.7"), Ok(()));
        for (destination, address) in [
            ("hooks.internal:80", "169.254.169.254"),
            ("hooks.internal:80", "0.0.0.0"),
            ("127.0.0.1:9001", "127.0.0.1"),
            ("other.internal:80", "::1"),
        ] {
            assert!(says(&policy, destination, address).is_err(), "{destination} {address}");
        }
    }
}
