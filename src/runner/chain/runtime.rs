//! The run's settings: the trigger's, the source's file and what the server sent, put together.
//!
//! The file lies in the source, so they are put together here, right after it was fetched; later
//! chains are told what it said. The rules are [`crate::domain::runtime`]'s. What is wrong with the
//! file ends `preparing` with every mistake, its line and column.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::Path};

use crate::{
    crypt::{Secret, digest},
    domain::{
        EnvName, limits,
        runtime::{Chosen, FileConfig, HOST, HookPoint, Layers, Placed, Used, UsedVariable, binary_of, no_such_binary},
        stack::{ExecutorKind, Vendor},
    },
    manifest,
    protocol::{Bind, FoundImage, GuestPhase, ImagePlace, Root, Runtime, RuntimeFound, Shell, Variable, inside},
};

use super::{Chain, desk::Desk};
use crate::runner::{fault::Fault, hold_image};

/// Notes about one file that are printed; what is beyond is counted.
const NOTES: usize = 20;

/// What the chain works by.
#[derive(Debug)]
pub struct Settled {
    pub(super) layers: Layers,
    /// The operator's binary that was asked for.
    binary: Option<Bind>,
    /// The root that the source asked for.
    root: Option<HeldRoot>,
}

/// A root, held against its removal.
#[derive(Debug)]
struct HeldRoot {
    root: Root,
    _held: Option<OwnedFd>,
}

impl Chain {
    /// Reads the configuration file of the source that was just fetched, and works by it from now on.
    pub(super) fn read_runtime(&mut self, desk: &mut Desk) -> Result<(), Fault> {
        let Some(mut runtime) = self.spec.runtime.take() else { return Ok(()) };
        let file = match runtime.layers.file.take() {
            Some(known) => known,
            None => self.read_file(desk)?,
        };
        runtime.layers.file = Some(file.clone());
        let images = std::mem::take(&mut runtime.images);
        let used = self.put_together(runtime)?;
        let image = self.choose_image(&images)?;
        if let Some(image) = &image {
            desk.log.note(&format!("the source's configuration chose the image `{}`", image.name));
        }
        desk.result.runtime = Some(Box::new(RuntimeFound { file, used, image }));
        Ok(())
    }

    /// Whatever runs from here on has the root that the source asks for. Later chains are told of it.
    fn choose_image(&mut self, images: &BTreeMap<String, ImagePlace>) -> Result<Option<FoundImage>, Fault> {
        let Some(settled) = &mut self.settled else { return Ok(None) };
        let Some((name, origin)) = settled.layers.image_of_file() else { return Ok(None) };
        let found = images.get(name);
        let root = match found {
            None if name == HOST => Root::Host,
            Some(_) if self.jail.kind != ExecutorKind::Jail => {
                let why = format!("the image `{name}` ({origin}): an `unconfined` executor has no root but the host's");
                return Err(Fault::Other(why));
            }
            Some(place) => Root::Image { path: place.path.clone() },
            None => {
                return Err(Fault::Other(format!(
                    "there is no image `{name}` ({origin}); an admin can import one: `airlock image import`; `host` is \
                     always there"
                )));
            }
        };
        let chosen = FoundImage { name: name.to_owned(), digest: found.map(|place| place.digest.clone()) };
        let held = hold_image(&root)?;
        settled.root = Some(HeldRoot { root, _held: held });
        Ok(Some(chosen))
    }

    /// What commands have as their root, where it is not the chain's.
    pub(super) fn chosen_root(&self) -> Option<Root> {
        self.settled.as_ref()?.root.as_ref().map(|held| held.root.clone())
    }

    /// Works by what an earlier chain of the run has read.
    pub(super) fn take_runtime(&mut self) -> Result<(), Fault> {
        match self.spec.runtime.take_if(|runtime| runtime.layers.file.is_some()) {
            Some(runtime) => self.put_together(runtime).map(drop),
            None => Ok(()),
        }
    }

    fn read_file(&self, desk: &mut Desk) -> Result<FileConfig, Fault> {
        let shown = |path: &str| {
            let found = desk.result.files.iter().find(|file| file.path.as_str() == path);
            found.map(|file| file.content.clone())
        };
        let mut manifest = manifest::load(shown).map_err(Fault::of)?.unwrap_or_default();
        for note in manifest.notes.iter().take(NOTES) {
            desk.log.note(&note.to_string());
        }
        if let Some(more) = manifest.notes.len().checked_sub(NOTES).filter(|more| *more > 0) {
            desk.log.note(&format!("and {more} more notes about the configuration file"));
        }
        let entry = manifest.stacks.remove(&self.spec.run.slug).unwrap_or_default();
        Ok(FileConfig { entry, defaults: manifest.stack_defaults })
    }

