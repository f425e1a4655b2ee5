//! The runner's process, as its server sees it, and what it left.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
};

use airlock::{
    crypt::{Key, read_file_under},
    domain::{Phase, Verdict, limits},
    protocol::{
        Bell, PhaseResult, Produced, Record, Request, WorkspaceLeft, file, read_records, result_label, state_label,
    },
};
use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, Signal},
};
use tempfile::TempDir;

use super::trial::{CHAIN_KEY, RUN};

/// A runner before anything was said to it.
pub struct Raw {
    pub child: Child,
    pub pipe: File,
    dir: PathBuf,
}

pub fn spawn(dir: &Path, lock: File) -> Raw {
    let (reading, writing) = std::io::pipe().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_airlock"))
        .arg("runner")
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(reading)))
        .stdout(Stdio::from(lock))
        .stderr(Stdio::from(File::create(dir.join(file::ERRORS)).unwrap()))
        .spawn()
        .unwrap();
    Raw { child, pipe: File::from(OwnedFd::from(writing)), dir: dir.to_owned() }
}

impl Raw {
    /// Waits until the runner listens, which it says by closing its end of the pipe.
    pub fn connect(self, root: Arc<TempDir>) -> Runner {
        let Self { child, pipe, dir } = self;
        let mut ends = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::empty())];
        rustix::event::poll(&mut ends, None).unwrap();
        // A chain may have come to its end by now.
        let control = UnixStream::connect(dir.join(file::CONTROL)).ok().map(BufReader::new);
        Runner { child, control, dir, root }
    }

    /// Waits for the end of a runner that has nothing to say.
    pub fn end(mut self) -> (ExitStatus, Vec<Record>, String) {
        drop(self.pipe);
        let status = self.child.wait().unwrap();
        let records = fs::read(self.dir.join(file::RECORDS)).unwrap_or_default();
        (status, read_records(&records).0, fs::read_to_string(self.dir.join(file::ERRORS)).unwrap())
    }
}

/// A runner at work.
pub struct Runner {
    pub child: Child,
    control: Option<BufReader<UnixStream>>,
    dir: PathBuf,
    root: Arc<TempDir>,
}

impl Runner {
    /// The next bell; none when the runner is gone, which may be before it took this connection.
    pub fn bell(&mut self) -> Option<Bell> {
        let mut line = String::new();
        let read = match self.control.as_mut().map_or(Ok(0), |control| control.read_line(&mut line)) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            read => read.unwrap(),
        };
        (read > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    pub fn ask(&mut self, request: Request) {
        let mut line = serde_json::to_vec(&request).unwrap();
        line.push(b'\n');
        self.control.as_mut().unwrap().get_mut().write_all(&line).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until a phase's log holds the text.
    pub fn until_log(&mut self, number: u32, phase: Phase, text: &str) {
        let path = self.dir.join(file::log(number, phase));
        while !fs::read_to_string(&path).unwrap_or_default().contains(text) {
            assert!(self.bell().is_some(), "the runner ended before it printed `{text}`");
        }
    }

    pub fn wait(mut self) -> Outcome {
        while self.bell().is_some() {}
        self.outcome()
    }

    /// Hangs up, as a server that dies, and waits for the process.
    pub fn hang_up(self, afterwards: impl FnOnce()) -> Outcome {
        let Self { child, control, dir, root } = self;
        drop(control);
        afterwards();
        Self { child, control: None, dir, root }.outcome()
    }

    fn outcome(mut self) -> Outcome {
        self.child.wait().unwrap();
        let bytes = fs::read(self.dir.join(file::RECORDS)).unwrap_or_default();
        let (records, consumed) = read_records(&bytes);
        assert_eq!(consumed, bytes.len(), "the records are whole");
        let ended = records
            .iter()
            .filter_map(|record| match record {
                Record::PhaseEnded { number, phase, verdict, produced, .. } => Some(Ended {
                    number: *number,
                    phase: *phase,
                    verdict: verdict.clone(),
                    produced: (**produced).clone(),
                }),
                _ => None,
            })
            .collect();
        Outcome { dir: self.dir, records, ended, _root: self.root }
    }
}

/// How a phase ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub number: u32,
    pub phase: Phase,
    pub verdict: Verdict,
    pub produced: Produced,
}

/// What a chain left.
#[derive(Debug)]
pub struct Outcome {
    pub dir: PathBuf,
    pub records: Vec<Record>,
    pub ended: Vec<Ended>,
    /// The directory lives for as long as anybody looks at it.
    _root: Arc<TempDir>,
}

impl Outcome {
    pub fn phase(&self, phase: Phase) -> &Ended {
        self.ended.iter().find(|ended| ended.phase == phase).unwrap_or_else(|| panic!("no {phase}: {self:?}"))
    }

    pub fn phases(&self) -> Vec<Phase> {
        // Shown when a test fails.
        eprintln!("{:#?}\n{}", self.ended.last(), self.errors());
        self.ended.iter().map(|ended| ended.phase).collect()
    }

    pub fn verdict(&self, phase: Phase) -> &Verdict {
        &self.phase(phase).verdict
    }

    pub fn log(&self, phase: Phase) -> String {
        let ended = self.phase(phase);
        fs::read_to_string(self.dir.join(file::log(ended.number, phase))).unwrap()
    }

    pub fn result(&self, phase: Phase) -> PhaseResult {
        let number = self.phase(phase).number;
        let label = result_label(RUN.parse().unwrap(), number);
        let path = self.dir.join(file::result(number));
        let json = read_file_under(&path, &Key::new(CHAIN_KEY), label.as_bytes(), limits::GIB).unwrap();
        serde_json::from_slice(json.expose()).unwrap()
    }

    pub fn state(&self, phase: Phase, n: u32) -> Vec<u8> {
        let number = self.phase(phase).number;
        let label = state_label(RUN.parse().unwrap(), number, n);
        let path = self.dir.join(file::state(number, n));
        read_file_under(&path, &Key::new(CHAIN_KEY), label.as_bytes(), limits::GIB).unwrap().expose().clone()
    }

    /// The last record: what became of the workspace, and whether somebody wanted the end.
    pub fn end(&self) -> (WorkspaceLeft, bool) {
        match self.records.last() {
            Some(Record::Ended { workspace, stopped, fault: None, .. }) => (*workspace, *stopped),
            other => panic!("{other:?} {}", self.errors()),
        }
    }

    pub fn errors(&self) -> String {
        fs::read_to_string(self.dir.join(file::ERRORS)).unwrap()
    }

    /// Whether any file of the chain holds the text.
    pub fn holds(&self, text: &str) -> bool {
        fs::read_dir(&self.dir).unwrap().any(|entry| {
            let entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.file_type().unwrap().is_file()
                && File::open(entry.path()).unwrap().read_to_end(&mut bytes).is_ok()
                && memchr::memmem::find(&bytes, text.as_bytes()).is_some()
        })
    }
}
