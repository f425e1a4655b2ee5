//! Stacks and what belongs to them.

use std::collections::HashMap;

use crate::{
    auth::Who,
    domain::{Kind, Label, Slug, StackId, StackName, State},
    store::{
        Fault, Find, Flow, Order, Rows, Snapshot,
        record::{File, Run, Stack, Upload, Variable},
        tables as t,
    },
};

use super::{Queries, Result, not_found, sees};

/// A stack with the run whose state is the stack's.
#[derive(Clone, Debug)]
pub struct StackRow {
    pub stack: Stack,
    /// Its newest tracked or destroy run.
    pub latest: Option<Run>,
    /// The deployment that has the stack to itself: others wait behind it.
    pub holder: Option<Run>,
    /// The newest run of any kind, of a stack that was never deployed.
    pub other: Option<Run>,
    /// A run of it was lost while it changed something, and nobody acknowledged it.
    pub lost: bool,
    pub group: StackGroup,
}

/// Where lists show a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StackGroup {
    NeedsAttention,
    InProgress,
    Failed,
    OnHold,
    Finished,
    NeverRun,
}

impl StackGroup {
    pub const ALL: [Self; 6] =
        [Self::NeedsAttention, Self::InProgress, Self::Failed, Self::OnHold, Self::Finished, Self::NeverRun];

    pub const fn word(self) -> &'static str {
        match self {
            Self::NeedsAttention => "needs_attention",
            Self::InProgress => "in_progress",
            Self::Failed => "failed",
            Self::OnHold => "on_hold",
            Self::Finished => "finished",
            Self::NeverRun => "never_run",
        }
    }

    fn of(current: Option<&Run>, lost: bool) -> Self {
        match current.map(|run| run.state) {
            _ if lost => Self::NeedsAttention,
            Some(State::Unconfirmed | State::PendingReview) => Self::NeedsAttention,
            Some(state) if state.is_active() => Self::InProgress,
            Some(State::Failed) => Self::Failed,
            Some(State::Queued | State::Ready | State::Confirmed | State::ReplanRequested) => Self::OnHold,
            Some(
                State::Finished | State::Discarded | State::Canceled | State::Stopped | State::Skipped
                // Active states were taken care of above.
                | State::Preparing | State::Initializing | State::Planning | State::Checking
                | State::PreparingApply | State::Applying | State::Performing | State::Destroying,
            ) => Self::Finished,
            None => Self::NeverRun,
        }
    }
}

impl StackRow {
    /// The run whose state is the stack's: whoever looks at a stack wants to know of the run that asks
    /// for a person, not of the one that is queued behind it.
    pub fn current(&self) -> Option<&Run> {
        self.holder.as_ref().or(self.latest.as_ref())
    }
}

/// Which stacks a list shows. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StackFilter {
    pub group: Option<StackGroup>,
    pub state: Option<State>,
    pub label: Option<Label>,
    /// A part of name, slug or description.
    pub words: String,
}

impl Queries {
    /// A stack that the actor may see.
    pub fn stack(&self, who: &Who, slug: &Slug) -> Result<Stack> {
        let stack = self.view()?.stack_by_slug(slug)?.filter(|stack| sees(who, stack.id));
        stack.ok_or_else(|| not_found(format_args!("the stack `{slug}`")))
    }

    pub fn stack_row(&self, who: &Who, slug: &Slug) -> Result<StackRow> {
        let view = self.view()?;
        let stack = view.stack_by_slug(slug)?.filter(|stack| sees(who, stack.id));
        let lost = lost_stacks(&view)?;
        Ok(row(&view, stack.ok_or_else(|| not_found(format_args!("the stack `{slug}`")))?, &lost)?)
    }

    /// Every stack that the actor may see and that fits, by name.
    pub fn stacks(&self, who: &Who, filter: &StackFilter) -> Result<Vec<StackRow>> {
        let view = self.view()?;
        let lost = lost_stacks(&view)?;
        let mut rows = Vec::new();
        for stack in visible_stacks(&view, who)? {
            if !filter.fits(&stack) {
                continue;
            }
            let row = row(&view, stack, &lost)?;
            let state = row.current().map(|run| run.state);
            if filter.group.is_none_or(|group| group == row.group) && (filter.state.is_none() || filter.state == state)
            {
                rows.push(row);
            }
        }
        rows.sort_by_cached_key(|row| row.stack.settings.name.as_str().to_lowercase());
        Ok(rows)
    }

    pub fn variables(&self, who: &Who, slug: &Slug) -> Result<Vec<Variable>> {
        let id = self.stack(who, slug)?.id.number();
        Ok(self.view()?.all(t::STACK_NAME_TO_VARIABLE, (id, "")..(id + 1, ""))?)
    }

