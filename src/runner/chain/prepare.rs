//! Phase `preparing`: the workspace is made fresh, and everything that phases find in it is put there.

use std::{fs::File, path::PathBuf};

use crate::{
    crypt::{digest, write_file_under},
    domain::{
        BranchName, RelativePath, Verdict, limits,
        run::{CommitFacts, Signature},
        stack::{ExecutorKind, NetworkMode},
        verdict::bytes,
    },
    mask::MaskSet,
    protocol::{
        Bind, Environment, Fetch, GitCredential, GitFetch, PatchFile, Prepare, Root, RunFacts, ShownFile, file, inside,
        source_label,
    },
    source::{
        archive,
        git::{self, Address, Credential, FetchScript},
        upload,
    },
    vendor::{self, Places},
};

use super::{
    Chain,
    desk::Desk,
    shell::{Program, argv},
};
use crate::runner::{
    dir::ChainDir,
    fault::Fault,
    native::{self, StopSignal},
    patching,
    tree::Tree,
};

/// Where a jail that fetches sees a repository of the host.
const LOCAL_REPOSITORY: &str = "/run/airlock-source";

/// Where things lie for phases without a jail.
pub(super) fn places_on_the_host(dir: &ChainDir) -> Places {
    let below = |name: &str| dir.file_path(file::TREE).join(name).display().to_string();
    Places {
        workspace: below(file::WORKSPACE),
        run: below(file::RUN),
        provider_mirror: inside::PROVIDER_MIRROR.to_owned(),
        plugin_cache: inside::PLUGIN_CACHE.to_owned(),
    }
}

