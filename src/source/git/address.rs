//! Which addresses a git source may have.
//!
//! `https://`, `ssh://`, `user@host:path`, and absolute paths (also as `file://`) below directories
//! that the operator lists. Everything else git understands is refused: other transports, helpers
//! (`ext::`), what could be taken for an option, and credentials inside the address.

use std::{
    fmt, io,
    path::{Component, Path, PathBuf},
};

use url::Url;

use crate::domain::limits;

/// A checked address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Https(String),
    /// `ssh://user@host/path` or `user@host:path`.
    Ssh(String),
    /// Absolute. Still to be held against the operator's list: [`local_repository`].
    Local(PathBuf),
}

/// Why an address is refused.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("the address must have 1 to {} characters, none of them a blank or a control character", limits::URL_CHARS)]
    Malformed,
    #[error("the address must not begin with -")]
    Option,
    #[error("`{0}` is not a kind of address that is allowed; use https://, ssh://, user@host:path or an absolute path")]
    Scheme(String),
    #[error("http:// sends credentials and code in clear; use https://")]
    Http,
    #[error(
        "the address must not hold a user or a password; store them as a credential and name it in the stack's source"
    )]
    Credentials,
    #[error("the address must not hold a password; ssh uses a stored key: store it as a credential")]
    SshPassword,
    #[error("the address names no host")]
    NoHost,
    #[error("the host's name must not begin with -")]
    HostIsOption,
    #[error("the address names no path on its host")]
    NoPath,
    #[error("the address must not hold a query or a fragment; the branch is a setting of its own")]
    Query,
    #[error(
        "`{0}` is neither an absolute path nor an address; use https://, ssh://, user@host:path or an absolute path"
    )]
    Relative(String),
    #[error("the path must not hold `..`")]
    Upwards,
    #[error("local repositories are not allowed here; the operator lists their directories under local_sources")]
    NoLocalSources,
    #[error("{} is not below a directory that the operator lists under local_sources ({})", path.display(), Listed(listed))]
    NotListed { path: PathBuf, listed: Vec<PathBuf> },
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
}

struct Listed<'a>(&'a [PathBuf]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.0.iter().map(|path| path.display().to_string()).collect();
        f.write_str(&paths.join(", "))
    }
}

impl Address {
    /// Checks an address by its text alone.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let malformed = text.is_empty()
            || text.chars().count() > limits::URL_CHARS
            || text.chars().any(|c| c.is_control() || c.is_whitespace());
        if malformed {
            return Err(AddressError::Malformed);
        }
        if text.starts_with('-') {
            return Err(AddressError::Option);
        }
        if text.starts_with('/') {
            return local(text);
        }
        match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => match scheme.to_ascii_lowercase().as_str() {
                "https" => https(text),
                "ssh" => ssh(text),
                "file" => local(rest.strip_prefix("localhost").unwrap_or(rest)),
                "http" => Err(AddressError::Http),
                _ => Err(AddressError::Scheme(format!("{scheme}://"))),
            },
            _ => scp_like(text),
        }
    }

    /// Host name and, if given, port; none for a local address. What a network mode must allow.
    pub fn host(&self) -> Option<(String, u16)> {
        match self {
            Self::Https(text) => {
                let url = Url::parse(text).ok()?;
                Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
            }
            Self::Ssh(text) if text.contains("://") => {
                let url = Url::parse(text).ok()?;
                Some((url.host_str()?.to_owned(), url.port().unwrap_or(22)))
            }
            Self::Ssh(text) => {
                let (before, _) = text.split_once(':')?;
                Some((before.rsplit_once('@').map_or(before, |(_, host)| host).to_owned(), 22))
            }
            Self::Local(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https(text) | Self::Ssh(text) => f.write_str(text),
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The directory behind a local address, links resolved, if it lies below a directory that the
/// operator lists (links resolved, too).
pub fn local_repository(path: &Path, local_sources: &[PathBuf]) -> Result<PathBuf, AddressError> {
    if local_sources.is_empty() {
        return Err(AddressError::NoLocalSources);
    }
    let not_listed = || AddressError::NotListed { path: path.to_owned(), listed: local_sources.to_vec() };
    let listed = |real: &Path| {
        local_sources.iter().filter_map(|source| source.canonicalize().ok()).any(|source| real.starts_with(source))
    };
    // A path outside is refused before anything is said about what is there.
    if !local_sources.iter().any(|source| path.starts_with(source)) && !path.canonicalize().is_ok_and(|p| listed(&p)) {
        return Err(not_listed());
    }
    let real = path.canonicalize().map_err(|error| AddressError::Unreadable { path: path.to_owned(), error })?;
    if !listed(&real) {
        return Err(not_listed());
    }
    if !real.is_dir() {
        return Err(AddressError::NotADirectory(path.to_owned()));
    }
    Ok(real)
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn https(text: &str) -> Result<Address, AddressError> {
    let url = Url::parse(text).map_err(|_| AddressError::NoHost)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError::Query);
    }
    check_host(url.host_str().unwrap_or_default())?;
    if url.path().trim_matches('/').is_empty() {
        return Err(AddressError::NoPath);
    }
    Ok(Address::Https(url.into()))
}

fn ssh(text: &str) -> Result<Address, AddressError> {
    let url = Url::parse(text).map_err(|_| AddressError::NoHost)?;
    if url.password().is_some() {
        return Err(AddressError::SshPassword);
    }
    check_user(url.username())?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError::Query);
    }
    check_host(url.host_str().unwrap_or_default())?;
    if url.path().trim_matches('/').is_empty() {
        return Err(AddressError::NoPath);
    }
    Ok(Address::Ssh(text.to_owned()))
}

