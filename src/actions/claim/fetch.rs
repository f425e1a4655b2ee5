//! Where a run's source comes from, and what it asks for.

use std::path::PathBuf;

use super::{
    ToStart,
    apart::{Apart, no_secrets},
};
use crate::{
    actions::{Actions, missing, vault},
    crypt::Keyring,
    domain::{Refused, RunId, Slug, StackId, run::SourceVersion, stack::Source},
    protocol::{ChainSecrets, Fetch, GitCredential, GitFetch, Step},
    source::git::{self, Address},
    store::{
        Error, Rows,
        record::{Credential, CredentialKind, Run, Stack},
        tables as t,
    },
};

pub(super) fn fetch(actions: &Actions, run: &Run, stack: &Stack) -> Result<Fetch, Error> {
    match (&run.source, &stack.settings.source) {
        (SourceVersion::Upload { digest }, _) => {
            Ok(Fetch::Upload { path: actions.upload_path(digest), digest: digest.clone() })
        }
        (SourceVersion::Git { branch, commit }, Some(Source::Git { url, submodules, .. })) => {
            Ok(Fetch::Git(GitFetch {
                url: url.clone(),
                branch: branch.to_string(),
                commit: commit.clone(),
                submodules: *submodules,
                local: local_repository(actions, url)?,
            }))
        }
        (SourceVersion::Git { .. }, _) => {
            Err(Refused::conflict("the stack's source is not a git repository any more").into())
        }
    }
}

/// The directory that a local address names, if the operator lists it.
pub(in crate::actions) fn local_repository(actions: &Actions, url: &str) -> Result<Option<PathBuf>, Error> {
    let refused = |error: git::AddressError| Refused::field("source.url", error.to_string());
    match Address::parse(url).map_err(refused)? {
        Address::Local(path) => Ok(Some(git::local_repository(&path, &actions.setup.local_sources).map_err(refused)?)),
        Address::Https(_) | Address::Ssh(_) => Ok(None),
    }
}

pub(super) fn git_credential(view: &impl Rows, keys: &Keyring, stack: &Stack) -> Result<Option<GitCredential>, Error> {
    let Some(Source::Git { credential: Some(name), .. }) = &stack.settings.source else { return Ok(None) };
    credential(view, keys, name, stack.id).map(Some)
}

/// A stored credential, for a stack that it is bound to.
pub(in crate::actions) fn credential(
    view: &impl Rows,
    keys: &Keyring,
    name: &str,
    stack: StackId,
) -> Result<GitCredential, Error> {
    let row: Credential = view
        .get(t::NAME_TO_CREDENTIAL, name)?
        .ok_or_else(|| Refused::conflict(format!("the credential `{name}` does not exist any more")))?;
    if !row.stacks.contains(&stack) {
        let why = format!("the credential `{name}` is not bound to this stack; an admin can bind it");
        return Err(Refused::conflict(why).into());
    }
    let secret = vault::credential(&row.name).open_text(keys, &row.sealed)?;
    Ok(match row.kind {
        CredentialKind::Https => GitCredential::Https { user: row.user, token: secret },
        CredentialKind::Ssh => GitCredential::Ssh { private_key: secret, known_hosts: row.known_hosts },
    })
}

/// The chain that looks up what the branch of a waiting run stands for. `own` names it.
pub(in crate::actions) fn looking_up_of(
    actions: &Actions,
    own: RunId,
    view: &impl Rows,
    (run, stack): (&Run, &Stack),
) -> Result<ToStart, Error> {
    let Fetch::Git(wanted) = fetch(actions, run, stack)? else { return Err(missing("a branch")) };
    let git = git_credential(view, &actions.keys.get(), stack)?;
    Ok(looking_up(actions, own, stack.slug.clone(), wanted, git))
}

/// The chain that looks up what a branch stands for.
pub(in crate::actions) fn looking_up(
    actions: &Actions,
    own: RunId,
    slug: Slug,
    wanted: GitFetch,
    git: Option<GitCredential>,
) -> ToStart {
    Apart {
        own,
        slug,
        user: actions.setup.apart_uid(),
        steps: vec![Step::LookUp(wanted)],
        secrets: ChainSecrets { git, ..no_secrets() },
    }
    .chain(actions)
}
