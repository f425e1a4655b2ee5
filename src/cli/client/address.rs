//! Which server is asked, and with which token: `AIRLOCK_URL` and `AIRLOCK_TOKEN`, else what
//! `airlock login` stored.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    cli::{Outcome, args::Reach, failure::Failure},
    crypt::Secret,
};

use super::{CONNECT, SILENCE};

/// What makes a certificate good enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Trust {
    /// The authorities that this host trusts.
    #[default]
    Host,
    /// Only what is in this file.
    Only(PathBuf),
    /// Anything.
    Blind,
}

/// A server that is known, and the token for it.
#[derive(Debug)]
pub(super) struct Known {
    pub url: String,
    pub token: Secret<String>,
    pub trust: Trust,
}

/// What `airlock login` stores.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Login {
    pub url: String,
    pub token: Secret<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Login {
    pub(super) fn trust(&self) -> Trust {
        match &self.ca_cert {
            _ if self.insecure => Trust::Blind,
            Some(file) => Trust::Only(file.clone()),
            None => Trust::Host,
        }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether somebody said which server to ask.
pub(in crate::cli) fn is_known() -> bool {
    variable("AIRLOCK_URL").is_some() || place().is_ok_and(|path| path.exists())
}

/// The server to ask.
pub(super) fn known(reach: &Reach) -> Result<Known, Failure> {
    let url = variable("AIRLOCK_URL").map(|url| address(&url)).transpose()?;
    let token = variable("AIRLOCK_TOKEN").map(Secret::new);
    let (url, token) = match (url, token) {
        (Some(url), Some(token)) => return Ok(Known { url, token, trust: asked(reach).unwrap_or_default() }),
        parts => parts,
    };
    let stored = stored()?.filter(|login| url.as_ref().is_none_or(|url| *url == login.url));
    match (stored, url, token) {
        (Some(login), _, token) => {
            let trust = asked(reach).unwrap_or_else(|| login.trust());
            Ok(Known { url: login.url, token: token.unwrap_or(login.token), trust })
        }
        (None, Some(url), _) => Err(Failure::refused(format_args!("{url}: there is no token for this server"))
            .next(format_args!("set AIRLOCK_TOKEN to an API key, or sign in: `airlock login {url}`"))),
        (None, None, _) => Err(Failure::new(Outcome::NoConnection, "no server is known")
            .next("sign in: `airlock login URL`; or set AIRLOCK_URL and AIRLOCK_TOKEN")),
    }
}

/// What flags say about certificates.
pub(super) fn asked(reach: &Reach) -> Option<Trust> {
    match &reach.ca_cert {
        _ if reach.insecure => Some(Trust::Blind),
        Some(file) => Some(Trust::Only(file.clone())),
        None => None,
    }
}

/// An address as it is stored and compared: scheme, host, port and path, without a slash at its end.
pub(super) fn address(text: &str) -> Result<String, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format_args!("`{text}`: {why}")).next("write an address such as https://airlock.example.org")
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("is not the address of a server"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("an address has no user, password, query or fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// What speaks HTTP.
pub(super) fn connector(url: &str, trust: &Trust) -> Result<reqwest::Client, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format_args!("cannot make a client: {error}"));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("airlock/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE);
    if is_near(url) {
        builder = builder.no_proxy();
    }
    builder = match trust {
        // Without TLS nobody's authorities are needed, and a host may have none.
        _ if url.starts_with("http://") => builder.tls_certs_only([]),
        Trust::Host => builder,
        Trust::Only(file) => builder.tls_certs_only(certificates(file)?),
        Trust::Blind => builder.tls_certs_only([]).tls_danger_accept_invalid_certs(true),
    };
    builder.build().map_err(|error| failed(&error))
}

/// Whether the address is this host itself: no proxy stands between.
fn is_near(url: &str) -> bool {
    match Url::parse(url).ok().and_then(|url| url.host().map(|host| host.to_owned())) {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn certificates(file: &Path) -> Result<Vec<reqwest::Certificate>, Failure> {
    let pem = fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Failure::usage(format_args!("{}: holds no certificate (PEM)", file.display()))),
        Err(error) => Err(Failure::usage(format_args!("{}: {error}", file.display()))),
    }
}

/// Where `airlock login` stores: `$XDG_CONFIG_HOME/airlock/login.toml`.
fn place() -> Result<PathBuf, Failure> {
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| Path::new(&home).join(".config"));
    let dir = config.or_else(home).ok_or_else(|| {
        Failure::failed("there is no place for a stored login: neither XDG_CONFIG_HOME nor HOME is set")
            .next("set AIRLOCK_URL and AIRLOCK_TOKEN instead")
    })?;
    Ok(dir.join("airlock").join("login.toml"))
}

/// What was stored, if anything was.
pub(super) fn stored() -> Result<Option<Login>, Failure> {
    let Ok(path) = place() else { return Ok(None) };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", &path, &error)),
    };
    let mode = fs::metadata(&path).map_err(|error| Failure::file("read", &path, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Failure::failed(format_args!("{}: others can read the token in it", path.display()))
            .next(format_args!("sign in again, or `chmod 600 {}` if nobody did", path.display())));
    }
    // The parser's message could quote the token.
    toml::from_str(&text).map(Some).map_err(|_| {
        Failure::failed(format_args!("{}: cannot be understood", path.display()))
            .next("sign in again: `airlock login URL`")
    })
}

/// Stores a login for nobody but its owner.
pub(super) fn store(login: &Login) -> Result<PathBuf, Failure> {
    let path = place()?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Failure::file("make", dir, &error))?;
    let text = Secret::new(toml::to_string(login).map_err(|_| Failure::failed("the login cannot be stored"))?);
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    write_private(&fresh, &text)
        .and_then(|()| fs::rename(&fresh, &path))
        .map_err(|error| Failure::file("write", &path, &error))?;
    Ok(path)
}

fn write_private(path: &Path, text: &Secret<String>) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.expose().as_bytes())?;
    file.sync_all()
}

/// Forgets what was stored. Says where it was.
pub(super) fn forget() -> Result<Option<PathBuf>, Failure> {
    let path = place()?;
    match fs::remove_file(&path) {
        Ok(()) => Ok(Some(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("remove", &path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_name_a_server_are_kept_in_one_form() {
        assert_eq!(address("http://127.0.0.1:7070/").unwrap(), "http://127.0.0.1:7070");
        assert_eq!(address("HTTPS://Airlock.Example.org").unwrap(), "https://airlock.example.org");
        for wrong in ["airlock", "ftp://x", "http://u:p@x", "http://x/?a", "file:///etc"] {
            assert_eq!(address(wrong).unwrap_err().outcome, Outcome::Usage, "{wrong}");
        }
    }

    #[test]
    fn this_host_is_reached_without_a_proxy() {
        assert!(is_near("http://127.0.0.1:7070") && is_near("https://localhost") && is_near("http://[::1]:1"));
        assert!(!is_near("https://airlock.example.org") && !is_near("http://10.0.0.1"));
    }
}
