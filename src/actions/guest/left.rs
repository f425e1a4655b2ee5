//! What guests leave: receipts, artifacts, patches; and the outcomes of native tasks. Rows in the store,
//! files beside it.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    domain::{Phase, RunId},
    protocol::{self, PhaseResult, Produced},
    store::{
        Error, Fault, Find, Rows, Tx,
        record::{Left, Run},
        tables as t,
    },
};

use crate::actions::Actions;

impl Actions {
    pub(crate) fn artifacts_dir(&self, run: RunId) -> PathBuf {
        self.setup.data.join("artifacts").join(run.to_string())
    }

    pub(crate) fn patch_path(&self, run: RunId, phase: u32) -> PathBuf {
        self.artifacts_dir(run).join(format!("{phase:02}.patch"))
    }

    /// Puts what a phase left into its place, durably. Doing it again changes nothing.
    pub(crate) fn keep_left(
        &self,
        run: RunId,
        chain: &Path,
        (number, phase): (u32, Phase),
        produced: &Produced,
        result: Option<&PhaseResult>,
    ) -> Result<Option<Left>, Error> {
        if produced.receipt.is_none() && produced.artifacts.is_empty() {
            return Ok(None);
        }
        let left = Left {
            number,
            phase,
            receipt: produced.receipt.as_deref().cloned(),
            artifacts: produced.artifacts.clone(),
            patch: produced.patch,
            expired: false,
        };
        let text = result.and_then(|result| result.patch.as_ref()).map(|patch| patch.expose().as_bytes());
        if left.artifacts.is_empty() && text.is_none() {
            return Ok(Some(left));
        }
        let dir = self.artifacts_dir(run);
        let kept = keep(&dir, chain, &left, text.map(|text| (self.patch_path(run, number), text)));
        kept.map_err(|error| Fault::Io(format!("{}: {error}", dir.display())))?;
        Ok(Some(left))
    }

    /// Removes what guests left whose time is up. Says of how many runs.
    pub async fn sweep_artifacts(&self) -> Result<usize, Error> {
        let days = i64::from(self.setup.artifact_retention_days);
        let before = self.now().millis() - days * 86_400_000;
        let mut removed = 0;
        for entry in fs::read_dir(self.setup.data.join("artifacts")).into_iter().flatten().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()) else { continue };
            let run = self.store.read()?.run(id)?;
            let over = run.as_ref().is_none_or(|run| run.state.is_terminal() && run.updated_at.millis() < before);
            if over && fs::remove_dir_all(entry.path()).is_ok() {
                removed += 1;
                self.system(move |tx, _| run.as_ref().map_or(Ok(()), |run| Ok(note_expired(tx, run)?))).await?;
            }
        }
        Ok(removed)
    }
}

fn note_expired(tx: &Tx<'_>, run: &Run) -> Result<(), Fault> {
    for left in tx.all(t::RUN_N_TO_LEFT, (run.seq, 0)..=(run.seq, u32::MAX))? {
        let number = left.number;
        tx.put(t::RUN_N_TO_LEFT, (run.seq, number), &Left { expired: true, ..left })?;
    }
    Ok(())
}

fn keep(dir: &Path, chain: &Path, left: &Left, patch: Option<(PathBuf, &[u8])>) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for n in 1..=left.artifacts.len() {
        // The runner has made their content durable.
        let (from, to) = (chain.join(protocol::file::artifact(left.number, n)), dir.join(name(left.number, n)));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => {}
            other => other?,
        }
    }
    if let Some((path, text)) = patch {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut file, text)?;
        file.sync_all()?;
    }
    fs::File::open(dir)?.sync_all()?;
    dir.parent().map_or(Ok(()), |above| fs::File::open(above)?.sync_all())
}

/// Of the n-th artifact of a phase, from 1.
pub(crate) fn name(phase: u32, n: usize) -> String {
    format!("{phase:02}-{n}")
}
