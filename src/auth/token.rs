//! Tokens: 256 random bits, shown once, stored as a hash.

use crate::{
    crypt::{self, Hasher, Secret},
    domain::KeyId,
    store::tables::TokenHash,
};

/// What API keys begin with.
const KEY_PREFIX: &str = "ak_";
/// What session tokens begin with.
const SESSION_PREFIX: &str = "as_";
/// What invitation tokens begin with.
const INVITATION_PREFIX: &str = "ai_";

/// What the one-off tokens of run tasks begin with.
const TASK_RESULT_PREFIX: &str = "art_";

/// A token and what is stored of it.
#[derive(Debug)]
pub struct Minted {
    pub token: Secret<String>,
    pub hash: TokenHash,
}

fn mint(prefix: &str) -> Minted {
    let token = Secret::new(format!("{prefix}{}", crypt::random_token().expose()));
    let hash = hash(token.expose());
    Minted { token, hash }
}

pub fn session() -> Minted {
    mint(SESSION_PREFIX)
}

pub fn invitation() -> Minted {
    mint(INVITATION_PREFIX)
}

/// For one call of one run task.
pub fn task_result() -> Minted {
    mint(TASK_RESULT_PREFIX)
}

/// A key's secret names the key, so that it can be looked up.
pub fn api_key(id: KeyId) -> Minted {
    mint(&format!("{KEY_PREFIX}{}_", &id.to_string()[KeyId::PREFIX.len() + 1..]))
}

pub fn hash(token: &str) -> TokenHash {
    let mut hasher = Hasher::new();
    hasher.update(token.as_bytes());
    hasher.finish()
}

/// What a presented token claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    Session,
    ApiKey(KeyId),
}

/// Tells tokens apart by their looks; proves nothing.
pub fn presented(token: &str) -> Option<Presented> {
    if token.len() > 256 {
        return None;
    }
    if token.starts_with(SESSION_PREFIX) {
        return Some(Presented::Session);
    }
    let (id, _) = token.strip_prefix(KEY_PREFIX)?.split_once('_')?;
    format!("{}_{id}", KeyId::PREFIX).parse().ok().map(Presented::ApiKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_itself_and_a_session_does_not() {
        let id = KeyId::from_number(77);
        assert_eq!(presented(api_key(id).token.expose()), Some(Presented::ApiKey(id)));
        assert_eq!(presented(session().token.expose()), Some(Presented::Session));
        assert_eq!(presented("ak_nonsense"), None);
        assert_eq!(presented(""), None);
    }
}
