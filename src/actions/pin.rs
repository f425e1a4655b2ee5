//! Waiting runs are pinned to the commit that their branch stood for when they were made.
//!
//! A run that begins at once finds its commit as it fetches it. One that has to wait must not end up
//! with what was pushed meanwhile: its repository is asked while it waits. Where that fails, it says
//! so in its timeline, and is pinned when it prepares.

use ulid::Ulid;

use crate::{
    domain::{CommitSha, RunId, State, run::SourceVersion},
    store::{Error, Find, Flow, Order, Rows, record::Run, tables as t},
};

use super::{Actions, ToStart, claim, life, missing};

impl Actions {
    /// The runs made since `cursor` that wait without a commit; moves the cursor behind them.
    pub fn runs_to_pin(&self, cursor: &mut u64) -> Result<Vec<RunId>, Error> {
        let view = self.store.read()?;
        let mut found = Vec::new();
        view.walk(t::SEQ_TO_RUN, *cursor..=u64::MAX, Order::Up, |seq, run: Run| {
            if waits_unpinned(&run) {
                found.push(run.id);
            }
            *cursor = seq + 1;
            Ok(Flow::Continue(()))
        })?;
        Ok(found)
    }

    /// Where [`Actions::runs_to_pin`] begins after a start: at the oldest run that has not ended.
    pub fn pin_from(&self) -> Result<u64, Error> {
        let view = self.store.read()?;
        let oldest = view.all_active_runs()?.first().map(|run| run.seq);
        Ok(oldest.unwrap_or(0))
    }

    /// The chain that asks for a run's commit; none when the run needs it no more.
    pub fn to_look_up(&self, run: RunId) -> Result<Option<ToStart>, Error> {
        let view = self.store.read()?;
        let Some(run) = view.run(run)?.filter(waits_unpinned) else { return Ok(None) };
        let stack = view.stack(run.stack)?.ok_or_else(|| missing("the stack of the run"))?;
        let own = RunId::new(Ulid::generate());
        claim::looking_up_of(self, own, &view, (&run, &stack)).map(Some)
    }

    /// Pins a run that still waits, or has its timeline say why it is not pinned yet.
    pub async fn looked_up(&self, run: RunId, found: Result<CommitSha, String>) -> Result<(), Error> {
        self.system(move |tx, moment| {
            let Some(before) = tx.run(run)?.filter(waits_unpinned) else { return Ok(()) };
            let mut after = before.clone();
            match (&found, &mut after.source) {
                (Ok(found), SourceVersion::Git { commit, .. }) => *commit = Some(found.clone()),
                (Ok(_), SourceVersion::Upload { .. }) => return Ok(()),
                (Err(why), _) => {
                    let text = "its commit cannot be looked up yet; it is pinned to one when it prepares".to_owned();
                    life::remark(tx, moment, &mut after, text, Some(why.clone()))?;
                }
            }
            tx.put_run(Some(&before), &after)?;
            life::ring(tx, moment, &after);
            Ok(())
        })
        .await
    }
}

fn waits_unpinned(run: &Run) -> bool {
    let unpinned = matches!(run.source, SourceVersion::Git { commit: None, .. });
    unpinned && matches!(run.state, State::Queued | State::Ready)
}
