//! Passwords: argon2id with OWASP's parameters of 2025 (19 MiB, 2 passes, 1 lane), which are the
//! library's own defaults.
//!
//! Whoever wants something hashed lines up first. Each origin, and all together, have only so many
//! places: nobody makes the server work for minutes, and nobody fills the line alone. However many
//! strangers come, some places are left to those who have shown a session or an invitation.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use tokio::sync::Semaphore;

use super::Origin;
use crate::{
    crypt::Secret,
    domain::{FieldError, limits},
};

/// Passwords that people choose first, of the length that is asked for. Compared without case and
/// without trailing digits and punctuation.
const COMMON: &[&str] = &[
    "passwordpassword",
    "password",
    "passwort",
    "qwertyuiop",
    "qwertzuiop",
    "administrator",
    "adminadmin",
    "letmein",
    "welcome",
    "changeme",
    "changemenow",
    "iloveyou",
    "airlock",
    "airlockairlock",
    "correcthorsebatterystaple",
    "terraform",
    "infrastructure",
    "abcdefghijkl",
    "aaaaaaaaaaaa",
    "secretsecret",
    "trustno",
    "superman",
    "football",
    "baseball",
    "princess",
    "sunshine",
    "masterpassword",
    "defaultpassword",
];

/// Hashes and checks passwords, a few at a time, away from the async threads.
#[derive(Clone, Debug)]
pub struct Passwords {
    at_once: Arc<Semaphore>,
    line: Arc<Mutex<Line>>,
    /// What an unknown user's password is checked against, so that the answer takes as long.
    nobody: Arc<str>,
}

/// Who waits for a hash, or has one made.
#[derive(Debug, Default)]
struct Line {
    all: usize,
    by_origin: HashMap<Origin, usize>,
}

/// Who lines up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Stranger,
    /// They have shown a session or an invitation, or are at this machine.
    Known,
}

/// A place in the line, until it is dropped.
#[derive(Debug)]
pub struct Place {
    passwords: Passwords,
    origin: Origin,
}

/// Every place in the line is taken, or every one that an origin may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked at this moment")]
pub struct Crowded;

/// The hashing itself failed: out of memory, or a stored hash that is none.
#[derive(Debug, thiserror::Error)]
#[error("a password could not be hashed: {0}")]
pub struct HashFailed(String);

/// What checking a password gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    Right,
    /// Right, and the stored hash is of older parameters: store a new one.
    RightButOld,
    Wrong,
}

impl Passwords {
    pub fn new() -> Result<Self, HashFailed> {
        Ok(Self {
            at_once: Arc::new(Semaphore::new(limits::HASHES_AT_ONCE)),
            line: Arc::default(),
            nobody: hash(&Secret::new("nobody has this password".to_owned()))?.into(),
        })
    }

    /// A place in the line for somebody of this origin.
    pub fn line_up(&self, caller: Caller, origin: Origin) -> Result<Place, Crowded> {
        let most = match caller {
            Caller::Stranger => limits::HASHES_WAITING - limits::HASHES_WAITING_KEPT,
            Caller::Known => limits::HASHES_WAITING,
        };
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = line.by_origin.get(&origin).copied().unwrap_or(0);
        if line.all >= most || theirs >= limits::HASHES_WAITING_PER_ORIGIN {
            return Err(Crowded);
        }
        line.all += 1;
        line.by_origin.insert(origin, theirs + 1);
        Ok(Place { passwords: self.clone(), origin })
    }

    fn leave(&self, origin: Origin) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.all = line.all.saturating_sub(1);
        if let Some(theirs) = line.by_origin.get_mut(&origin) {
            *theirs -= 1;
            if *theirs == 0 {
                line.by_origin.remove(&origin);
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashFailed> + Send + 'static,
    ) -> Result<T, HashFailed> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await.map_err(failed)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        done.await.map_err(failed)?
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.passwords.leave(self.origin);
    }
}

