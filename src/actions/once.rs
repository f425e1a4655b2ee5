//! `Idempotency-Key`: the same request twice creates one thing.

use crate::{
    crypt::Hasher,
    domain::{Digest, Refused, Timestamp, limits},
    store::{Error, Fault, Rows, Tx, record::Idempotent, tables as t},
};

/// A key that the caller chose, and a fingerprint of what they asked for with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Actor and key.
    key: String,
    request: [u8; 32],
}

impl Once {
    /// `key` is what the header held; `request` what was asked for with it: path and body.
    pub fn new(actor: &str, key: &str, request: &[&[u8]]) -> Result<Self, Refused> {
        let fits =
            !key.is_empty() && key.len() <= limits::IDEMPOTENCY_CHARS && key.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            return Err(Refused::field(
                "Idempotency-Key",
                format!("must be 1 to {} printable characters without blanks", limits::IDEMPOTENCY_CHARS),
            ));
        }
        let mut hasher = Hasher::new();
        for part in request {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Ok(Self { key: format!("{actor} {key}"), request: hasher.finish() })
    }

    /// What was created under this key before.
    pub(crate) fn seen(&self, view: &impl Rows, now: Timestamp) -> Result<Option<String>, Error> {
        let Some(found) = view.get(t::KEY_TO_IDEMPOTENT, self.key.as_str())? else { return Ok(None) };
        if now >= found.expires_at {
            return Ok(None);
        }
        if found.request != self.request {
            return Err(
                Refused::conflict("this Idempotency-Key was used for a different request; choose another").into()
            );
        }
        Ok(Some(found.created))
    }

    /// For what is shown only once: refuses a repetition, and remembers what was created.
    pub(crate) fn only_once(&self, tx: &Tx<'_>, created: &str, now: Timestamp) -> Result<(), Error> {
        match self.seen(tx, now)? {
            Some(before) => {
                let why =
                    format!("this Idempotency-Key made {before} before; what is secret about it is shown only once");
                Err(Refused::conflict(why).into())
            }
            None => self.remember(tx, created, now),
        }
    }

    /// As [`Once::remember`], for what was looked up before the transaction: refuses what another
    /// request with the key has made meanwhile.
    pub(crate) fn remember_first(&self, tx: &Tx<'_>, created: &str, now: Timestamp) -> Result<(), Error> {
        match self.seen(tx, now)? {
            Some(_) => Err(Refused::conflict("another request with this Idempotency-Key was faster; try again").into()),
            None => self.remember(tx, created, now),
        }
    }

    /// As [`Once::remember_first`], for what has a name and may be replaced: [`Once::imported`] finds it again.
    pub(crate) fn remember_import(
        &self,
        tx: &Tx<'_>,
        name: &str,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.remember_first(tx, &format!("{name} {digest}"), now)
    }

    /// What was imported under this key before, out of what has such a name now. What was removed or replaced
    /// since is not what the same request made.
    pub(crate) fn imported<V: Rows, T>(
        &self,
        view: &V,
        now: Timestamp,
        find: impl FnOnce(&V, &str) -> Result<Option<T>, Fault>,
        digest: impl FnOnce(&T) -> &Digest,
    ) -> Result<Option<T>, Error> {
        let Some(made) = self.seen(view, now)? else { return Ok(None) };
        let (name, imported) = made.split_once(' ').unwrap_or((&made, ""));
        let since = match find(view, name)? {
            None => "removed",
            Some(found) if imported.is_empty() || digest(&found).to_string() == imported => return Ok(Some(found)),
            Some(_) => "replaced",
        };
        let why = format!("this Idempotency-Key imported `{name}`, which was {since} since; choose another");
        Err(Refused::conflict(why).into())
    }

    pub(crate) fn remember(&self, tx: &Tx<'_>, created: &str, now: Timestamp) -> Result<(), Error> {
        let row = Idempotent {
            request: self.request.to_vec(),
            created: created.to_owned(),
            expires_at: now.plus(limits::IDEMPOTENCY),
        };
        Ok(tx.put(t::KEY_TO_IDEMPOTENT, self.key.as_str(), &row)?)
    }
}