    fn put_together(&mut self, runtime: Runtime) -> Result<Used, Fault> {
        let Runtime { layers, binaries, images: _ } = runtime;
        let vendor = &mut self.spec.run.vendor;
        if matches!(vendor, Vendor::Wasi { .. }) && layers.sets_hooks() {
            let why =
                "the configuration sets hooks: a wasi stack runs guests only, and no shell that hooks could run in";
            return Err(Fault::Other(why.to_owned()));
        }
        let mut bind = None;
        if let Some((version, origin)) = layers.version() {
            let usual = vendor_program(vendor).ok_or_else(|| {
                Fault::Other(format!(
                    "`terraform_version` ({origin}) has no meaning for a stack of the vendor {}",
                    vendor.word()
                ))
            })?;
            let (name, host) = binary_of(&binaries, usual, version)
                .ok_or_else(|| Fault::Other(format!("{} ({origin})", no_such_binary(&binaries, version))))?;
            let inside = Path::new(inside::BINARIES).join(name);
            set_binary(vendor, if self.jail.kind == ExecutorKind::Jail { &inside } else { host });
            bind = Some(Bind::read_only(host.clone(), inside));
        }
        let (root, _) = layers.project_root();
        self.spec.run.project_root = root;
        let used = self.used(&layers);
        self.lay_variables(&layers);
        self.settled = Some(Settled { layers, binary: bind, root: None });
        Ok(used)
    }

    /// The variables of trigger and file, over and below those that the server sent.
    fn lay_variables(&mut self, layers: &Layers) {
        let variables = &mut self.spec.secrets.variables;
        for (name, placed) in layers.environment() {
            let Some(value) = placed.value else { continue };
            let value = Secret::new(value.to_owned());
            match variables.iter_mut().find(|known| known.name == name) {
                Some(known) => (known.value, known.sensitive) = (value, false),
                None => variables.push(Variable { name, value, sensitive: false }),
            }
        }
    }

    fn used(&self, layers: &Layers) -> Used {
        let environment =
            layers.environment().into_iter().map(|(name, placed)| self.used_variable(layers, name, placed));
        let hooks = HookPoint::ALL.into_iter().map(|point| (point, layers.hooks_at(point)));
        let (root, origin) = layers.project_root();
        Used {
            environment: environment.collect(),
            files: layers.files.clone(),
            hooks: hooks.filter(|(_, hooks)| !hooks.is_empty()).collect(),
            project_root: Chosen { value: root.to_string(), origin },
            terraform_version: layers.version().map(|(version, origin)| Chosen { value: version.to_owned(), origin }),
        }
    }

    fn used_variable(&self, layers: &Layers, name: EnvName, placed: Placed<'_>) -> UsedVariable {
        let Placed { value, origin, overrides } = placed;
        let known = self.spec.secrets.variables.iter().find(|known| known.name == name);
        let sensitive = value.is_none() && known.is_some_and(|known| known.sensitive);
        let text = value.or_else(|| known.map(|known| known.value.expose().as_str())).unwrap_or_default();
        let fits = text.len() <= limits::USED_VALUE_BYTES;
        let hash = match sensitive {
            true => layers.variables.get(&name).and_then(|known| known.hash.clone()),
            false if fits => None,
            false => Some(digest(text.as_bytes()).to_string()),
        };
        UsedVariable { value: (!sensitive && fits).then(|| text.to_owned()), hash, sensitive, origin, overrides, name }
    }

    /// A phase with the hooks that are due around it.
    pub(super) fn settled(&self, shell: &Shell) -> Shell {
        let mut shell = shell.clone();
        let Some(Settled { layers, binary, root: _ }) = &self.settled else { return shell };
        let (before, after) = HookPoint::around(shell.phase);
        let commands = |point| layers.hooks_at(point).into_iter().map(|hook| hook.command).collect();
        if !matches!(self.spec.run.vendor, Vendor::Wasi { .. }) {
            shell.before = before.map(commands).unwrap_or_default();
            shell.after = after.map(commands).unwrap_or_default();
        }
        if let Some(binary) = binary {
            shell.binds.retain(|bind| bind.inside != binary.inside);
            shell.binds.push(binary.clone());
        }
        shell
    }

    /// A guest that is told the project root that holds.
    pub(super) fn settled_guest(&self, guest: &GuestPhase) -> GuestPhase {
        let mut guest = guest.clone();
        if self.settled.is_some() {
            let root = &self.spec.run.project_root;
            guest.plain_env.iter_mut().filter(|(name, _)| name == "AIRLOCK_PROJECT_ROOT").for_each(|(_, value)| {
                *value = root.to_string();
            });
        }
        guest
    }
}

/// The program whose versions `terraform_version` names.
const fn vendor_program(vendor: &Vendor) -> Option<&'static str> {
    match vendor {
        Vendor::Terraform { .. } => Some("terraform"),
        Vendor::OpenTofu { .. } => Some("tofu"),
        Vendor::Custom { .. } | Vendor::Wasi { .. } => None,
    }
}

fn set_binary(vendor: &mut Vendor, path: &Path) {
    if let Vendor::Terraform { binary, .. } | Vendor::OpenTofu { binary, .. } = vendor {
        *binary = Some(path.display().to_string());
    }
}
