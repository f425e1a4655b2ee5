//! Guests: importing, removing, and what runs make of them.
//!
//! A guest becomes one when it was compiled: by a runner, in a jail, never here. The import writes a
//! draft, rings, and waits for what dispatch says became of it; a draft of a server that ended is
//! forgotten at the next start.

use std::{fs, path::Path, time::Duration};

use ulid::Ulid;

use crate::{
    auth::Permit,
    domain::{Digest, GuestName, Refused, RefusedKind, guest::GuestKind, limits},
    guest::{self, Form},
    protocol::GuestCode,
    store::{
        Error, Fault, Find, Order, Rows, Snapshot, Tx,
        record::{Draft, Guest, GuestDraft},
        tables as t,
    },
};

use super::{Actions, Deed, Incoming, Once, Scratch, ToStart, missing, ring, upload::Most};

pub(crate) mod code;
mod left;
mod pin;

pub use pin::NewGuestTask;
pub(crate) use pin::{pin, task_of};

/// How long an import waits for the compiler, which has less time than that.
const WAIT: Duration = Duration::from_secs(90);
const MOST: Most = Most { what: "guest", bytes: limits::GUEST_IMPORT_BYTES };

/// A guest that somebody imports.
#[derive(Clone, Debug)]
pub struct NewGuest {
    pub name: GuestName,
    /// It interprets scripts.
    pub interpreter: bool,
}

/// A guest that is to be compiled.
#[derive(Clone, Debug)]
pub struct ToCompile {
    pub id: u128,
    pub name: GuestName,
    pub code: GuestCode,
}

impl Actions {
    /// Makes ready for a guest of a size that the sender may have declared.
    pub async fn receive_guest(&self, permit: &Permit, declared: Option<u64>) -> Result<Incoming, Error> {
        permit.still_holds(&self.store.read()?, self.now())??;
        let deed = Deed::new("guest.import", "guest");
        self.attempted(permit.who(), &deed, self.receive(MOST, declared).await).await
    }

    /// Takes over a guest that lies whole in `scratch`, once it was compiled. What was registered under
    /// the name before is replaced; the same request once more replaces nothing. `scratch` is gone afterwards, whatever comes out.
    pub async fn import_guest(
        &self,
        permit: &Permit,
        new: NewGuest,
        scratch: impl Into<Scratch>,
        once: Option<Once>,
    ) -> Result<Guest, Error> {
        let scratch = scratch.into();
        let deed = Deed::new("guest.import", format_args!("guest:{}", new.name));
        let _alone = self.attempted(permit.who(), &deed, self.alone().await).await?;
        let before = self.attempted(permit.who(), &deed, self.imported_guest(once.as_ref())).await?;
        if let Some(guest) = before {
            return Ok(guest);
        }
        let checked = match self.check_guest(&new, scratch).await {
            Ok(draft) => self.compiled(draft).await,
            Err(error) => Err(error),
        };
        let guest = match self.attempted(permit.who(), &deed, checked).await {
            Ok(guest) => guest,
            Err(error) => {
                self.sweep_guests()?;
                return Err(error);
            }
        };
        let imported = self
            .change(permit, deed, move |tx, moment| {
                let row = Guest { imported_at: moment.now, imported_by: moment.actor.clone(), ..guest.clone() };
                let new = tx.get(t::NAME_TO_GUEST, row.name.as_str())?.is_none();
                if new && tx.all(t::NAME_TO_GUEST, ""..="\u{10ffff}")?.len() >= limits::GUESTS {
                    let why = format!("{} guests are registered; remove one first", limits::GUESTS);
                    return Err(Refused::conflict(why).into());
                }
                tx.put(t::NAME_TO_GUEST, row.name.as_str(), &row)?;
                if let Some(once) = &once {
                    once.remember_import(tx, row.name.as_str(), &row.digest, moment.now)?;
                }
                ring(tx, moment);
                let detail = format!("{}, {}, {} bytes", row.digest, row.kind.word(), row.size);
                Ok((row, Some(detail)))
            })
            .await;
        self.sweep_guests()?;
        imported
    }

