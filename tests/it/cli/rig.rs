//! The binary, spawned: a server with somebody who is signed in to it, and verbs that are run.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_airlock");
/// Longer than anything here takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(90);
const PASSWORD: &str = "seven green kettles";

/// What a verb came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A directory of one's own, from which verbs are run.
pub struct Desk {
    pub dir: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path as a flag's value.
    pub fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        self.at(name)
    }

    /// The binary with nothing of this process's surroundings that could matter.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.dir.path());
        command.env("AIRLOCK_DRAIN_SECONDS", "1");
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "", &[])
    }

    pub fn run_with(&self, args: &[&str], input: &str, variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args);
        command.envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A verb that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A server on this desk's data directory.
    pub fn serve(&self, more: &[&str]) -> Server {
        let data = self.at("data");
        let mut args = vec!["serve", "--data", &data];
        if !more.contains(&"--listen") {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        args.extend(more);
        Server::start(self, &args)
    }

    /// A server with an admin, who is signed in.
    pub fn signed_in(&self) -> Server {
        let password = self.write("password", PASSWORD);
        let server = self.serve(&["--admin-password-file", &password]);
        self.sign_in(&server);
        server
    }

    pub fn sign_in(&self, server: &Server) {
        self.run_with(&["login", &server.url, "--user", "admin"], &format!("{PASSWORD}\n"), &[]).expect(0);
    }

    /// A stack whose source is this shell.
    pub fn stack(&self, name: &str, plan: &str, apply: &str) {
        let source = self.path("source");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("file"), "text\n").unwrap();
        let source = source.display().to_string();
        let flags = ["stack", "create", name, "--vendor", "custom", "--plan", plan, "--apply", apply, "--upload"];
        self.run(&[&flags[..], &[&source]].concat()).expect(0);
    }

    /// Triggers a run or performs a task and answers with its id.
    pub fn start(&self, args: &[&str]) -> String {
        let ran = self.run(&[&args[..2], &["--json"], &args[2..]].concat()).expect(0);
        ran.json()["id"].as_str().unwrap().to_owned()
    }

    /// Lets a run go on that waits for a file in its workspace.
    pub fn let_go(&self, run: &str, chain: u32) {
        let place = self.path("data").join("runs").join(run).join(chain.to_string()).join("tree/workspace/go");
        File::create(place).unwrap();
    }
}

/// A command that prints a line and goes on when it is let go.
pub const WAITS: &str = "echo waiting; while [ ! -e go ]; do sleep 0.05; done; echo gone on";

/// A process whose lines are read as they come.
pub struct Talking {
    pub child: Child,
    lines: Receiver<String>,
    /// Everything that was read.
    pub heard: String,
}

impl Talking {
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).unwrap() > 0 {
                let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, heard: String::new() }
    }

    /// The next line that contains a text.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.heard.push_str(&line);
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no `{text}` ({error}) after\n{}", self.heard),
            }
        }
    }

    /// Waits for its end; everything that it printed, and its exit code.
    pub fn end(mut self) -> (i32, String) {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.heard.push_str(&line);
        }
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, std::mem::take(&mut self.heard))
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server process.
pub struct Server {
    pub process: Talking,
    pub url: String,
}

impl Server {
    pub fn start(desk: &Desk, args: &[&str]) -> Self {
        let mut command = desk.command(args);
        command.stderr(File::create(desk.path("server.err")).unwrap());
        let mut process = Talking::spawn(command);
        let line = process.until("airlock ready at ");
        let url = line.trim().strip_prefix("airlock ready at ").unwrap().to_owned();
        Self { process, url }
    }

    /// Asks it to end as an operator would, and waits until it has drained.
    #[track_caller]
    pub fn stop(self) {
        self.process.signal(rustix::process::Signal::TERM);
        let (code, out) = self.process.end();
        assert_eq!(code, 0, "{out}");
    }

    /// `ADDRESS:PORT`.
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }
}

/// Every file below a directory, with its bytes.
pub fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found
}
