//! Testing a source before it is saved: a jail asks its repository which commit the branch stands for.

use std::{sync::PoisonError, time::Duration};

use tokio::sync::oneshot;
use ulid::Ulid;

use crate::{
    domain::{BranchName, CommitSha, Refused, RefusedKind, RunId, Slug, StackId, limits, stack::Source},
    protocol::GitFetch,
    store::{Error, Find as _, Rows as _, Snapshot, record::Credential, tables as t},
};

use super::{Actions, ToStart, claim, missing};

/// Tests that wait for a place at the same time.
const WAITING: usize = 16;
/// For the jail around what is asked, and for whoever is asked first.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);

/// A branch that somebody waits to hear about.
#[derive(Debug)]
pub struct Asked {
    pub chain: ToStart,
    answer: oneshot::Sender<Result<CommitSha, String>>,
}

impl Asked {
    pub fn answered(self, found: Result<CommitSha, String>) {
        // Whoever asked may have left.
        let _ = self.answer.send(found);
    }
}

impl Actions {
    /// What was tested of a source, and found good.
    pub async fn test_source(&self, source: &Source, stack: Option<StackId>) -> Result<String, Error> {
        let Source::Git { url, branch, credential, submodules, .. } = source else {
            return Err(
                Refused::invalid("only a git source can be tested; an upload is looked through as it comes").into()
            );
        };
        let view = self.store.read()?;
        let local = claim::local_repository(self, url)?;
        let slug = match stack {
            Some(stack) => view.stack(stack)?.ok_or_else(|| missing("the stack"))?.slug,
            None => Slug::new("new").expect("it is a slug"),
        };
        let git = match (credential, stack) {
            (None, _) => None,
            (Some(name), Some(stack)) => {
                let keys = self.keys.get();
                let wrong = |refused: Refused| Refused::field("source.credential", refused.detail);
                let found = claim::credential(&view, &keys, name, stack);
                Some(found.map_err(|error| match error {
                    Error::Refused(refused) => wrong(refused).into(),
                    fault @ Error::Fault(_) => fault,
                })?)
            }
            (Some(name), None) => return unbound(&view, name, branch),
        };
        let wanted =
            GitFetch { url: url.clone(), branch: branch.to_string(), commit: None, submodules: *submodules, local };
        drop(view);
        let own = RunId::new(Ulid::generate());
        let commit = self.ask(claim::looking_up(self, own, slug, wanted, git)).await?;
        Ok(format!("The repository is there, and {branch} is at {}", commit.short()))
    }

    async fn ask(&self, chain: ToStart) -> Result<CommitSha, Error> {
        let busy =
            || Refused::new(RefusedKind::Unavailable, "too many sources are being tested; try again in a minute");
        let (answer, heard) = oneshot::channel();
        {
            let mut asked = self.access.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.len() >= WAITING {
                return Err(busy().into());
            }
            asked.push(Asked { chain, answer });
        }
        self.live.ring_work();
        match tokio::time::timeout(limits::LOOK_UP_WALL + BEGINS_WITHIN, heard).await {
            Ok(Ok(found)) => Ok(found.map_err(|why| Refused::field("source.url", why))?),
            Ok(Err(_)) | Err(_) => Err(busy().into()),
        }
    }

    /// The branches that somebody waits to hear about, for whoever asks their repositories.
    pub fn take_asked(&self, most: usize) -> Vec<Asked> {
        let mut asked = self.access.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|one| !one.answer.is_closed());
        let most = most.min(asked.len());
        asked.drain(..most).collect()
    }
}

/// A credential goes to no address before it is bound to the stack.
fn unbound(view: &Snapshot, name: &str, branch: &BranchName) -> Result<String, Error> {
    let found: Option<Credential> = view.get(t::NAME_TO_CREDENTIAL, name)?;
    found.ok_or_else(|| missing(format_args!("the credential `{name}`")))?;
    Ok(format!(
        "The address is well formed and of a kind that is allowed. The credential {name} is stored; bind it to the \
         stack once that is made. Nothing was asked: the first run shows whether the branch {branch} is there"
    ))
}