    /// What was imported under a key before.
    fn imported_guest(&self, once: Option<&Once>) -> Result<Option<Guest>, Error> {
        let Some(once) = once else { return Ok(None) };
        let named = |view: &Snapshot, name: &str| view.get(t::NAME_TO_GUEST, name);
        once.imported(&self.store.read()?, self.now(), named, |guest: &Guest| &guest.digest)
    }

    /// Forgets a guest that no stack names any more. Runs that began with it go on with it.
    pub async fn remove_guest(&self, permit: &Permit, name: GuestName) -> Result<(), Error> {
        let deed = Deed::new("guest.remove", format_args!("guest:{name}"));
        let _alone = self.attempted(permit.who(), &deed, self.alone().await).await?;
        self.change(permit, deed, move |tx, moment| {
            if guest::bundled(name.as_str()).is_some() {
                return Err(Refused::conflict(format!("`{name}` comes with Airlock and cannot be removed")).into());
            }
            let Some(row) = tx.get(t::NAME_TO_GUEST, name.as_str())? else {
                return Err(missing(format_args!("the guest {name}")));
            };
            refuse_used(tx, &name)?;
            tx.remove(t::NAME_TO_GUEST, name.as_str())?;
            ring(tx, moment);
            Ok(((), Some(row.digest.to_string())))
        })
        .await?;
        self.sweep_guests().map(drop)
    }

    /// One import after the other, and no file removed meanwhile.
    async fn alone(&self) -> Result<tokio::sync::OwnedMutexGuard<()>, Error> {
        let turn = std::sync::Arc::clone(&self.access.imports).lock_owned();
        tokio::time::timeout(WAIT, turn).await.map_err(|_| busy().into())
    }

    /// Looks at a guest before anything is compiled, and puts it into its place.
    async fn check_guest(&self, new: &NewGuest, scratch: Scratch) -> Result<GuestDraft, Error> {
        if guest::bundled(new.name.as_str()).is_some() {
            let why = format!("`{}` comes with Airlock; choose another name", new.name);
            return Err(Refused::field("name", why).into());
        }
        let (name, interpreter, now) = (new.name.clone(), new.interpreter, self.now());
        let dir = code::dir(&self.setup.data);
        let checked = tokio::task::spawn_blocking(move || {
            let io = |error: std::io::Error| Fault::Io(error.to_string());
            let bytes = fs::read(scratch.path()).map_err(io)?;
            let facts =
                guest::inspect(&bytes).map_err(|why| Refused::invalid(format!("this cannot be a guest: {why}")))?;
            fs::File::open(scratch.path()).and_then(|file| file.sync_all()).map_err(io)?;
            fs::rename(scratch.path(), dir.join(file_name(&facts.digest))).map_err(io)?;
            fs::File::open(&dir).and_then(|dir| dir.sync_all()).map_err(io)?;
            let kind = match facts.form {
                Form::Core => GuestKind::Core,
                Form::Component => GuestKind::Component,
            };
            let by = crate::domain::actor::ActorName::system();
            let guest = Guest {
                name,
                digest: facts.digest,
                kind,
                size: facts.bytes,
                interpreter,
                imported_at: now,
                imported_by: by,
            };
            Ok::<_, Error>(GuestDraft { guest, state: Draft::Waiting })
        });
        checked.await.map_err(|error| Fault::Panicked(error.to_string()))?
    }

    /// Has a draft compiled, and waits for what comes out.
    async fn compiled(&self, draft: GuestDraft) -> Result<Guest, Error> {
        let id = Ulid::generate().0;
        let mut bell = self.live.hear();
        let row = draft.clone();
        self.system(move |tx, moment| {
            tx.put(t::IMPORT_TO_DRAFT, id, &row)?;
            ring(tx, moment);
            let live = moment.live.clone();
            tx.after_commit(move || live.ring_work());
            Ok(())
        })
        .await?;
        let settled = tokio::time::timeout(WAIT, async {
            loop {
                bell.mark_unchanged();
                match self.store.read()?.get(t::IMPORT_TO_DRAFT, id)?.map(|row| row.state) {
                    Some(Draft::Waiting) => {}
                    settled => return Ok::<_, Error>(settled),
                }
                if bell.changed().await.is_err() {
                    return Err(Fault::Closed.into());
                }
            }
        })
        .await;
        self.system(move |tx, _| Ok(tx.remove(t::IMPORT_TO_DRAFT, id).map(drop)?)).await?;
        match settled.map_err(|_| busy())?? {
            Some(Draft::Compiled) => Ok(draft.guest),
            Some(Draft::Refused { reason }) => Err(Refused::invalid(reason).into()),
            Some(Draft::Waiting) | None => Err(Fault::Closed.into()),
        }
    }

