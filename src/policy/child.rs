//! `airlock evaluate`: one question on standard input, one answer on standard output, and an end.
//!
//! The order is the argument. What comes in is read whole by code that trusts nothing in it; then
//! this process gives up whatever it could do harm with; only then is a policy looked at. From there
//! on it cannot open a file, a socket or a directory, write a file, start a process, or take more
//! memory and time than it was given. Its server watches the clock beside it.

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _};
use rustix::{
    process::{Resource, Rlimit, setrlimit},
    thread::{Gid, Uid},
};
use serde::{Deserialize, Serialize};

use super::{Answer, Ask, Trouble, engine};
use crate::domain::limits;

/// What stands before the question.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Fence {
    /// Seconds on the processor.
    pub seconds: u64,
    /// Whom to become, where the server is root.
    pub uid: Option<u32>,
}

/// Everything that comes in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub fence: Fence,
    pub ask: Ask,
}

/// The verb. It never prints anything but the answer.
pub fn main() -> ExitCode {
    // A panic is seen in the end of this process; where it was is nobody's concern here.
    std::panic::set_hook(Box::new(|_| {}));
    let answer =
        read().and_then(|asked| confine(asked.fence).map(|()| asked.ask)).map_or_else(Answer::Trouble, engine::answer);
    let written = serde_json::to_vec(&answer).map_err(io::Error::from).and_then(|json| io::stdout().write_all(&json));
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read() -> Result<Asked, Trouble> {
    let most = limits::POLICY_INPUT_BYTES as u64 + limits::MIB;
    let mut bytes = Vec::new();
    io::stdin()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Trouble::new(format!("nothing was asked: {error}")))?;
    serde_json::from_slice(&bytes).map_err(|error| Trouble::new(format!("the question cannot be read: {error}")))
}

/// Gives up everything that evaluating does not need. What cannot be given up ends it.
fn confine(fence: Fence) -> Result<(), Trouble> {
    let failed = |what: &'static str| move |error: io::Error| Trouble::new(format!("cannot {what}: {error}"));
    let taken = address_space().map_err(failed("see how much memory it takes"))?;
    no_files_no_ports();
    if let Some(uid) = fence.uid {
        become_nobody(uid).map_err(failed("give up the rights of root"))?;
    }
    let most = [
        (Resource::As, taken + limits::POLICY_MEMORY_BYTES),
        (Resource::Cpu, fence.seconds),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        // No further descriptor: no file, no socket, no pipe.
        (Resource::Nofile, 0),
    ];
    for (resource, most) in most {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| failed("limit itself")(error.into()))?;
    }
    Ok(())
}

/// A second fence on the file system and on ports, where the kernel has it. It also forbids that any
/// right is ever gained again.
fn no_files_no_ports() {
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI::V4));
    let ruleset = ruleset.and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V4)));
    let ruled = ruleset.and_then(Ruleset::create).and_then(landlock::RulesetCreated::restrict_self);
    // The limit on descriptors holds without it.
    drop(ruled);
}

fn become_nobody(uid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Bytes of address space that are taken already: the program itself, and what came in.
fn address_space() -> io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = statm.split(' ').next().and_then(|pages| pages.parse().ok());
    let pages = pages.ok_or_else(|| io::Error::other("/proc/self/statm is not as expected"))?;
    Ok(pages * rustix::param::page_size() as u64)
}
