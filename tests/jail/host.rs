//! The host around a jail: a chain's directory, the two kinds of servers, controls.

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use airlock::{
    domain::{
        Verdict,
        stack::{ExecutorKind, Limits, NetworkMode},
    },
    protocol::{JailSpec, Root},
    runner::native::{find_cgroups, sweep_cgroups},
};
use tempfile::TempDir;

use crate::runner::{ARGUMENT, Order, Phase, Report, Reports, WhenReady};

/// The ordinary user of these tests, and the uid that a root server leases to its run.
const ORDINARY: u32 = 1_001;
const LEASED: u32 = 60_123;

/// Who the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Root,
    Ordinary,
}

/// Both kinds as root; otherwise only the one that this is.
pub fn servers() -> &'static [Server] {
    if is_root() { &[Server::Root, Server::Ordinary] } else { &[Server::Ordinary] }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn as_root(why: &str) {
    assert!(is_root(), "this test needs root ({why}): run it as root");
}

impl Server {
    /// The uid that owns what jails of this server make, as the host counts.
    pub fn jail_uid(self) -> u32 {
        match self {
            Self::Root => LEASED,
            Self::Ordinary => self.uid(),
        }
    }

    fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Ordinary if is_root() => ORDINARY,
            Self::Ordinary => rustix::process::geteuid().as_raw(),
        }
    }

    /// A program run as the server is, outside any jail: the control of an attack.
    pub fn outside(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        as_user(program, self.uid())
    }

    /// The same as the jail's uid: what a process could do that only had changed its user.
    pub fn outside_as_jail(self, program: &str) -> Command {
        as_user(program, self.jail_uid())
    }
}

fn as_user(program: impl AsRef<std::ffi::OsStr>, uid: u32) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    if is_root() && uid != 0 {
        // Changing the uid from root gives up the supplementary groups as well.
        command.uid(uid).gid(uid);
    }
    command
}

/// A chain's directory with a workspace, in a directory that stands for the appliance's data.
pub struct Host {
    pub server: Server,
    pub data: TempDir,
    pub spec: JailSpec,
    pub leak: Option<PathBuf>,
    pub second_thread: bool,
}

impl Host {
    pub fn new(server: Server) -> Self {
        let data = tempfile::Builder::new().prefix("airlock-jail-").tempdir_in("/tmp").unwrap();
        let dir = data.path().join("runs/01TESTRUN/1");
        for name in ["workspace", "run"] {
            let path = dir.join("tree").join(name);
            fs::create_dir_all(&path).unwrap();
            chown(&path, Some(server.jail_uid()), Some(server.jail_uid())).unwrap();
        }
        fs::write(data.path().join("master.key"), "the key\n").unwrap();
        if server == Server::Ordinary {
            for path in [data.path(), &data.path().join("master.key")] {
                chown(path, Some(server.uid()), Some(server.uid())).unwrap();
            }
        }
        let spec = JailSpec {
            version: airlock::protocol::VERSION,
            kind: ExecutorKind::Jail,
            user: (server == Server::Root).then_some(LEASED),
            limits: Limits::default(),
            root: Root::Host,
            dir,
            hostname: "jail-test".to_owned(),
            cgroup: if server == Server::Root { find_cgroups().ok() } else { None },
        };
        Self { server, data, spec, leak: None, second_thread: false }
    }

    /// Where the groups of a server of root are.
    pub fn groups(&self) -> &Path {
        as_root("only its server makes groups");
        self.spec.cgroup.as_deref().unwrap_or_else(|| panic!("no group can be made here: {:?}", find_cgroups()))
    }

    pub fn workspace(&self) -> PathBuf {
        self.spec.dir.join("tree/workspace")
    }

    pub fn key(&self) -> PathBuf {
        self.data.path().join("master.key")
    }

    /// A named pipe in the workspace that the jail's user can open.
    pub fn pipe(&self, name: &str) -> PathBuf {
        let path = self.workspace().join(name);
        succeeds(Command::new("mkfifo").arg(&path));
        chown(&path, Some(self.server.jail_uid()), None).unwrap();
        path
    }

    /// Lets the jail's user reach the workspace by the host's path: without a jail it must.
    pub fn open_the_way(&self) {
        for path in self.workspace().ancestors().take_while(|path| path.starts_with(self.data.path())) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Runs a script with nothing special about it.
    pub fn sh(&self, script: &str) -> Report {
        self.run(phase(script))
    }

    /// Runs a script that must succeed; what it printed.
    pub fn says(&self, script: &str) -> String {
        let report = self.sh(script);
        assert_eq!(report.verdict, Verdict::SUCCESS, "{:?} {script}: {report:?}", self.server);
        report.stdout
    }

    pub fn run(&self, phase: Phase) -> Report {
        let mut reports =
            self.try_run(vec![phase]).unwrap_or_else(|error| panic!("{:?}: no jail: {error}", self.server));
        reports.pop().unwrap()
    }

    pub fn try_run(&self, phases: Vec<Phase>) -> Reports {
        let output = self.spawn(phases).wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("the runner said {text:?} ({error}): {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Starts the runner; it has been told what to do.
    pub fn spawn(&self, phases: Vec<Phase>) -> std::process::Child {
        let order =
            Order { spec: self.spec.clone(), phases, leak: self.leak.clone(), second_thread: self.second_thread };
        let mut runner = self
            .server
            .outside(this_binary())
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text = serde_json::to_vec(&order).unwrap();
        runner.stdin.take().unwrap().write_all(&text).unwrap();
        runner
    }
}

impl Drop for Host {
    /// Some tests kill their runner, and what is left of it then is swept by the server.
    fn drop(&mut self) {
        if let Some(cgroup) = &self.spec.cgroup {
            sweep_cgroups(cgroup, &self.data.path().join("runs"), &[]).unwrap();
        }
    }
}

/// A phase that runs `sh -c` in the workspace without a network.
pub fn phase(script: &str) -> Phase {
    let environment =
        [("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/tmp/home"), ("LANG", "C.UTF-8")];
    Phase {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        cwd: PathBuf::from("/workspace"),
        network: NetworkMode::None,
        binds: Vec::new(),
        limits: Limits::default(),
        listen: Vec::new(),
        when_ready: WhenReady::Nothing,
        marker: None,
    }
}

static COPY: Mutex<Option<(TempDir, PathBuf)>> = Mutex::new(None);

/// This binary where every user can execute it.
pub fn this_binary() -> PathBuf {
    let mut copy = COPY.lock().unwrap();
    let (_, path) = copy.get_or_insert_with(|| {
        let dir = tempfile::Builder::new().prefix("airlock-jail-bin-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("jail");
        fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    });
    path.clone()
}

/// Removes that copy.
pub fn clean_up() {
    drop(COPY.lock().unwrap().take());
}

/// What a program says; it must succeed. For controls.
pub fn succeeds(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("control {command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "control {command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A perl one-liner that makes one system call and prints `ok` or its error number.
pub fn call(number: libc::c_long, arguments: &str) -> String {
    format!("perl -e '$r = syscall({number}, {arguments}); print $r < 0 ? $!+0 : \"ok\"'")
}
