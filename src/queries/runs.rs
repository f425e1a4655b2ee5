//! One run, and lists of runs.

use std::collections::BTreeSet;

use crate::{
    auth::Who,
    crypt,
    domain::{Changes, Kind, Look, Refused, RunId, StackId, State, Timestamp, limits},
    manifest::DeclaredTask,
    store::{
        Fault, Find, Flow, Order, Rows, Snapshot,
        record::{Comment, HistoryEntry, Left, Remark, Review, Run, RunRuntime, Standing},
        tables as t,
    },
};

use super::{
    Queries, Result, not_found,
    run_tasks::{StageDetail, stages_of},
    sees,
};

/// A run with everything that its page shows.
#[derive(Clone, Debug)]
pub struct RunDetail {
    pub run: Run,
    pub history: Vec<HistoryEntry>,
    /// What else happened to it.
    pub remarks: Vec<Remark>,
    pub comments: Vec<Comment>,
    /// In the order in which they were given.
    pub reviews: Vec<Review>,
    /// Where the run stands with its approval policies, while it waits for them.
    pub standing: Option<Standing>,
    /// Bytes of each phase's log, now.
    pub log_bytes: Vec<u64>,
    /// What its guests left, in the order of its phases.
    pub left: Vec<Left>,
    /// What run tasks said, stage by stage.
    pub stages: Vec<StageDetail>,
    /// What its declared task may do, once the source was read.
    pub declared: Option<DeclaredTask>,
    /// What it was configured with and used.
    pub runtime: Option<RunRuntime>,
    /// The stack still exists.
    pub stack: Option<crate::store::record::Stack>,
}

/// Which runs a list shows. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RunFilter {
    pub stack: Option<StackId>,
    pub kinds: Vec<Kind>,
    pub states: Vec<State>,
    pub look: Option<Look>,
    /// `user:alice`
    pub actor: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Words out of message, command, commit or number.
    pub words: String,
}

/// Where a list goes on. Only fits the filter that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    seq: u64,
    filter: u32,
}

/// A part of a list, the newest first.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<Cursor>,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:08x}", self.seq, self.filter)
    }
}

impl std::str::FromStr for Cursor {
    type Err = Refused;

    fn from_str(text: &str) -> std::result::Result<Self, Refused> {
        text.split_once('-')
            .and_then(|(seq, filter)| {
                let seq = u64::from_str_radix(seq, 16).ok()?;
                Some(Self { seq, filter: u32::from_str_radix(filter, 16).ok()? })
            })
            .ok_or_else(|| Refused::field("cursor", "is not one that this list gave out"))
    }
}

impl Cursor {
    pub(super) fn new(seq: u64, filter: &impl std::fmt::Debug) -> Self {
        Self { seq, filter: fingerprint(filter) }
    }

    /// The sequence number to go on below, if the cursor fits the filter.
    pub(super) fn below(&self, filter: &impl std::fmt::Debug) -> std::result::Result<u64, Refused> {
        if self.filter == fingerprint(filter) {
            return Ok(self.seq);
        }
        Err(Refused::field("cursor", "belongs to a list with other filters; begin again without it"))
    }
}

fn fingerprint(filter: &impl std::fmt::Debug) -> u32 {
    let digest = crypt::digest(format!("{filter:?}").as_bytes());
    u32::from_str_radix(&digest.digits()[..8], 16).unwrap_or_default()
}

impl Queries {
    /// A run that the actor may see.
    pub fn run(&self, who: &Who, id: RunId) -> Result<Run> {
        let run = self.view()?.run(id)?.filter(|run| sees(who, run.stack));
        run.ok_or_else(|| not_found(format_args!("the run {id}")))
    }

    pub fn run_detail(&self, who: &Who, id: RunId) -> Result<RunDetail> {
        self.detail_of(self.run(who, id)?)
    }

