//! Uploaded sources: each is a version with a digest.

use std::path::{Path, PathBuf};

use crate::{
    auth::Permit,
    domain::{Digest, Refused, StackId, stack::Source},
    source::upload,
    store::{Error, Fault, Find, Rows, record::Upload, tables as t},
};

use super::{Actions, missing};

impl Actions {
    /// Where an upload may be written while it comes in: on the same file system as its place.
    pub fn upload_scratch(&self) -> PathBuf {
        self.setup.data.join("uploads").join("incoming")
    }

    /// Takes over an upload that lies whole in `scratch`: walks it, keeps it by its digest, and pins
    /// the stack's next runs to it. `scratch` is gone afterwards, whatever comes out.
    pub async fn upload(&self, permit: &Permit, id: StackId, scratch: PathBuf) -> Result<Upload, Error> {
        permit.covers(id)?;
        let kept = self.keep_upload(id, &scratch).await;
        if scratch.exists()
            && let Err(error) = std::fs::remove_file(&scratch)
        {
            tracing::warn!(%error, "an upload's scratch file could not be removed");
        }
        let info = kept?;
        let deed = self.on_stack("source.upload", id)?;
        self.change(permit, deed, move |tx, moment| {
            let mut stack = tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            check_kind(stack.settings.source.as_ref())?;
            let row = Upload {
                digest: info.digest.clone(),
                size: info.size,
                entries: info.entries,
                at: moment.now,
                by: moment.actor.clone(),
            };
            let seq = tx.next("upload")?;
            tx.put(t::STACK_SEQ_TO_UPLOAD, (id.number(), seq), &row)?;
            stack.upload = Some(info.digest.clone());
            stack.version += 1;
            tx.put(t::STACK_ID_TO_STACK, id.number(), &stack)?;
            let detail = format!("{}, {} bytes, {} entries", info.digest, info.size, info.entries);
            Ok((row, Some(detail)))
        })
        .await
    }

    async fn keep_upload(&self, id: StackId, scratch: &Path) -> Result<upload::UploadInfo, Error> {
        let stack = self.store.read()?.stack(id)?.ok_or_else(|| missing("the stack"))?;
        check_kind(stack.settings.source.as_ref())?;
        let path = scratch.to_owned();
        let walked = tokio::task::spawn_blocking(move || {
            let file = std::fs::File::open(&path).map_err(|error| Fault::Io(error.to_string()))?;
            let info = upload::inspect(&file).map_err(|error| Refused::invalid(error.to_string()))?;
            file.sync_all().map_err(|error| Fault::Io(error.to_string()))?;
            Ok::<_, Error>(info)
        });
        let info = walked.await.map_err(|error| Fault::Panicked(error.to_string()))??;
        let place = self.upload_path(&info.digest);
        std::fs::rename(scratch, &place).map_err(|error| Fault::Io(format!("{}: {error}", place.display())))?;
        Ok(info)
    }

    /// Removes uploads that neither a stack's newest versions nor an active run need. Says how many.
    pub fn sweep_uploads(&self) -> Result<usize, Error> {
        let needed = self.needed_uploads()?;
        let mut removed = 0;
        let dir = self.setup.data.join("uploads");
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_upload = name.to_str().is_some_and(|name| name.len() == 64);
            let needed = needed.iter().any(|digest| name.to_str() == Some(digest.digits()));
            if is_upload && !needed && std::fs::remove_file(entry.path()).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn needed_uploads(&self) -> Result<Vec<Digest>, Error> {
        use crate::domain::run::SourceVersion;
        let view = self.store.read()?;
        let mut needed = Vec::new();
        for stack in view.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)? {
            let id = stack.id.number();
            let versions = view.all(t::STACK_SEQ_TO_UPLOAD, (id, 0)..=(id, u64::MAX))?;
            let keep = usize::try_from(self.setup.upload_versions).unwrap_or(usize::MAX);
            needed.extend(versions.into_iter().rev().take(keep).map(|version| version.digest));
        }
        for run in view.all_active_runs()? {
            if let SourceVersion::Upload { digest } = run.source {
                needed.push(digest);
            }
        }
        Ok(needed)
    }
}

fn check_kind(source: Option<&Source>) -> Result<(), Refused> {
    match source {
        Some(Source::Upload { .. }) => Ok(()),
        Some(Source::Git { .. }) => {
            Err(Refused::conflict("the stack's source is a git repository; change its source to `upload` first"))
        }
        None => Err(Refused::conflict("the stack has no source; set it to `upload` in its settings first")),
    }
}