    pub fn files(&self, who: &Who, slug: &Slug) -> Result<Vec<File>> {
        let id = self.stack(who, slug)?.id.number();
        Ok(self.view()?.all(t::STACK_PATH_TO_FILE, (id, "")..(id + 1, ""))?)
    }

    /// The newest first.
    pub fn uploads(&self, who: &Who, slug: &Slug) -> Result<Vec<Upload>> {
        let id = self.stack(who, slug)?.id.number();
        let mut uploads: Vec<Upload> = self.view()?.all(t::STACK_SEQ_TO_UPLOAD, (id, 0)..=(id, u64::MAX))?;
        uploads.reverse();
        Ok(uploads)
    }

    /// The names of stacks, as far as they still exist.
    pub fn stack_names(&self, ids: impl IntoIterator<Item = StackId>) -> Result<HashMap<StackId, StackName>> {
        let view = self.view()?;
        let mut names = HashMap::new();
        for id in ids {
            if !names.contains_key(&id)
                && let Some(stack) = view.stack(id)?
            {
                names.insert(id, stack.settings.name);
            }
        }
        Ok(names)
    }

    /// A stack by its id, for whoever may see one of its runs; none when it was deleted.
    pub fn stack_of(&self, id: StackId) -> Result<Option<Stack>> {
        Ok(self.view()?.stack(id)?)
    }

    /// Runs of a stack that have not ended.
    pub fn active_runs(&self, who: &Who, stack: StackId) -> Result<Vec<Run>> {
        if !sees(who, stack) {
            return Err(not_found("the stack"));
        }
        Ok(self.view()?.active_runs(stack)?)
    }

    /// The slug of a stack by its id, for lists of roles; none when it was deleted.
    pub fn slug_of(&self, id: StackId) -> Result<Option<Slug>> {
        Ok(self.view()?.stack(id)?.map(|stack| stack.slug))
    }

    /// The id of a stack by its slug, whoever asks. For input of admins.
    pub fn stack_id(&self, slug: &Slug) -> Result<Option<StackId>> {
        Ok(self.view()?.stack_by_slug(slug)?.map(|stack| stack.id))
    }
}

pub(super) fn visible_stacks(view: &Snapshot, who: &Who) -> std::result::Result<Vec<Stack>, Fault> {
    match who.visible() {
        None => view.all(t::STACK_ID_TO_STACK, 0..=u128::MAX),
        Some(mut ids) => {
            ids.sort_unstable();
            ids.dedup();
            let mut stacks = Vec::new();
            for id in ids {
                stacks.extend(view.stack(id)?);
            }
            Ok(stacks)
        }
    }
}

/// Stacks with a lost run that nobody acknowledged.
pub(super) fn lost_stacks(view: &Snapshot) -> std::result::Result<Vec<StackId>, Fault> {
    Ok(super::home::unacknowledged(view)?.into_iter().map(|run| run.stack).collect())
}

pub(super) fn row(view: &Snapshot, stack: Stack, lost: &[StackId]) -> std::result::Result<StackRow, Fault> {
    let latest = stack.latest_tracked.map(|id| view.run(id)).transpose()?.flatten();
    // One that was canceled while it waited says as little of the stack as one that still waits.
    let beside = latest.as_ref().is_some_and(|run| !run.state.is_past_queue());
    let holder = if beside { holder(view, stack.id)? } else { None };
    let other = if latest.is_none() && stack.runs > 0 { newest(view, stack.id)? } else { None };
    let lost = lost.contains(&stack.id);
    let group = StackGroup::of(holder.as_ref().or(latest.as_ref()), lost);
    Ok(StackRow { stack, latest, holder, other, lost, group })
}

/// The deployment that is past the queue: there is at most one.
fn holder(view: &Snapshot, stack: StackId) -> std::result::Result<Option<Run>, Fault> {
    let deploys = |run: &Run| matches!(run.kind, Kind::Tracked | Kind::Destroy) && run.state.is_past_queue();
    Ok(view.active_runs(stack)?.into_iter().find(deploys))
}

fn newest(view: &Snapshot, stack: StackId) -> std::result::Result<Option<Run>, Fault> {
    let id = stack.number();
    let mut seqs = Vec::new();
    view.walk_index(t::STACK_RUN, (id, 0)..=(id, u64::MAX), Order::Down, |(_, seq)| {
        seqs.push(seq);
        Ok(Flow::Break(()))
    })?;
    Ok(view.runs_of(&seqs)?.pop())
}

impl StackFilter {
    fn fits(&self, stack: &Stack) -> bool {
        let text = format!("{} {} {}", stack.settings.name, stack.slug, stack.settings.description).to_lowercase();
        self.label.as_ref().is_none_or(|label| stack.settings.labels.contains(label))
            && self.words.to_lowercase().split_whitespace().all(|word| text.contains(word))
    }
}