impl Place {
    /// Whose place it is.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// A PHC string with a fresh salt.
    pub async fn hash(&self, password: Secret<String>) -> Result<String, HashFailed> {
        self.passwords.blocking(move || hash(&password)).await
    }

    /// Checks a password against a stored hash; with none, does the same work and says no.
    pub async fn check(&self, stored: Option<String>, password: Secret<String>) -> Result<Checked, HashFailed> {
        let nobody = Arc::clone(&self.passwords.nobody);
        let check = move || match stored {
            Some(stored) => check(&stored, &password),
            None => check(&nobody, &password).map(|_| Checked::Wrong),
        };
        self.passwords.blocking(check).await
    }
}

/// As [`Place::hash`], for callers outside the async runtime.
pub fn hash(password: &Secret<String>) -> Result<String, HashFailed> {
    let (params, salt) = (Params::default(), Salt::generate());
    let argon2 = Argon2::new(Algorithm::default(), Version::default(), params.clone());
    let hash = PasswordHash {
        algorithm: Algorithm::default().ident(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(&params).map_err(failed)?,
        hash: Some(output(&argon2, password, &salt, Params::DEFAULT_OUTPUT_LEN)?),
        salt: Some(salt),
    };
    Ok(hash.to_string())
}

fn check(stored: &str, password: &Secret<String>) -> Result<Checked, HashFailed> {
    let parsed = PasswordHash::new(stored).map_err(failed)?;
    let (Some(salt), Some(expected)) = (&parsed.salt, &parsed.hash) else {
        return Err(HashFailed("the stored hash lacks its salt or its output".to_owned()));
    };
    let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).map_err(failed)?;
    let version = parsed.version.map(Version::try_from).transpose().map_err(failed)?.unwrap_or_default();
    let costs = Params::try_from(&parsed).map_err(failed)?;
    let old = costs.m_cost() < Params::DEFAULT_M_COST || costs.t_cost() < Params::DEFAULT_T_COST;
    let found = output(&Argon2::new(algorithm, version, costs), password, salt, expected.len())?;
    // Compared in constant time by its type.
    if found != *expected {
        return Ok(Checked::Wrong);
    }
    Ok(if old { Checked::RightButOld } else { Checked::Right })
}

/// Memory blocks from which on glibc maps an allocation by itself, whatever came before, and unmaps it
/// when it is freed (its `DEFAULT_MMAP_THRESHOLD_MAX`, 32 MiB). Of anything smaller it keeps what was
/// freed, in an arena for each thread: five sign-ins would leave the server 100 MB larger for ever.
/// What is not touched takes no memory.
const MAPPED_BLOCKS: usize = (33 << 20) / Block::SIZE;