    /// Every guest that waits to be compiled, the oldest first.
    pub fn guests_to_compile(&self) -> Result<Vec<ToCompile>, Error> {
        let mut found = Vec::new();
        self.store.read()?.walk(t::IMPORT_TO_DRAFT, 0..=u128::MAX, Order::Up, |id, draft| {
            if draft.state == Draft::Waiting {
                let path = code::file(&self.setup.data, &draft.guest.digest);
                let code = GuestCode::Registered { path, digest: draft.guest.digest };
                found.push(ToCompile { id, name: draft.guest.name, code });
            }
            Ok(crate::store::Flow::Continue(()))
        })?;
        Ok(found)
    }

    /// What became of a guest that was to be compiled.
    pub async fn guest_compiled(&self, id: u128, outcome: Result<(), String>) -> Result<(), Error> {
        let state = match outcome {
            Ok(()) => Draft::Compiled,
            Err(reason) => Draft::Refused { reason },
        };
        self.system(move |tx, moment| {
            if let Some(draft) = tx.get(t::IMPORT_TO_DRAFT, id)? {
                tx.put(t::IMPORT_TO_DRAFT, id, &GuestDraft { state: state.clone(), ..draft })?;
                ring(tx, moment);
            }
            Ok(())
        })
        .await
    }

    /// The spec of the runner that compiles a guest.
    pub fn compiling(&self, guest: &ToCompile) -> ToStart {
        super::claim::compiling(self, guest)
    }

    /// Forgets imports that a server left which ended meanwhile. For the start.
    pub async fn clear_drafts(&self) -> Result<(), Error> {
        self.system(|tx, _| {
            let mut ids = Vec::new();
            tx.walk(t::IMPORT_TO_DRAFT, 0..=u128::MAX, Order::Up, |id, _| {
                ids.push(id);
                Ok(crate::store::Flow::Continue(()))
            })?;
            ids.into_iter().try_for_each(|id| tx.remove(t::IMPORT_TO_DRAFT, id).map(drop))?;
            Ok(())
        })
        .await?;
        self.sweep_guests().map(drop)
    }

    /// Removes files of guests that neither a name nor an active run needs. Says how many.
    pub fn sweep_guests(&self) -> Result<usize, Error> {
        let view = self.store.read()?;
        let mut needed: Vec<Digest> =
            view.all(t::NAME_TO_GUEST, ""..="\u{10ffff}")?.into_iter().map(|guest| guest.digest).collect();
        needed.extend(view.all(t::IMPORT_TO_DRAFT, 0..=u128::MAX)?.into_iter().map(|draft| draft.guest.digest));
        for run in view.all_active_runs()? {
            let pinned = view.get(t::RUN_TO_GUESTS, run.seq)?.unwrap_or_default().pinned;
            needed.extend(pinned.into_iter().map(|pinned| pinned.digest));
        }
        let mut removed = 0;
        for entry in fs::read_dir(code::dir(&self.setup.data)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_guest = Path::new(&name).extension().is_some_and(|extension| extension == "wasm");
            let wanted = needed.iter().any(|digest| name.to_str() == Some(&*file_name(digest)));
            if is_guest && !wanted && fs::remove_file(entry.path()).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn busy() -> Refused {
    Refused::new(RefusedKind::Unavailable, "the compiler is busy; try again in a minute")
}

fn file_name(digest: &Digest) -> String {
    format!("{}.wasm", digest.digits())
}

/// A guest that stacks name stays.
fn refuse_used(tx: &Tx<'_>, name: &GuestName) -> Result<(), Error> {
    let mut users: Vec<String> = Vec::new();
    for stack in tx.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)? {
        if stack.settings.vendor.guests().iter().any(|(_, call)| call.guest == *name) {
            users.push(stack.slug.to_string());
        }
    }
    if users.is_empty() {
        return super::run_task::refuse_used_guest(tx, name);
    }
    Err(Refused::conflict(format!("still used by {}", users.join(", "))).into())
}