    /// A run that was read before, with everything that belongs to it.
    pub fn detail_of(&self, run: Run) -> Result<RunDetail> {
        let view = self.view()?;
        let log_bytes = run.phases.iter().map(|phase| self.log_bytes(&run, phase));
        Ok(RunDetail {
            log_bytes: log_bytes.collect::<Result<_>>()?,
            history: view.all(t::RUN_N_TO_HISTORY, (run.seq, 0)..=(run.seq, u32::MAX))?,
            remarks: view.all(t::RUN_N_TO_REMARK, (run.seq, 0)..=(run.seq, u32::MAX))?,
            comments: view.all(t::RUN_N_TO_COMMENT, (run.seq, 0)..=(run.seq, u32::MAX))?,
            reviews: view.all(t::RUN_N_TO_REVIEW, (run.seq, 0)..=(run.seq, u32::MAX))?,
            standing: standing_of(&view, &run)?,
            left: view.all(t::RUN_N_TO_LEFT, (run.seq, 0)..=(run.seq, u32::MAX))?,
            stages: stages_of(&view, &run)?,
            declared: self.declared_by(&run)?,
            runtime: view.get(t::RUN_TO_RUNTIME, run.seq)?,
            stack: view.stack(run.stack)?,
            run,
        })
    }

    /// What the run's plan would change; none when it has not planned.
    pub fn changes(&self, who: &Who, id: RunId) -> Result<Option<Changes>> {
        let run = self.run(who, id)?;
        Ok(self.view()?.get(t::RUN_TO_CHANGES, run.seq)?.map(|changes| changes.read()).transpose()?)
    }

    /// Who has triggered runs, as `user:alice`; nobody for those who do not see every stack.
    pub fn actors(&self, who: &Who) -> Result<Vec<String>> {
        let view = self.view()?;
        let mut actors: Vec<String> = Vec::new();
        while who.visible().is_none() && actors.len() < limits::LIST_MAX {
            let after = actors.last().map_or(String::new(), |last| format!("{last}\0"));
            let mut next = None;
            view.walk_index(t::ACTOR_RUN, (after.as_str(), 0).., Order::Up, |(actor, _)| {
                next = Some(actor.to_owned());
                Ok(Flow::Break(()))
            })?;
            match next {
                Some(actor) => actors.push(actor),
                None => break,
            }
        }
        Ok(actors)
    }

    /// A part of a list of runs.
    pub fn runs(&self, who: &Who, filter: &RunFilter, cursor: Option<&Cursor>, limit: usize) -> Result<Page<Run>> {
        let below = cursor.map(|cursor| cursor.below(filter)).transpose()?.unwrap_or(u64::MAX);
        let mut listing = Listing { view: self.view()?, filter, limit, found: Vec::new(), scanned: 0, last: None };
        match (filter.stack, who.visible()) {
            (Some(stack), _) if sees(who, stack) => listing.of_stack(stack, below)?,
            (Some(_), _) => return Err(not_found("the stack")),
            (None, Some(stacks)) => listing.of_stacks(&stacks, below)?,
            (None, None) => listing.of_all(below)?,
        }
        let next = listing.last.map(|seq| Cursor::new(seq, filter));
        Ok(Page { items: listing.found, next })
    }
}

struct Listing<'a> {
    view: Snapshot,
    filter: &'a RunFilter,
    limit: usize,
    found: Vec<Run>,
    scanned: usize,
    /// Where to go on, once the page is full or enough was looked at.
    last: Option<u64>,
}

