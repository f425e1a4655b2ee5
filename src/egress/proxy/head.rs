//! What a request's head asks for, and what of it goes on.

use hyper::{
    HeaderMap, Method, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
    http::request::Parts,
};
use thiserror::Error;

use crate::domain::network::{Destination, HostError};

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// `CONNECT host:port`.
    Tunnel(Destination),
    /// A request to be passed on; the path is in origin form.
    Pass { secure: bool, destination: Destination, path: Uri },
}

/// Why a head means nothing, or nothing good.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unclear {
    #[error("this is a proxy: ask for an absolute address, such as http://example.org/")]
    NotAbsolute,
    #[error("the scheme `{0}` is not spoken here")]
    Scheme(String),
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("credentials in an address are refused; they belong into a header")]
    Credentials,
    #[error("the request is for {asked}, but its Host header says `{said}`")]
    TwoHosts { asked: Destination, said: String },
    #[error("the request has more than one Host header")]
    ManyHosts,
    #[error("the method {0} is refused")]
    Method(Method),
    #[error("the version {0:?} of HTTP is not spoken here")]
    Version(Version),
}

/// Headers that end at this proxy (RFC 9110, 7.6.1), beside those that `Connection` names. `Expect`
/// is answered here; `Proxy-Status` is this proxy's own word.
const OWN: [&str; 6] =
    ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "proxy-status", "expect"];

/// Characters of a wrong Host header that are shown.
const SAID_CHARS: usize = 100;

/// Reads what is wanted.
pub fn read(head: &Parts) -> Result<Wish, Unclear> {
    if !matches!(head.version, Version::HTTP_10 | Version::HTTP_11) {
        return Err(Unclear::Version(head.version));
    }
    let wish = if head.method == Method::CONNECT { tunnel(&head.uri)? } else { pass(head)? };
    check_host(&head.headers, &wish)?;
    Ok(wish)
}

fn tunnel(uri: &Uri) -> Result<Wish, Unclear> {
    let authority = uri.authority().ok_or(Unclear::NotAbsolute)?.as_str();
    if authority.contains('@') {
        return Err(Unclear::Credentials);
    }
    Ok(Wish::Tunnel(Destination::parse(authority, None)?))
}

fn pass(head: &Parts) -> Result<Wish, Unclear> {
    // Answers with the request itself, a secret header among it.
    if head.method == Method::TRACE {
        return Err(Unclear::Method(Method::TRACE));
    }
    let (Some(scheme), Some(authority)) = (head.uri.scheme_str(), head.uri.authority()) else {
        return Err(Unclear::NotAbsolute);
    };
    let (secure, port) = match scheme {
        "http" => (false, 80),
        "https" => (true, 443),
        other => return Err(Unclear::Scheme(other.to_owned())),
    };
    if authority.as_str().contains('@') {
        return Err(Unclear::Credentials);
    }
    let destination = Destination::parse(authority.as_str(), Some(port))?;
    let path = head.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    Ok(Wish::Pass { secure, destination, path })
}

/// A request must not name two hosts: somebody would be taken in by one of them.
fn check_host(headers: &HeaderMap, wish: &Wish) -> Result<(), Unclear> {
    let mut said = headers.get_all(HOST).iter();
    let Some(host) = said.next() else { return Ok(()) };
    if said.next().is_some() {
        return Err(Unclear::ManyHosts);
    }
    let (asked, default) = match wish {
        // Some clients leave the port out.
        Wish::Tunnel(destination) => (destination, destination.port),
        Wish::Pass { secure, destination, .. } => (destination, if *secure { 443 } else { 80 }),
    };
    let means = host.to_str().ok().and_then(|text| Destination::parse(text, Some(default)).ok());
    if means.as_ref() == Some(asked) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(host.as_bytes()).chars().filter(|c| !c.is_control()).take(SAID_CHARS).collect();
    Err(Unclear::TwoHosts { asked: asked.clone(), said })
}

/// Removes what is only between two neighbours: framing, upgrades, the connection's own business.
pub fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    // Where both are said, the length is not true (RFC 9112, 6.3).
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in OWN {
        headers.remove(name);
    }
}

/// The `Host` header for a destination: with its port unless it is the scheme's own.
pub fn host_header(secure: bool, destination: &Destination) -> Option<HeaderValue> {
    let default = if secure { 443 } else { 80 };
    let text = if destination.port == default { destination.host.to_string() } else { destination.to_string() };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn head(method: &str, uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_wish_has_its_scheme_s_port_and_its_path() {
        for (uri, host, meant, path) in [
            ("http://a.example/x?y", Some("a.example"), "a.example:80", "/x?y"),
            ("http://a.example", Some("A.example.:80"), "a.example:80", "/"),
            ("http://a.example?y=1", None, "a.example:80", "/?y=1"),
            ("https://a.example/", Some("a.example:443"), "a.example:443", "/"),
            ("http://a.example:8080/", Some("a.example:8080"), "a.example:8080", "/"),
            ("http://[::1]/", Some("[0::1]:80"), "[::1]:80", "/"),
        ] {
            let Wish::Pass { destination, path: read, .. } = read(&head("GET", uri, host)).unwrap() else {
                panic!("{uri}")
            };
            assert_eq!((destination.to_string().as_str(), read.to_string().as_str()), (meant, path), "{uri}");
        }
    }

    #[test]
    fn a_port_left_out_is_the_scheme_s_own_and_no_other() {
        for (uri, host) in [
            ("https://a.example/", "a.example:80"),
            ("http://a.example:8080/", "a.example"),
            ("http://a.example/", "a.example:443"),
            ("http://a.example/", "b.example"),
            ("http://a.example/", ""),
            ("http://127.0.0.1/", "0x7f.1"),
        ] {
            let error = read(&head("GET", uri, Some(host))).unwrap_err();
            assert!(matches!(error, Unclear::TwoHosts { .. }), "{uri} {host}: {error}");
        }
    }

    #[test]
    fn the_host_header_names_a_port_only_where_it_must() {
        let header = |secure, text: &str| host_header(secure, &Destination::parse(text, None).unwrap()).unwrap();
        assert_eq!(header(true, "a.example:443"), "a.example");
        assert_eq!(header(false, "a.example:80"), "a.example");
        assert_eq!(header(true, "a.example:80"), "a.example:80");
        assert_eq!(header(false, "[::1]:8080"), "[::1]:8080");
    }
}
