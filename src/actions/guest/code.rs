//! From a guest's name to its code.

use std::path::{Path, PathBuf};

use crate::{
    crypt::{self, Keyring, Purpose, Secret},
    domain::{Digest, GuestName, Refused},
    guest,
    protocol::GuestCode,
    store::{Error, Fault, Rows, record::PinnedGuest, tables as t},
};

/// The guest that has a name at the moment: one that somebody imported, else one that came with the
/// binary.
pub(crate) fn find(view: &impl Rows, name: &GuestName) -> Result<Option<PinnedGuest>, Fault> {
    if let Some(row) = view.get(t::NAME_TO_GUEST, name.as_str())? {
        let interpreter = row.interpreter;
        return Ok(Some(PinnedGuest { name: row.name, digest: row.digest, bundled: false, interpreter }));
    }
    Ok(guest::bundled(name.as_str()).map(|found| PinnedGuest {
        name: name.clone(),
        digest: crypt::digest(found.code),
        bundled: true,
        interpreter: false,
    }))
}

/// The same, or the refusal that says what to do.
pub(crate) fn wanted(view: &impl Rows, name: &GuestName, field: &str) -> Result<PinnedGuest, Error> {
    find(view, name)?.ok_or_else(|| {
        let why = format!("there is no guest `{name}`; an admin can import one: `airlock guest import`");
        Refused::field(field, why).into()
    })
}

/// Where the runner finds the code of a pinned guest.
pub(crate) fn code(data: &Path, pinned: &PinnedGuest) -> Result<GuestCode, Refused> {
    if !pinned.bundled {
        return Ok(GuestCode::Registered { path: file(data, &pinned.digest), digest: pinned.digest.clone() });
    }
    let name = pinned.name.as_str();
    match guest::bundled(name) {
        Some(found) if crypt::digest(found.code) == pinned.digest => Ok(GuestCode::Bundled { name: name.to_owned() }),
        Some(_) | None => Err(Refused::conflict(format!(
            "the guest `{name}` is not the one that this run began with; start a new run"
        ))),
    }
}

pub(crate) fn dir(data: &Path) -> PathBuf {
    data.join("guests")
}

pub(crate) fn file(data: &Path, digest: &Digest) -> PathBuf {
    dir(data).join(format!("{}.wasm", digest.digits()))
}

/// Where compiled guests are kept.
pub(crate) fn cache(data: &Path) -> PathBuf {
    data.join("cache").join("guests")
}

/// What authenticates compiled guests.
pub(crate) fn key(keys: &Keyring) -> Secret<Vec<u8>> {
    keys.derive(Purpose::CompiledGuest, b"guests").to_secret()
}