impl Listing<'_> {
    fn of_stack(&mut self, stack: StackId, below: u64) -> Result<()> {
        let seqs = self.seqs_of(stack, below)?;
        self.keep(seqs)
    }

    /// The newest of several stacks' runs.
    fn of_stacks(&mut self, stacks: &[StackId], below: u64) -> Result<()> {
        let mut seqs = BTreeSet::new();
        for stack in stacks {
            seqs.extend(self.seqs_of(*stack, below)?);
        }
        self.keep(seqs.into_iter().rev().collect())
    }

    fn of_all(&mut self, below: u64) -> Result<()> {
        let mut seqs = Vec::new();
        let mut take = |seq: u64| {
            seqs.push(seq);
            Ok(if seqs.len() > limits::SCAN_ROWS { Flow::Break(()) } else { Flow::Continue(()) })
        };
        let filter = self.filter;
        match (filter.look, filter.kinds.as_slice(), &filter.actor) {
            (Some(look), _, _) => {
                let of = look as u8;
                self.view.walk_index(t::LOOK_RUN, (of, 0)..(of, below), Order::Down, |(_, seq)| take(seq))?;
            }
            (None, _, Some(actor)) => {
                let of = actor.as_str();
                self.view.walk_index(t::ACTOR_RUN, (of, 0)..(of, below), Order::Down, |(_, seq)| take(seq))?;
            }
            (None, [kind], None) => {
                let of = *kind as u8;
                self.view.walk_index(t::KIND_RUN, (of, 0)..(of, below), Order::Down, |(_, seq)| take(seq))?;
            }
            (None, _, None) => return self.scan(below),
        }
        self.keep(seqs)
    }

    fn scan(&mut self, below: u64) -> Result<()> {
        // Runs are looked at a handful at a time, so that the first page stays as cheap as it looks.
        let mut top = below;
        loop {
            let batch = self.batch(top)?;
            let Some(last) = batch.last().map(|run| run.seq) else { return Ok(()) };
            for run in batch {
                if self.see(run).is_break() {
                    return Ok(());
                }
            }
            top = last;
        }
    }

    fn batch(&self, below: u64) -> std::result::Result<Vec<Run>, Fault> {
        let mut runs = Vec::with_capacity(limits::PAGE_ROWS + 1);
        self.view.walk(t::SEQ_TO_RUN, 0..below, Order::Down, |_, run| {
            runs.push(run);
            Ok(if runs.len() > limits::PAGE_ROWS { Flow::Break(()) } else { Flow::Continue(()) })
        })?;
        Ok(runs)
    }

    fn seqs_of(&self, stack: StackId, below: u64) -> std::result::Result<Vec<u64>, Fault> {
        let of = stack.number();
        let mut seqs = Vec::new();
        self.view.walk_index(t::STACK_RUN, (of, 0)..(of, below), Order::Down, |(_, seq)| {
            seqs.push(seq);
            Ok(if seqs.len() > limits::SCAN_ROWS { Flow::Break(()) } else { Flow::Continue(()) })
        })?;
        Ok(seqs)
    }

    fn keep(&mut self, seqs: Vec<u64>) -> Result<()> {
        for seq in seqs {
            if let Some(run) = self.view.get(t::SEQ_TO_RUN, seq)?
                && self.see(run).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    /// Looks at one run; says whether the page goes on.
    fn see(&mut self, run: Run) -> Flow {
        if self.found.len() == self.limit || self.scanned == limits::SCAN_ROWS {
            self.last = Some(run.seq + 1);
            return Flow::Break(());
        }
        self.scanned += 1;
        if self.filter.fits(&run) {
            self.found.push(run);
        }
        Flow::Continue(())
    }
}

/// What the approval policies said about the run as it is now.
pub(super) fn standing_of(view: &Snapshot, run: &Run) -> std::result::Result<Option<Standing>, Fault> {
    Ok(view.get(t::RUN_TO_STANDING, run.seq)?.filter(|standing: &Standing| standing.is_about(run)))
}

impl RunFilter {
    fn fits(&self, run: &Run) -> bool {
        let actor = format!("{}:{}", run.triggered_by.kind.word(), run.triggered_by.name);
        (self.kinds.is_empty() || self.kinds.contains(&run.kind))
            && (self.states.is_empty() || self.states.contains(&run.state))
            && self.look.is_none_or(|look| run.state.look() == look)
            && self.actor.as_ref().is_none_or(|wanted| *wanted == actor)
            && self.from.is_none_or(|from| run.created_at >= from)
            && self.to.is_none_or(|to| run.created_at < to)
            && self.words.split_whitespace().all(|word| mentions(run, word))
    }
}

fn mentions(run: &Run, word: &str) -> bool {
    let word = word.to_lowercase();
    let texts = [
        run.message.as_ref().map(ToString::to_string),
        run.command.clone(),
        run.source.commit().map(ToString::to_string),
        Some(format!("#{}", run.number)),
        Some(run.slug.to_string()),
        Some(run.triggered_by.name.clone()),
        Some(run.id.to_string()),
    ];
    texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&word))
}
