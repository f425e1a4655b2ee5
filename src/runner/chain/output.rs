//! `/output` of a native task that serves others as a run task: fresh, counted with the workspace, and
//! gone at the end but for the outcomes that were left in it, without secrets.

use std::io::Write as _;

use rustix::fs::OFlags;

use super::{Chain, desk::Desk};
use crate::{
    crypt::digest,
    domain::{Phase, limits, verdict::bytes},
    protocol::{Artifact, Bind, Shell, file, guest_path},
    runner::fault::Fault,
};

impl Chain {
    /// Makes it where the phase is to have one.
    pub(super) fn open_output(&self, shell: &Shell) -> Result<Option<Bind>, Fault> {
        let wanted = self.spec.demand.as_ref().is_some_and(|demand| demand.output);
        if !wanted || shell.phase != Phase::Performing || !self.confined() {
            return Ok(None);
        }
        self.tree()?.make_output()?;
        let host = self.tools.dir.file_path(file::TREE).join(file::OUTPUT);
        Ok(Some(Bind { writable: true, ..Bind::read_only(host, guest_path::OUTPUT.into()) }))
    }

    /// Keeps the outcomes that the phase left there.
    pub(super) fn keep_outcomes(&self, desk: &mut Desk) -> Result<(), Fault> {
        let most = limits::OUTCOMES_FILE_BYTES as u64;
        let Some(content) = self.tree()?.outcomes(most + 1)? else { return Ok(()) };
        let name = guest_path::OUTCOMES;
        let masked = self.tools.masks.mask_text(&String::from_utf8_lossy(&content));
        // What stands for a secret may be longer than it.
        if content.len().max(masked.len()) as u64 > most {
            desk.produced.warnings.push(format!("`{name}` is larger than {} and was not kept", bytes(most)));
            return Ok(());
        }
        let (at, flags) = (file::artifact(desk.number, 1), OFlags::WRONLY | OFlags::TRUNC);
        let (mut kept, content) = (self.tools.dir.file(&at, flags)?, masked.as_bytes());
        kept.write_all(content).and_then(|()| kept.sync_data()).map_err(Fault::io("keep the outcomes"))?;
        desk.produced.artifacts =
            vec![Artifact { path: name.to_owned(), bytes: content.len() as u64, digest: digest(content) }];
        Ok(())
    }
}
