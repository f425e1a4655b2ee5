//! Images: importing, removing, and which root a jail gets.
//!
//! An image is unpacked once, by the digest of its archive, beside its place; then it gets its name by
//! one rename and is never written to again. A runner that shows it holds a lock on its directory, so
//! that a sweep leaves it alone; so does a run that waits, because it is [pinned](pin) to the digest that
//! its first chain began with.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::AsFd as _,
        unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode, OFlags};
use ulid::Ulid;

use crate::{
    auth::Permit,
    crypt::Hasher,
    domain::{Digest, ImageName, Kind, Refused, RefusedKind, limits},
    image::{self, ImageError, ImageInfo},
    protocol::{ImagePlace, Root},
    store::{
        Error, Fault, Find, Rows, Snapshot, Tx,
        record::{Image, PinnedImage, Run, Stack},
        tables as t,
    },
    workspace::remove_tree,
};

pub(crate) use crate::domain::runtime::HOST;

use super::{Actions, Deed, Incoming, Once, Scratch, missing, ring, upload::Most};

const MOST: Most = Most { what: "image", bytes: limits::IMAGE_BYTES };
/// What an image is unpacked as before it has its name.
const INCOMING: &str = ".incoming-";

impl Actions {
    /// Makes ready for an image of a size that the sender may have declared.
    pub async fn receive_image(&self, permit: &Permit, declared: Option<u64>) -> Result<Incoming, Error> {
        permit.still_holds(&self.store.read()?, self.now())??;
        let deed = Deed::new("image.import", "image");
        self.attempted(permit.who(), &deed, self.receive(MOST, declared).await).await
    }

    /// Takes over an archive that lies whole in `scratch`. What had the name before is replaced: runs
    /// that have begun go on with what they began with. The same request once more replaces nothing.
    /// `scratch` is gone afterwards, whatever comes out.
    pub async fn import_image(
        &self,
        permit: &Permit,
        name: ImageName,
        scratch: impl Into<Scratch>,
        once: Option<Once>,
    ) -> Result<Image, Error> {
        let scratch = scratch.into();
        let deed = Deed::new("image.import", format_args!("image:{name}"));
        let _alone = self.attempted(permit.who(), &deed, self.one_image()).await?;
        let before = self.attempted(permit.who(), &deed, self.imported_image(once.as_ref())).await?;
        if let Some(image) = before {
            return Ok(image);
        }
        let unpacked = match check_name(&name) {
            Ok(()) => self.unpacked(scratch).await,
            Err(refused) => Err(refused.into()),
        };
        let (digest, info) = self.attempted(permit.who(), &deed, unpacked).await?;
        let imported = self
            .change(permit, deed, move |tx, moment| {
                let is_new = tx.get(t::NAME_TO_IMAGE, name.as_str())?.is_none();
                if is_new && tx.all(t::NAME_TO_IMAGE, ""..="\u{10ffff}")?.len() >= limits::IMAGES {
                    let why = format!("{} images are imported; remove one first", limits::IMAGES);
                    return Err(Refused::conflict(why).into());
                }
                let row = Image {
                    name: name.clone(),
                    digest: digest.clone(),
                    layers: info.layers,
                    entries: info.entries,
                    bytes: info.bytes,
                    imported_at: moment.now,
                    imported_by: moment.actor.clone(),
                };
                tx.put(t::NAME_TO_IMAGE, name.as_str(), &row)?;
                if let Some(once) = &once {
                    once.remember_import(tx, name.as_str(), &digest, moment.now)?;
                }
                ring(tx, moment);
                let detail = format!("{digest}, {} entries, {} bytes", info.entries, info.bytes);
                Ok((row, Some(detail)))
            })
            .await;
        self.sweep_unneeded()?;
        imported
    }

    /// What was imported under a key before.
    fn imported_image(&self, once: Option<&Once>) -> Result<Option<Image>, Error> {
        let Some(once) = once else { return Ok(None) };
        let named = |view: &Snapshot, name: &str| view.get(t::NAME_TO_IMAGE, name);
        once.imported(&self.store.read()?, self.now(), named, |image: &Image| &image.digest)
    }

    /// Forgets an image that no stack names any more.
    pub async fn remove_image(&self, permit: &Permit, name: ImageName) -> Result<(), Error> {
        let deed = Deed::new("image.remove", format_args!("image:{name}"));
        let _alone = self.attempted(permit.who(), &deed, self.one_image()).await?;
        self.change(permit, deed, move |tx, moment| {
            let Some(row) = tx.get(t::NAME_TO_IMAGE, name.as_str())? else {
                return Err(missing(format_args!("the image {name}")));
            };
            refuse_used(tx, &name)?;
            tx.remove(t::NAME_TO_IMAGE, name.as_str())?;
            ring(tx, moment);
            Ok(((), Some(row.digest.to_string())))
        })
        .await?;
        self.sweep_unneeded().map(drop)
    }

