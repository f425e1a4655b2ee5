//! Tokens of running declared tasks: short, and limited to what the declaration authorizes.

use std::time::Duration;

use crate::{
    auth::who,
    crypt::{self, Secret},
    domain::{Refused, RefusedKind, RunId, run::Kind},
    store::{Error, Find as _, Rows, tables as t},
};

use super::{Actions, SignedIn, vault};

pub use crate::protocol::WORKLOAD_HEADER;

impl Actions {
    /// A token for the task whose runner shows this secret.
    pub async fn workload_token(&self, secret: &Secret<String>, life: Duration) -> Result<SignedIn, Error> {
        let unknown = || Refused::new(RefusedKind::Unauthenticated, "no running task asks here");
        let run = self.run_of(secret)?.ok_or_else(unknown)?;
        let who = who::of_run(&self.store.read()?, run)?.ok_or_else(unknown)?;
        self.exchange(who, life).await
    }

    /// Whose runner holds this secret.
    fn run_of(&self, secret: &Secret<String>) -> Result<Option<RunId>, Error> {
        let view = self.store.read()?;
        let (keys, mut found) = (self.keys.get(), None);
        for run in view.all_active_runs()?.into_iter().filter(|run| run.kind == Kind::OnDemand) {
            let secrets = view.get(t::RUN_TO_SECRETS, run.seq)?.unwrap_or_default();
            let Some(sealed) = secrets.workload else { continue };
            let own = vault::workload(run.id).open_text(&keys, &sealed)?;
            if crypt::same(own.expose().as_bytes(), secret.expose().as_bytes()) {
                found = Some(run.id);
            }
        }
        Ok(found)
    }
}