/// The name of a file that phases see in `/run/airlock`, in `tree/run`.
pub(super) fn name_in_run(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

impl Chain {
    pub(super) fn prepare(&mut self, prepare: &Prepare, desk: &mut Desk) -> Result<Verdict, Fault> {
        self.check_disk(prepare.disk_floor_bytes)?;
        self.remove_workspace()?;
        self.use_tree(Tree::make(&self.tools.dir, self.jail.user)?)?;
        let verdict = match &prepare.source {
            Fetch::Git(wanted) => self.fetch(wanted, desk)?,
            Fetch::Upload { path, digest } => {
                let archive = File::open(path).map_err(Fault::io("open the uploaded source"))?;
                let info =
                    upload::unpack(archive, self.tree()?.workspace(), self.jail.user, digest).map_err(Fault::of)?;
                desk.log.note(&format!(
                    "unpacked {} ({} entries, {})",
                    digest.short(),
                    info.entries,
                    bytes(info.unpacked)
                ));
                Verdict::SUCCESS
            }
        };
        if verdict.is_success() {
            if let Some(patch) = &prepare.patch {
                self.apply_patch(patch, desk)?;
            }
            self.show_files(&prepare.shows, desk)?;
            if prepare.archive {
                self.keep_source(desk)?;
            }
            self.read_runtime(desk)?;
            self.place_files(desk)?;
        }
        Ok(verdict)
    }

    fn apply_patch(&self, patch: &PatchFile, desk: &mut Desk) -> Result<(), Fault> {
        let text = std::fs::read_to_string(&patch.path).map_err(Fault::io("read the patch"))?;
        if digest(text.as_bytes()) != patch.digest {
            return Err(Fault::Other("the patch is not the one that was proposed".to_owned()));
        }
        let files = patching::apply(&text, self.tree()?).map_err(Fault::of)?;
        desk.log.note(&format!("made the changes of run #{} in {files} files", patch.run));
        Ok(())
    }

    /// Hands the server what it asked to see of the source.
    fn show_files(&self, shows: &[RelativePath], desk: &mut Desk) -> Result<(), Fault> {
        for path in shows {
            if let Some(content) = self.tree()?.beginning(path, limits::MANIFEST_BYTES as u64 + 1)? {
                desk.result.files.push(ShownFile { path: path.clone(), content });
            }
        }
        Ok(())
    }

    /// Keeps the source as it is before anything secret is put into it. One that is too large is no
    /// reason not to plan.
    fn keep_source(&self, desk: &mut Desk) -> Result<(), Fault> {
        let place = self.tools.dir.file_path(file::TREE).join(file::WORKSPACE);
        match archive::archive(&place, limits::SOURCE_ARCHIVE_BYTES) {
            Ok(archive) => {
                let path = self.tools.dir.file_path(&file::source(desk.number));
                let label = source_label(self.spec.run.id, desk.number);
                write_file_under(&path, &self.tools.key, label.as_bytes(), &mut archive.as_slice())
                    .map_err(Fault::io("write the source's archive"))?;
                desk.produced.source = true;
            }
            Err(error) => {
                let why = format!("run tasks cannot download the source: as an archive, {error}");
                desk.log.note(&why);
                desk.produced.warnings.push(why);
            }
        }
        Ok(())
    }

    /// For hooks that run although nothing could be opened.
    pub(super) fn make_empty_workspace(&mut self) -> Result<(), Fault> {
        self.remove_workspace()?;
        let tree = Tree::make(&self.tools.dir, self.jail.user)?;
        tree.directories(self.spec.run.project_root.as_str())?;
        self.use_tree(tree)
    }

    /// Works in this tree from now on.
    pub(super) fn use_tree(&mut self, tree: Tree) -> Result<(), Fault> {
        if !self.confined() {
            tree.let_through()?;
        }
        self.tree = Some(tree);
        Ok(())
    }

    pub(super) fn tree(&self) -> Result<&Tree, Fault> {
        self.tree.as_ref().ok_or(Fault::Missing("phase that makes the workspace before it is used"))
    }

    /// The run's facts with what this chain found out.
    pub(super) fn facts(&self) -> RunFacts {
        RunFacts { commit: self.commit.clone(), ..self.spec.run.clone() }
    }

    /// Whether phases run in a jail.
    pub(super) fn confined(&self) -> bool {
        self.jail.kind == ExecutorKind::Jail
    }

    fn check_disk(&self, floor: u64) -> Result<(), Fault> {
        let disk = rustix::fs::fstatvfs(self.tools.dir.fd()).map_err(Fault::io("ask for the disk's free space"))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < floor {
            return Err(Fault::Other(format!(
                "only {} are free on the disk; {} are needed to prepare a workspace: make room and try again",
                bytes(free),
                bytes(floor)
            )));
        }
        Ok(())
    }

    fn fetch(&mut self, wanted: &GitFetch, desk: &mut Desk) -> Result<Verdict, Fault> {
        let workspace = self.places.workspace.clone();
        let git::Fetched { commit, facts } = match self.ask_git(wanted, Some(&workspace), desk)? {
            Ok(fetched) => fetched,
            Err(ended) => return Ok(ended),
        };
        desk.log.note(&format!("checked out {commit} of {}", wanted.branch));
        desk.produced.commit = Some(commit.clone());
        desk.produced.commit_facts = facts.map(|facts| Box::new(masked(facts, &self.tools.masks)));
        self.commit = Some(commit);
        Ok(Verdict::SUCCESS)
    }

    /// Which commit a branch stands for.
    pub(super) fn look_up(&mut self, wanted: &GitFetch, desk: &mut Desk) -> Result<Verdict, Fault> {
        // What a jail fills is measured there, though nothing comes of it.
        self.make_empty_workspace()?;
        Ok(match self.ask_git(wanted, None, desk)? {
            Ok(found) => {
                desk.produced.commit = Some(found.commit);
                Verdict::SUCCESS
            }
            Err(ended) => ended,
        })
    }

    /// Has git fetch something, or only look it up; the verdict where somebody or something ended it.
    fn ask_git(
        &self,
        wanted: &GitFetch,
        into: Option<&str>,
        desk: &mut Desk,
    ) -> Result<Result<git::Fetched, Verdict>, Fault> {
        let address = Address::parse(&wanted.url).map_err(Fault::of)?;
        let branch = BranchName::new(&wanted.branch).map_err(|error| Fault::Other(format!("the branch {error}")))?;
        let confined = self.confined();
        let local = wanted
            .local
            .as_ref()
            .map(|host| if confined { LOCAL_REPOSITORY.to_owned() } else { host.display().to_string() });
        let request = git::Request {
            address: &address,
            local: local.as_deref(),
            branch: &branch,
            commit: wanted.commit.as_ref(),
            submodules: wanted.submodules,
            credential: self.spec.secrets.git.as_ref().map(credential),
            into,
        };
        let FetchScript { text, arguments, environment } = git::script(&request).map_err(Fault::of)?;
        let program = Program {
            what: native::Program::Exec(argv(
                ["sh", "-c", text, "airlock"].into_iter().chain(arguments.iter().map(String::as_str)).collect(),
            )),
            limits: self.jail.limits.clone(),
            stdin: None,
            inherited: Vec::new(),
            environment: base_environment().into_iter().chain(environment).collect(),
            network: if local.is_some() { NetworkMode::None } else { NetworkMode::Host },
            root: Some(Root::Host),
            binds: bind_local(wanted.local.as_ref().filter(|_| confined)),
            growth: None,
            serves: Vec::new(),
            signal: StopSignal::Terminate,
            wall: into.map_or(limits::LOOK_UP_WALL, |_| limits::FETCH_WALL),
            silence: None,
        };
        let attended = self.run_program(program, desk)?;
        if let Some(why) = attended.why {
            return Ok(Err(why.verdict()));
        }
        git::fetched(&request, &attended.report).map(Ok).map_err(Fault::of)
    }

    fn place_files(&self, desk: &mut Desk) -> Result<(), Fault> {
        let tree = self.tree()?;
        for file in &self.spec.secrets.files {
            tree.place(&file.path, file.content.expose())?;
        }
        let facts = &self.spec.run;
        if self.tools.states.is_some() && facts.vendor.has_state() {
            let wanted = |name: &str| vendor::is_configuration(&facts.vendor, name);
            let files = tree.configuration(&facts.project_root, wanted)?;
            let files = files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
            if vendor::needs_managed_state(&facts.vendor, files) {
                tree.place_in(
                    facts.project_root.as_str(),
                    vendor::OVERRIDE_FILE,
                    vendor::backend_override().as_bytes(),
                )?;
                desk.log.note("the configuration names no backend: the state is managed by Airlock");
            }
        }
        Ok(())
    }
}

/// A commit's words for other eyes: what the run masks in logs is masked here, too.
fn masked(facts: CommitFacts, masks: &MaskSet) -> CommitFacts {
    let mask = |text: String| if masks.contains_secret(&text) { masks.mask_text(&text) } else { text };
    let signature = |who: Signature| Signature { name: mask(who.name), email: mask(who.email) };
    CommitFacts {
        author: signature(facts.author),
        committer: signature(facts.committer),
        at: facts.at,
        message: mask(facts.message),
    }
}

/// What every program finds, whatever it is for.
fn base_environment() -> Environment {
    let pairs = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/tmp/home"),
        ("TMPDIR", "/tmp"),
        ("LANG", "C.UTF-8"),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn credential(of: &GitCredential) -> Credential<'_> {
    match of {
        GitCredential::Https { user, token } => Credential::Https { user, token: token.expose() },
        GitCredential::Ssh { private_key, known_hosts } => {
            Credential::Ssh { private_key: private_key.expose(), known_hosts }
        }
    }
}

fn bind_local(host: Option<&PathBuf>) -> Vec<Bind> {
    host.map(|host| Bind::read_only(host.clone(), PathBuf::from(LOCAL_REPOSITORY))).into_iter().collect()
}