    /// One import after the other, and nothing removed meanwhile.
    fn one_image(&self) -> Result<tokio::sync::OwnedMutexGuard<()>, Refused> {
        let turn = std::sync::Arc::clone(&self.access.images).try_lock_owned();
        turn.map_err(|_| Refused::new(RefusedKind::Unavailable, "another image is being imported; try again"))
    }

    async fn unpacked(&self, scratch: Scratch) -> Result<(Digest, ImageInfo), Error> {
        let (dir, before) = (dir(&self.setup.data), self.store.read()?.all(t::NAME_TO_IMAGE, ""..="\u{10ffff}")?);
        let unpacking = tokio::task::spawn_blocking(move || {
            let digest = digest_of(scratch.path()).map_err(io_fault)?;
            // The same archive is the same image.
            if let Some(known) = before.iter().find(|row| row.digest == digest && root(&dir, &digest).is_dir()) {
                let info = ImageInfo { layers: known.layers, entries: known.entries, bytes: known.bytes };
                return Ok((digest, info));
            }
            unpack(scratch.path(), &dir, &digest).map(|info| (digest, info))
        });
        unpacking.await.map_err(|error| Fault::Panicked(error.to_string()))?
    }

    /// Removes what no image and no run needs and no runner shows. Says how many; none while one is being
    /// imported.
    pub fn sweep_images(&self) -> Result<usize, Error> {
        let Ok(_alone) = self.one_image() else { return Ok(0) };
        self.sweep_unneeded()
    }

    fn sweep_unneeded(&self) -> Result<usize, Error> {
        let needed = needed(&self.store.read()?)?;
        let mut removed = 0;
        for entry in fs::read_dir(dir(&self.setup.data)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let wanted = needed.iter().any(|digest| name.to_str() == Some(digest.digits()));
            let incoming = name.as_encoded_bytes().starts_with(INCOMING.as_bytes());
            if wanted || incoming || !is_free(&entry.path()) {
                continue;
            }
            match remove_tree(&entry.path()) {
                Ok(()) => removed += 1,
                Err(error) => tracing::warn!(%error, "an image could not be removed"),
            }
        }
        Ok(removed)
    }

    /// Removes what a server left that ended while it unpacked. For the start.
    pub fn clear_images(&self) -> Result<(), Error> {
        for entry in fs::read_dir(dir(&self.setup.data)).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(INCOMING.as_bytes()) {
                remove_tree(&entry.path()).map_err(|fault| Fault::Io(fault.to_string()))?;
            }
        }
        self.sweep_images().map(drop)
    }
}

/// The images that have a name, and those that runs which have not ended are pinned to.
fn needed(view: &impl Find) -> Result<Vec<Digest>, Fault> {
    let images = view.all(t::NAME_TO_IMAGE, ""..="\u{10ffff}")?;
    let pinned = view.all_active_runs()?.into_iter().filter_map(|run| run.image?.digest);
    Ok(images.into_iter().map(|image| image.digest).chain(pinned).collect())
}

/// Writes down what a run's jails have as their root, when its first chain begins: what was planned in
/// one image is not applied in another.
pub(crate) fn pin(tx: &Tx<'_>, run: &mut Run) -> Result<(), Fault> {
    // What a declared task wants is in its source.
    if run.image.is_some() || !run.phases.is_empty() || run.kind == Kind::OnDemand {
        return Ok(());
    }
    let Some(stack) = tx.stack(run.stack)? else { return Ok(()) };
    let name = wanted(tx, run, &stack)?;
    let digest = tx.get(t::NAME_TO_IMAGE, &*name)?.map(|image| image.digest);
    // Where there is none of that name any more, the chain's start says so.
    run.image = (digest.is_some() || name == HOST).then_some(PinnedImage { name, digest });
    Ok(())
}

/// The image that a run that has not begun is to have: the trigger's choice, else the stack's.
pub(crate) fn wanted(view: &impl Rows, run: &Run, stack: &Stack) -> Result<String, Fault> {
    let asked = view.get(t::RUN_TO_RUNTIME, run.seq)?.and_then(|row| row.trigger?.runner_image);
    Ok(asked.unwrap_or_else(|| stack.settings.executor.image.clone()))
}

/// The name of what a run's jails have as their root.
pub(crate) fn name_of(view: &impl Rows, run: &Run, stack: &Stack) -> Result<String, Fault> {
    match &run.image {
        Some(pinned) => Ok(pinned.name.clone()),
        None => wanted(view, run, stack),
    }
}

