//! Networks of a jail.

use std::{io::Write, net::TcpListener};

use airlock::domain::{Verdict, stack::NetworkMode};

use crate::{
    host::{Host, Server, call, phase, servers, succeeds},
    runner::Phase,
    tests,
};

tests![
    without_a_network_there_is_only_a_loopback_of_its_own,
    raw_and_rare_sockets_are_refused,
    the_runner_serves_inside_the_jail,
    names_are_looked_up_where_there_is_a_network,
    abstract_sockets_of_the_host_are_out_of_reach,
];

/// Connects to a port and prints the line that comes.
fn client(port: &str) -> String {
    format!(
        "perl -MSocket -e 'socket(my $s, PF_INET, SOCK_STREAM, 0) or die; \
         connect($s, sockaddr_in({port}, inet_aton(\"127.0.0.1\"))) or die \"refused\\n\"; \
         syswrite($s, \"ping\\n\"); print <$s>'"
    )
}

fn without_a_network_there_is_only_a_loopback_of_its_own() {
    for server in servers() {
        let host = Host::new(*server);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let script = client(&listener.local_addr().unwrap().port().to_string());
        let report = host.sh(&script);
        assert_eq!(report.stderr, "refused\n", "{server:?} {report:?}");
        // The control: with the host's network the same script is answered.
        let answer = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"pong\n").unwrap());
        let report = host.run(Phase { network: NetworkMode::Host, ..phase(&script) });
        assert_eq!(report.stdout, "pong\n", "{server:?} {report:?}");
        answer.join().unwrap();
        let interfaces = host.says("tail -n +3 /proc/net/dev | cut -d: -f1");
        assert_eq!(interfaces.trim(), "lo");
    }
}

fn raw_and_rare_sockets_are_refused() {
    let open = |family: i32, kind: i32, protocol: i32| call(libc::SYS_socket, &format!("{family}, {kind}, {protocol}"));
    for server in servers() {
        let host = Host::new(*server);
        let packet = open(libc::AF_PACKET, libc::SOCK_RAW, 0);
        let raw = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP);
        let alg = open(libc::AF_ALG, libc::SOCK_SEQPACKET, 0);
        let netfilter = open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER);
        for script in [&packet, &raw, &alg, &netfilter] {
            assert_ne!(host.says(script), "ok", "{server:?} {script}");
        }
        if *server == Server::Root {
            for script in [&packet, &raw, &netfilter] {
                assert_eq!(succeeds(server.outside("sh").args(["-c", script])), "ok", "control");
            }
        }
        assert_eq!(host.says(&open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)), "ok");
    }
}

fn the_runner_serves_inside_the_jail() {
    for server in servers() {
        let host = Host::new(*server);
        let both = format!("{}; {}", client("8092"), client("8091").replace("ping", "pang"));
        let report = host.run(Phase { listen: vec![8_091, 8_092], ..phase(&both) });
        assert_eq!(report.stdout, "pong\npong\n", "{server:?} {report:?}");
        assert_eq!(report.served, ["pang\n", "ping\n"]);
    }
}

fn names_are_looked_up_where_there_is_a_network() {
    for server in servers() {
        let host = Host::new(*server);
        let look = "cat /etc/hosts; [ -e /etc/resolv.conf ] && echo resolver; getent passwd airlock | cut -d: -f6";
        assert_eq!(host.says(look), "127.0.0.1 localhost\n::1 localhost\n/tmp/home\n", "{server:?}");
        let report = host.run(Phase { network: NetworkMode::Host, ..phase("cat /etc/hosts") });
        assert_eq!(report.stdout, std::fs::read_to_string("/etc/hosts").unwrap());
        let certificates = "/etc/ssl/certs";
        if std::path::Path::new(certificates).exists() {
            host.says("ls /etc/ssl/certs > /dev/null; [ ! -e /etc/ssl/private ]");
        }
    }
}

fn abstract_sockets_of_the_host_are_out_of_reach() {
    use std::os::{linux::net::SocketAddrExt, unix::net};
    for server in servers() {
        let host = Host::new(*server);
        let name = format!("airlock-test-{}", std::process::id());
        let address = net::SocketAddr::from_abstract_name(&name).unwrap();
        let _listener = net::UnixListener::bind_addr(&address).unwrap();
        let script = format!(
            "perl -MSocket -e 'socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; \
             connect($s, pack(\"Sa*\", AF_UNIX, \"\\0{name}\")) or exit 9; print \"connected\"'"
        );
        assert_eq!(succeeds(server.outside("sh").args(["-c", &script])), "connected");
        assert_eq!(host.sh(&script).verdict, Verdict::Exited { code: 9 });
        let report = host.run(Phase { network: NetworkMode::Host, ..phase(&script) });
        // Landlock does this, from ABI 6 on; an older kernel lets it through, and `check` says so.
        let fenced = airlock::runner::native::landlock_abi() >= 6;
        assert_eq!(report.verdict, if fenced { Verdict::Exited { code: 9 } } else { Verdict::SUCCESS });
    }
}