fn output(argon2: &Argon2<'_>, password: &Secret<String>, salt: &Salt, len: usize) -> Result<Output, HashFailed> {
    let needed = argon2.params().block_count();
    let mut memory = Vec::with_capacity(needed.max(MAPPED_BLOCKS));
    memory.resize(needed, Block::new());
    let mut bytes = vec![0; len];
    argon2
        .hash_password_into_with_memory(password.expose().as_bytes(), salt, &mut bytes, &mut memory)
        .map_err(failed)?;
    Output::new(&bytes).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> HashFailed {
    HashFailed(error.to_string())
}

/// Why a password is not good enough, if it is not. `user` must not be all of it.
pub fn problem(password: &Secret<String>, user: &str) -> Option<FieldError> {
    let text = password.expose();
    let no = |error: String| Some(FieldError { field: "password".to_owned(), error });
    if text.len() > limits::PASSWORD_MAX_BYTES {
        return no(format!("has more than {} bytes", limits::PASSWORD_MAX_BYTES));
    }
    if text.chars().count() < limits::PASSWORD_MIN_CHARS {
        return no(format!("needs at least {} characters", limits::PASSWORD_MIN_CHARS));
    }
    let core = text.to_lowercase();
    let core = core.trim_matches(|c: char| !c.is_alphabetic());
    if core.is_empty() || COMMON.contains(&core) || core == user.to_lowercase() || one_character(text) {
        return no("is one of the first that somebody would try; choose a few unrelated words".to_owned());
    }
    None
}

fn one_character(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next();
    chars.all(|c| Some(c) == first)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[tokio::test]
    async fn the_right_password_opens_and_nothing_else_does() {
        let place = Passwords::new().unwrap().line_up(Caller::Known, Origin::of(None)).unwrap();
        let secret = |text: &str| Secret::new(text.to_owned());
        let stored = place.hash(secret("a long password of mine")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let check = |stored: Option<String>, text: &str| place.check(stored, secret(text));
        assert_eq!(check(Some(stored.clone()), "a long password of mine").await.unwrap(), Checked::Right);
        assert_eq!(check(Some(stored), "a long password of yours").await.unwrap(), Checked::Wrong);
        assert_eq!(check(None, "nobody has this password").await.unwrap(), Checked::Wrong);
        let old = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(check(Some(old.to_owned()), "x").await.unwrap(), Checked::Wrong);
    }

    #[test]
    fn nobody_fills_the_line_alone_and_it_is_no_longer_than_it_may_be() {
        let passwords = Passwords::new().unwrap();
        let of = |n: u32| Origin::of(Some(IpAddr::from(n.to_be_bytes())));
        let line_up = |n: u32| passwords.line_up(Caller::Stranger, of(n));
        let mut places: Vec<Place> = (0..limits::HASHES_WAITING_PER_ORIGIN).map(|_| line_up(1).unwrap()).collect();
        assert_eq!(line_up(1).unwrap_err(), Crowded);
        drop(places.pop());
        places.push(line_up(1).expect("who leaves makes room"));
        let more = u32::try_from(limits::HASHES_WAITING - limits::HASHES_WAITING_KEPT - places.len()).unwrap();
        places.extend((0..more).map(|n| line_up(2 + n).unwrap()));
        assert_eq!(line_up(0).unwrap_err(), Crowded);
        let known = |n: u32| passwords.line_up(Caller::Known, of(n));
        let kept = u32::try_from(limits::HASHES_WAITING_KEPT).unwrap();
        places.extend((0..kept).map(|n| known(1_000 + n).expect("some places are not for strangers")));
        assert_eq!(known(0).unwrap_err(), Crowded);
        drop(places);
        assert!(passwords.line.lock().unwrap().by_origin.is_empty());
        line_up(1).unwrap();
    }

    #[test]
    fn hashes_that_the_library_makes_are_read_and_ours_are_read_by_it() {
        use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
        let secret = Secret::new("a long password of mine".to_owned());
        let theirs = Argon2::default().hash_password(secret.expose().as_bytes()).unwrap().to_string();
        assert_eq!(check(&theirs, &secret).unwrap(), Checked::Right);
        let ours = hash(&secret).unwrap();
        Argon2::default().verify_password(secret.expose().as_bytes(), &*ours).unwrap();
        let cheap = Params::new(64, 1, 1, None).unwrap();
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
        let old = old.hash_password(secret.expose().as_bytes()).unwrap().to_string();
        assert_eq!(check(&old, &secret).unwrap(), Checked::RightButOld);
    }

    #[test]
    fn passwords_that_everybody_tries_are_refused() {
        let problem = |text: &str| problem(&Secret::new(text.to_owned()), "ops-lead");
        assert!(problem("short").unwrap().error.contains("at least 12"));
        for bad in ["Password1234!", "aaaaaaaaaaaaaa", "123456789012345", "Administrator1", "ops-lead2026"] {
            assert!(problem(bad).is_some(), "{bad}");
        }
        assert_eq!(problem("seven green kettles"), None);
    }
}
