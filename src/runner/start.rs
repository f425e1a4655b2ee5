//! How a runner begins: descriptors, session, the two lines of the specification.
//!
//! The order is the argument: nothing of the first line is secret, and the jail's process is forked
//! between the two lines, while this process has one thread and knows no secret. So the first line
//! is read byte by byte, never past its end.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::{Errno, FdFlags},
};
use serde::{Deserialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::protocol::{ChainSpec, JailSpec, VERSION, file};

use super::{dir::ChainDir, fault::Fault};

/// Bytes of the jail's specification.
const JAIL_SPEC_BYTES: usize = 64 << 10;
/// Bytes of the chain's specification: 100 mounted files of 2 MB and a state of 100 MB, in base64.
const CHAIN_SPEC_BYTES: usize = 512 << 20;

/// The descriptors that the server handed over.
#[derive(Debug)]
pub struct Handed {
    spec: File,
    /// The lock is held for as long as this is open.
    lock: OwnedFd,
}

impl Handed {
    /// Takes descriptors 0 and 1 over, puts `/dev/null` in their places, and leaves the session of
    /// whoever started this. No descriptor reaches another program.
    pub fn take() -> Result<Self, Fault> {
        let doing = "take over the descriptors";
        for fd in [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()] {
            rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(Fault::io(doing))?;
        }
        let spec = io::stdin().as_fd().try_clone_to_owned().map_err(Fault::io(doing))?;
        let lock = io::stdout().as_fd().try_clone_to_owned().map_err(Fault::io(doing))?;
        let null =
            rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(Fault::io(doing))?;
        rustix::stdio::dup2_stdin(&null).and_then(|()| rustix::stdio::dup2_stdout(&null)).map_err(Fault::io(doing))?;
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        match rustix::process::setsid() {
            // Already the leader of a session.
            Ok(_) | Err(Errno::PERM) => {}
            Err(error) => return Err(Fault::io("begin a session")(error)),
        }
        Ok(Self { spec: File::from(spec), lock })
    }

    /// The first line: nothing secret.
    pub fn jail_spec(&mut self) -> Result<JailSpec, Fault> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            match self.spec.read(&mut byte) {
                Ok(0) => return Err(Fault::CutShort),
                Ok(_) if byte == *b"\n" => return parse("jail's specification", &line),
                Ok(_) if line.len() == JAIL_SPEC_BYTES => {
                    return Err(Fault::TooLarge { which: "jail's specification", limit: JAIL_SPEC_BYTES });
                }
                Ok(_) => line.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::io("read the specification")(error)),
            }
        }
    }

    /// The second line, with all that is secret. Its bytes are wiped.
    pub fn chain_spec(&mut self) -> Result<ChainSpec, Fault> {
        let mut line = Zeroizing::new(Vec::with_capacity(64 << 10));
        let mut piece = Zeroizing::new(vec![0; 64 << 10]);
        while line.last() != Some(&b'\n') {
            let read = match self.spec.read(&mut piece) {
                Ok(0) => return Err(Fault::CutShort),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::io("read the specification")(error)),
            };
            if line.len() + read > CHAIN_SPEC_BYTES {
                return Err(Fault::TooLarge { which: "chain's specification", limit: CHAIN_SPEC_BYTES });
            }
            line.extend_from_slice(&piece[..read]);
        }
        line.pop();
        parse("chain's specification", &line)
    }

    /// Refuses to work without the chain's lock: recovery relies on it.
    pub fn check_lock(&self, dir: &ChainDir) -> Result<(), Fault> {
        let not_locked = || Fault::NotLocked { lock: file::LOCK, dir: dir.path().display().to_string() };
        let named = rustix::fs::statat(dir.fd(), file::LOCK, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|_| not_locked())?;
        let held = rustix::fs::fstat(&self.lock).map_err(|_| not_locked())?;
        if (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino) {
            return Err(not_locked());
        }
        rustix::fs::flock(&self.lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| not_locked())
    }

    /// Closes the pipe, which tells the server that `control.sock` is there, and keeps the lock.
    pub fn into_lock(self) -> OwnedFd {
        self.lock
    }
}

/// Reads a message of this version. What is wrong is said without showing any of it.
fn parse<T: DeserializeOwned>(which: &'static str, line: &[u8]) -> Result<T, Fault> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let unreadable = |error: serde_json::Error| Fault::Spec { which, column: error.column() };
    let Versioned { version } = serde_json::from_slice(line).map_err(unreadable)?;
    if version != VERSION {
        return Err(Fault::Version { found: version, spoken: VERSION });
    }
    serde_json::from_slice(line).map_err(unreadable)
}

/// Writes a line into `runner.err`, which is standard error.
pub fn complain(what: &dyn std::fmt::Display) {
    // There is nobody left to tell when this fails.
    let _ = writeln!(io::stderr(), "airlock runner: {what}");
}
