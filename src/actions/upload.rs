//! Uploaded sources: each is a version with a digest.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tokio::io::AsyncWriteExt as _;
use ulid::Ulid;

use crate::{
    auth::Permit,
    crypt::Hasher,
    domain::{Digest, Refused, RefusedKind, StackId, limits, run::SourceVersion, stack::Source, verdict},
    source::upload,
    store::{Error, Fault, Find, Rows, record::Upload, tables as t},
};

use super::{Actions, declaration, missing};

/// Bytes between two looks at the free space while an upload comes in.
const LOOK_EVERY: u64 = 64 * limits::MIB;

/// The file that an upload comes in by. Gone with this value, unless it was taken over.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl From<PathBuf> for Scratch {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "an upload's scratch file could not be removed"),
        }
    }
}

/// How much may come in, and what it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub what: &'static str,
    pub bytes: u64,
}

impl Most {
    fn check(self, bytes: u64) -> Result<(), Refused> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let why = format!("a {} has at most {}", self.what, verdict::bytes(self.bytes));
        Err(Refused::new(RefusedKind::TooLarge, why))
    }
}

const SOURCE: Most = Most { what: "source", bytes: limits::SOURCE_BYTES };

/// An upload that is coming in. One that is cut off leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    actions: Actions,
    scratch: Scratch,
    file: tokio::fs::File,
    most: Most,
    bytes: u64,
    hasher: Hasher,
    /// Bytes at which the free space is looked at next.
    look_at: u64,
}

impl Incoming {
    /// Takes the next bytes.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.bytes += chunk.len() as u64;
        self.most.check(self.bytes)?;
        if self.bytes >= self.look_at {
            self.look_at = self.bytes + LOOK_EVERY;
            check_room(&self.actions)?;
        }
        self.hasher.update(chunk);
        self.file.write_all(chunk).await.map_err(|error| fault(&self.scratch.0, &error).into())
    }

    /// Everything came, and is on the disk.
    pub async fn finish(self) -> Result<Scratch, Error> {
        self.finish_with_digest().await.map(|(scratch, _)| scratch)
    }

    /// As [`Incoming::finish`], with the digest of what came.
    pub async fn finish_with_digest(mut self) -> Result<(Scratch, Digest), Error> {
        self.file.flush().await.map_err(|error| fault(&self.scratch.0, &error))?;
        self.file.sync_all().await.map_err(|error| fault(&self.scratch.0, &error))?;
        Ok((self.scratch, self.hasher.digest()))
    }
}

fn check_room(actions: &Actions) -> Result<(), Fault> {
    if actions.has_room() {
        return Ok(());
    }
    Err(Fault::Full(format!("{} has no room for an upload", actions.setup.data.display())))
}

fn fault(path: &Path, error: &io::Error) -> Fault {
    let what = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full(what),
        _ => Fault::Io(what),
    }
}

impl Actions {
    /// Makes ready for an upload of a size that the sender may have declared.
    pub async fn receive_upload(&self, permit: &Permit, id: StackId, declared: Option<u64>) -> Result<Incoming, Error> {
        permit.covers(id)?;
        let stack = self.store.read()?.stack(id)?.ok_or_else(|| missing("the stack"))?;
        let deed = self.on_stack("source.upload", id)?;
        self.attempted(permit.who(), &deed, check_kind(stack.settings.source.as_ref())).await?;
        self.attempted(permit.who(), &deed, self.receive(SOURCE, declared).await).await
    }

    /// Makes ready for something of a size that the sender may have declared.
    pub(super) async fn receive(&self, most: Most, declared: Option<u64>) -> Result<Incoming, Error> {
        most.check(declared.unwrap_or_default())?;
        check_room(self)?;
        let dir = self.upload_scratch();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|error| fault(&dir, &error))?;
        let path = dir.join(Ulid::generate().to_string());
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = tokio::fs::OpenOptions::from(options).open(&path).await.map_err(|error| fault(&path, &error))?;
        let (actions, scratch, hasher) = (self.clone(), Scratch(path), Hasher::new());
        Ok(Incoming { actions, scratch, file, most, bytes: 0, hasher, look_at: LOOK_EVERY })
    }

    /// Removes what uploads left behind that a crash cut off. For the start.
    pub fn clear_incoming(&self) {
        for entry in fs::read_dir(self.upload_scratch()).into_iter().flatten().flatten() {
            drop(Scratch(entry.path()));
        }
    }

    /// Where an upload may be written while it comes in: on the same file system as its place.
    pub fn upload_scratch(&self) -> PathBuf {
        self.setup.data.join("uploads").join("incoming")
    }

    /// Takes over an upload that lies whole in `scratch`: walks it, keeps it by its digest, and pins
    /// the stack's next runs to it. `scratch` is gone afterwards, whatever comes out.
    pub async fn upload(&self, permit: &Permit, id: StackId, scratch: impl Into<Scratch>) -> Result<Upload, Error> {
        let scratch = scratch.into();
        permit.covers(id)?;
        let deed = self.on_stack("source.upload", id)?;
        let kept = self.keep_upload(id, &scratch.0).await;
        let (info, files) = self.attempted(permit.who(), &deed, kept).await?;
        self.change(permit, deed, move |tx, moment| {
            let mut stack = tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            check_kind(stack.settings.source.as_ref())?;
            let row = Upload {
                digest: info.digest.clone(),
                size: info.size,
                entries: info.entries,
                at: moment.now,
                by: moment.actor.clone(),
                key_of: moment.key_of.clone(),
            };
            let seq = tx.next("upload")?;
            tx.put(t::STACK_SEQ_TO_UPLOAD, (id.number(), seq), &row)?;
            stack.upload = Some(info.digest.clone());
            stack.version += 1;
            tx.put(t::STACK_ID_TO_STACK, id.number(), &stack)?;
            let source = SourceVersion::Upload { digest: info.digest.clone() };
            declaration::keep_upload(tx, moment, &stack, source, &files)?;
            let held = if info.entries == 1 { "file or directory" } else { "files and directories" };
            let detail = format!("{}, {} bytes, {} {held}", info.digest, info.size, info.entries);
            Ok((row, Some(detail)))
        })
        .await
    }

    /// Walks an upload and puts it into its place; gives its configuration files, too.
    async fn keep_upload(
        &self,
        id: StackId,
        scratch: &Path,
    ) -> Result<(upload::UploadInfo, Vec<(String, Vec<u8>)>), Error> {
        let stack = self.store.read()?.stack(id)?.ok_or_else(|| missing("the stack"))?;
        check_kind(stack.settings.source.as_ref())?;
        let path = scratch.to_owned();
        let walked = tokio::task::spawn_blocking(move || {
            let file = std::fs::File::open(&path).map_err(|error| Fault::Io(error.to_string()))?;
            let wanted: Vec<&str> = declaration::files().collect();
            let found = upload::inspect_and_read(&file, &wanted, limits::MANIFEST_BYTES + 1);
            let found = found.map_err(|error| Refused::invalid(error.to_string()))?;
            file.sync_all().map_err(|error| Fault::Io(error.to_string()))?;
            Ok::<_, Error>(found)
        });
        let (info, files) = walked.await.map_err(|error| Fault::Panicked(error.to_string()))??;
        let place = self.upload_path(&info.digest);
        fs::rename(scratch, &place).map_err(|error| fault(&place, &error))?;
        let dir = self.setup.data.join("uploads");
        fs::File::open(&dir).and_then(|dir| dir.sync_all()).map_err(|error| fault(&dir, &error))?;
        Ok((info, files))
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
