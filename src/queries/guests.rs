//! Registered guests, and what guests left.

use std::{fs, io, path::PathBuf};

use crate::{
    auth::Who,
    crypt,
    domain::{
        Digest, GuestName, Phase, RunId, Timestamp,
        actor::ActorName,
        guest::{Artifact, GuestKind},
    },
    guest::{self, Form},
    store::{
        Fault, Find, Rows,
        record::{GuestTask, Left, PinnedGuest, Run},
        tables as t,
    },
};

use super::{Queries, Result, not_found};

/// A guest that stacks and tasks may name.
#[derive(Clone, Debug)]
pub struct GuestRow {
    pub name: GuestName,
    pub digest: Digest,
    pub kind: GuestKind,
    pub size: u64,
    pub interpreter: bool,
    /// What it does, for one that came with the binary.
    pub bundled: Option<&'static str>,
    /// When, and by whom; none for one that came with the binary.
    pub imported: Option<(Timestamp, ActorName)>,
    /// Stacks that name it.
    pub stacks: Vec<String>,
}

/// What a run may do: its guests, each with what it is asked.
#[derive(Clone, Debug, Default)]
pub struct RunGuests {
    pub pinned: Vec<PinnedGuest>,
    pub task: Option<GuestTask>,
}

/// One artifact, with the phase that left it.
#[derive(Clone, Debug)]
pub struct ArtifactRow {
    pub phase: Phase,
    pub artifact: Artifact,
    number: u32,
    n: usize,
}

impl Queries {
    /// Every guest by name. `who` sees of the stacks that name one only their own.
    pub fn guests(&self, who: &Who) -> Result<Vec<GuestRow>> {
        let view = self.view()?;
        let mut rows: Vec<GuestRow> = guest::BUNDLED.iter().filter_map(bundled).collect();
        for row in view.all(t::NAME_TO_GUEST, ""..="\u{10ffff}")? {
            rows.push(GuestRow {
                name: row.name,
                digest: row.digest,
                kind: row.kind,
                size: row.size,
                interpreter: row.interpreter,
                bundled: None,
                imported: Some((row.imported_at, row.imported_by)),
                stacks: Vec::new(),
            });
        }
        for stack in view.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)? {
            for (_, call) in stack.settings.vendor.guests().into_iter().filter(|_| super::sees(who, stack.id)) {
                let row = rows.iter_mut().find(|row| row.name == call.guest);
                if let Some(row) = row.filter(|row| row.stacks.last().map(String::as_str) != Some(stack.slug.as_str()))
                {
                    row.stacks.push(stack.slug.to_string());
                }
            }
        }
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(rows)
    }

    /// What the guests of a run left, in the order of its phases.
    pub fn left(&self, run: &Run) -> Result<Vec<Left>> {
        Ok(self.view()?.all(t::RUN_N_TO_LEFT, (run.seq, 0)..=(run.seq, u32::MAX))?)
    }

    /// The guests that a run uses.
    pub fn guests_of(&self, run: &Run) -> Result<RunGuests> {
        let guests = self.view()?.get(t::RUN_TO_GUESTS, run.seq)?.unwrap_or_default();
        Ok(RunGuests { pinned: guests.pinned, task: guests.task })
    }

    /// The artifacts of a run by path; of the same path the last one. None where their time was up.
    pub fn artifacts(&self, run: &Run) -> Result<Vec<ArtifactRow>> {
        let mut rows: Vec<ArtifactRow> = Vec::new();
        for left in self.left(run)?.into_iter().filter(|left| !left.expired) {
            for (n, artifact) in (1..).zip(left.artifacts) {
                rows.retain(|row| row.artifact.path != artifact.path);
                rows.push(ArtifactRow { phase: left.phase, artifact, number: left.number, n });
            }
        }
        rows.sort_by(|one, other| one.artifact.path.cmp(&other.artifact.path));
        Ok(rows)
    }

    /// An artifact's file.
    pub fn artifact(&self, who: &Who, id: RunId, path: &str) -> Result<(ArtifactRow, fs::File)> {
        let run = self.run(who, id)?;
        let row = self.artifacts(&run)?.into_iter().find(|row| row.artifact.path == path);
        let row = row.ok_or_else(|| not_found(format_args!("the artifact {path}")))?;
        let name = format!("{:02}-{}", row.number, row.n);
        Ok((row, self.open_left(id, &name)?))
    }

    /// The newest patch of a run, with what is in it; none where no guest left one.
    pub fn patch(&self, run: &Run) -> Result<Option<(Left, String)>> {
        let left = self.left(run)?.into_iter().rev().find(|left| left.patch.is_some() && !left.expired);
        let Some(left) = left else { return Ok(None) };
        let file = self.open_left(run.id, &format!("{:02}.patch", left.number))?;
        let text = io::read_to_string(file).map_err(|error| Fault::Io(error.to_string()))?;
        Ok(Some((left, text)))
    }

    /// The run whose changes a run was made of, where it may be seen.
    pub fn patched_by(&self, who: &Who, run: &Run) -> Result<Option<Run>> {
        let Some(patched) = &run.patched else { return Ok(None) };
        Ok(self.view()?.run(patched.run)?.filter(|run| super::sees(who, run.stack)))
    }

    fn open_left(&self, run: RunId, name: &str) -> Result<fs::File> {
        let path: PathBuf = self.data.join("artifacts").join(run.to_string()).join(name);
        fs::File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_found("the file"),
            _ => Fault::Io(format!("{}: {error}", path.display())).into(),
        })
    }
}

fn bundled(guest: &guest::Bundled) -> Option<GuestRow> {
    let kind = match Form::of(guest.code).ok()? {
        Form::Core => GuestKind::Core,
        Form::Component => GuestKind::Component,
    };
    Some(GuestRow {
        name: GuestName::new(guest.name).ok()?,
        digest: crypt::digest(guest.code),
        kind,
        size: guest.code.len() as u64,
        interpreter: false,
        bundled: Some(guest.about),
        imported: None,
        stacks: Vec::new(),
    })
}