/// `user@host:path`, which git takes for ssh.
fn scp_like(text: &str) -> Result<Address, AddressError> {
    let relative = || AddressError::Relative(text.chars().take(100).collect());
    let (before, path) = text.split_once(':').ok_or_else(relative)?;
    if before.contains('/') {
        return Err(relative());
    }
    if path.starts_with(':') {
        return Err(AddressError::Scheme(format!("{before}::")));
    }
    let (user, host) = before.rsplit_once('@').ok_or_else(relative)?;
    if user.contains(':') {
        return Err(AddressError::SshPassword);
    }
    check_user(user)?;
    check_host(host)?;
    if path.trim_matches('/').is_empty() || path.starts_with('-') {
        return Err(AddressError::NoPath);
    }
    Ok(Address::Ssh(text.to_owned()))
}

fn check_user(user: &str) -> Result<(), AddressError> {
    if user.starts_with('-') { Err(AddressError::Option) } else { Ok(()) }
}

fn check_host(host: &str) -> Result<(), AddressError> {
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    // What ssh takes for an option, also where it is percent-encoded.
    if host.starts_with('-') || host.to_ascii_lowercase().starts_with("%2d") {
        return Err(AddressError::HostIsOption);
    }
    if host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c)) {
        Ok(())
    } else {
        Err(AddressError::NoHost)
    }
}