/// The root of a run that is pinned, or the refusal that says that it is gone.
pub(crate) fn root_of_pinned(data: &Path, pinned: &PinnedImage) -> Result<Root, Error> {
    let Some(digest) = &pinned.digest else { return Ok(Root::Host) };
    let path = root(&dir(data), digest);
    if path.is_dir() {
        return Ok(Root::Image { path });
    }
    Err(Refused::conflict(format!(
        "the image `{}` that the run began with ({}) is not there any more; trigger the run again, so that it is \
         planned in the one that has the name now",
        pinned.name,
        digest.short()
    ))
    .into())
}

/// What a jail of this image sees as its root, or the refusal that says what to do.
pub(crate) fn root_of(view: &impl Rows, data: &Path, name: &str) -> Result<Root, Error> {
    if name == HOST {
        return Ok(Root::Host);
    }
    let image = view.get(t::NAME_TO_IMAGE, name)?.ok_or_else(|| unknown(name))?;
    Ok(Root::Image { path: root(&dir(data), &image.digest) })
}

/// Where every image lies, by name.
pub(crate) fn places(view: &impl Rows, data: &Path) -> Result<BTreeMap<String, ImagePlace>, Fault> {
    let images: Vec<Image> = view.all(t::NAME_TO_IMAGE, ""..="\u{10ffff}")?;
    let place = |image: Image| {
        let path = root(&dir(data), &image.digest);
        (image.name.to_string(), ImagePlace { path, digest: image.digest })
    };
    Ok(images.into_iter().map(place).collect())
}

/// Refuses a name that is neither the host nor an image.
pub(crate) fn check_known(view: &impl Rows, field: &str, name: &str) -> Result<(), Error> {
    if name == HOST || view.get(t::NAME_TO_IMAGE, name)?.is_some() {
        return Ok(());
    }
    Err(Refused::field(field, unknown(name).detail).into())
}

fn unknown(name: &str) -> Refused {
    Refused::conflict(format!(
        "there is no image `{name}`; an admin can import one: `airlock image import`; `host` is always there"
    ))
}

fn check_name(name: &ImageName) -> Result<(), Refused> {
    match name.as_str() {
        HOST => Err(Refused::field("name", "`host` is the host's own root; choose another name")),
        _ => Ok(()),
    }
}

fn dir(data: &Path) -> PathBuf {
    data.join("images")
}

fn root(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join(digest.digits())
}

fn io_fault(error: io::Error) -> Error {
    Fault::Io(error.to_string()).into()
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.digest())
}

fn unpack(archive: &Path, dir: &Path, digest: &Digest) -> Result<ImageInfo, Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_fault)?;
    let incoming = dir.join(format!("{INCOMING}{}", Ulid::generate()));
    fs::create_dir(&incoming).map_err(io_fault)?;
    // Whatever the umask: the jail's user enters it.
    fs::set_permissions(&incoming, fs::Permissions::from_mode(0o755)).map_err(io_fault)?;
    let unpacked = unpack_into(archive, dir, &incoming, &root(dir, digest));
    if unpacked.is_err()
        && let Err(error) = remove_tree(&incoming)
    {
        tracing::warn!(%error, "what was unpacked of an image could not be removed");
    }
    unpacked
}

fn unpack_into(archive: &Path, dir: &Path, incoming: &Path, place: &Path) -> Result<ImageInfo, Error> {
    let archive = fs::File::open(archive).map_err(io_fault)?;
    let into = open_dir(incoming).map_err(io_fault)?;
    let info = image::unpack(&archive, dir, into.as_fd()).map_err(explained)?;
    rustix::fs::syncfs(&into).map_err(|errno| io_fault(errno.into()))?;
    // One that is no image any more, and that somebody still shows, may stand in its place.
    if place.exists() {
        remove_tree(incoming).map_err(|fault| Fault::Io(fault.to_string()))?;
        return Ok(info);
    }
    fs::rename(incoming, place).map_err(io_fault)?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_fault)?;
    Ok(info)
}

fn explained(error: ImageError) -> Error {
    match error {
        ImageError::NoRoom { .. } => Fault::Full(error.to_string()).into(),
        error if error.is_refusal() => Refused::invalid(error.to_string()).into(),
        error => Fault::Io(error.to_string()).into(),
    }
}

fn open_dir(path: &Path) -> io::Result<fs::File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Whether no runner shows an image.
fn is_free(path: &Path) -> bool {
    open_dir(path).is_ok_and(|dir| rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok())
}

/// An image that stacks name stays.
fn refuse_used(tx: &Tx<'_>, name: &ImageName) -> Result<(), Error> {
    let stacks = tx.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)?;
    let users: Vec<&str> = stacks
        .iter()
        .filter(|stack| stack.settings.executor.image == name.as_str())
        .map(|stack| stack.slug.as_str())
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    Err(Refused::conflict(format!("still used by {}", users.join(", "))).into())
}