fn local(text: &str) -> Result<Address, AddressError> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(AddressError::Relative(text.chars().take(100).collect()));
    }
    if path.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(AddressError::Upwards);
    }
    Ok(Address::Local(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn addresses_of_the_allowed_kinds_pass() {
        for text in [
            "https://example.org/a/b.git",
            "https://example.org:8443/a.git",
            "https://[::1]:8443/a.git",
            "https://example.org/with%20blank.git",
        ] {
            assert!(matches!(Address::parse(text), Ok(Address::Https(_))), "{text}");
        }
        for text in ["ssh://git@example.org/a.git", "ssh://git@example.org:2222/~/a.git", "git@example.org:a/b.git"] {
            assert!(matches!(Address::parse(text), Ok(Address::Ssh(_))), "{text}");
        }
        for text in ["/srv/git/a.git", "file:///srv/git/a.git", "file://localhost/srv/git/a.git"] {
            assert!(matches!(Address::parse(text), Ok(Address::Local(path)) if path == Path::new("/srv/git/a.git")));
        }
    }

    #[test]
    fn every_other_address_is_refused_with_its_reason() {
        for (text, said) in [
            ("", "1 to 2000 characters"),
            ("https://example.org/a b", "a blank"),
            ("https://example.org/a\n", "control character"),
            ("-upload-pack=x", "begin with -"),
            ("--upload-pack=touch", "begin with -"),
            ("http://example.org/a.git", "use https://"),
            ("git://example.org/a.git", "`git://` is not a kind"),
            ("ftp://example.org/a.git", "`ftp://` is not a kind"),
            ("ext::sh -c x", "a blank"),
            ("ext::sh%20-c", "`ext::` is not a kind"),
            ("fd::17", "`fd::` is not a kind"),
            ("https::https://example.org/a", "not a kind"),
            ("https://user@example.org/a.git", "store them as a credential"),
            ("https://user:pw@example.org/a.git", "store them as a credential"),
            ("https://:pw@example.org/a.git", "store them as a credential"),
            ("https:///a.git", "names no path"),
            ("https://example.org", "names no path"),
            ("https://example.org/a.git?x=1", "a query or a fragment"),
            ("https://example.org/a.git#main", "a query or a fragment"),
            ("ssh://git:pw@example.org/a.git", "must not hold a password"),
            ("ssh://-oProxyCommand=x/a.git", "begin with -"),
            ("ssh://%2doProxyCommand=x/a.git", "begin with -"),
            ("ssh://git@-oProxyCommand=x/a.git", "begin with -"),
            ("ssh://-x@example.org/a.git", "begin with -"),
            ("ssh://git@example.org", "names no path"),
            ("git@-oProxyCommand=x:a", "begin with -"),
            ("-x@example.org:a", "begin with -"),
            ("git@example.org:-x", "names no path"),
            ("git@example.org:", "names no path"),
            ("a:b@example.org:c", "neither an absolute path"),
            ("example.org:a", "neither an absolute path"),
            ("infra", "neither an absolute path"),
            ("./infra", "neither an absolute path"),
            ("../infra", "neither an absolute path"),
            ("/srv/../etc", "must not hold `..`"),
            ("file://elsewhere/srv", "neither an absolute path"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains("pw"), "{error}");
        }
        assert!(Address::parse(&format!("https://example.org/{}", "a".repeat(2_000))).is_err());
    }

    #[test]
    fn the_host_of_an_address_is_known() {
        let host = |text: &str| Address::parse(text).unwrap().host();
        assert_eq!(host("https://example.org/a"), Some(("example.org".to_owned(), 443)));
        assert_eq!(host("ssh://git@example.org:2222/a"), Some(("example.org".to_owned(), 2222)));
        assert_eq!(host("git@example.org:a"), Some(("example.org".to_owned(), 22)));
        assert_eq!(host("/srv/a"), None);
    }

    #[test]
    fn a_local_repository_must_really_lie_below_a_listed_directory() {
        let dir = tempfile::tempdir().unwrap();
        let below = |name: &str| dir.path().join(name);
        for name in ["listed/a", "other/b"] {
            fs::create_dir_all(below(name)).unwrap();
        }
        symlink(below("other/b"), below("listed/out")).unwrap();
        symlink(below("listed/a"), below("listed/in")).unwrap();
        symlink(below("listed"), below("alias")).unwrap();
        fs::write(below("listed/file"), "").unwrap();
        let listed = [below("listed")];
        let real = below("listed/a").canonicalize().unwrap();
        assert_eq!(local_repository(&below("listed/a"), &listed).unwrap(), real);
        assert_eq!(local_repository(&below("listed/in"), &listed).unwrap(), real);
        assert_eq!(local_repository(&below("alias/a"), &listed).unwrap(), real);
        assert_eq!(local_repository(&below("alias/a"), &[below("alias")]).unwrap(), real);
        for (name, said) in [
            ("listed/out", "is not below"),
            ("other/b", "is not below"),
            ("other/none", "is not below"),
            ("listed/none", "cannot be read"),
            ("listed/file", "is not a directory"),
        ] {
            let error = local_repository(&below(name), &listed).unwrap_err().to_string();
            assert!(error.contains(said), "{name}: {error}");
        }
        let error = local_repository(&below("listed/a"), &[]).unwrap_err().to_string();
        assert!(error.contains("local_sources"), "{error}");
        assert!(local_repository(&below("listed-too"), &listed).is_err());
    }
}
