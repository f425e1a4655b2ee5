//! What init does while the program runs.

use std::{
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, read},
    process::{Pid, Signal, WaitOptions, kill_process, wait},
};

use super::{
    processes::descendants,
    sys,
    wire::{InitReply, order},
};

/// What is left of init's children.
enum Children {
    Some,
    None,
}

/// Reaps and passes signals on until the program has ended, and says how; none if the runner is gone.
///
/// The program's end is the end. Only after a stop signal it is the end of the last process: a shell
/// dies of the signal at once, what it had started may need its grace period.
pub(super) fn until_the_end(
    program: i32,
    mut socket: &UnixStream,
    events: &OwnedFd,
    confined: bool,
) -> Option<InitReply> {
    let mut ended = None;
    let mut stopping = false;
    loop {
        let mut ready = [PollFd::new(socket, PollFlags::IN), PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
        let (spoken, died) = (!ready[0].revents().is_empty(), !ready[1].revents().is_empty());
        if spoken {
            let mut order = [0];
            match socket.read(&mut order) {
                Ok(1) if order[0] == order::KILL => break,
                Ok(1) => {
                    stopping = true;
                    let signal = if order[0] == order::INTERRUPT { libc::SIGINT } else { libc::SIGTERM };
                    signal_everybody(signal, confined);
                }
                Ok(_) | Err(_) => {
                    ended = None;
                    break;
                }
            }
        }
        if died {
            drain(events);
        }
        let left = reap(program, &mut ended);
        if ended.is_some() && (!stopping || matches!(left, Children::None)) {
            break;
        }
    }
    if !confined {
        kill_descendants(program, &mut ended);
    }
    ended
}

fn drain(events: &OwnedFd) {
    let mut buffer = [0; 1_024];
    while read(events, &mut buffer).is_ok_and(|bytes| bytes > 0) {}
}

/// Collects everyone who has ended, and notes how the program did.
fn reap(program: i32, ended: &mut Option<InitReply>) -> Children {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(None) => return Children::Some,
            Ok(Some((pid, status))) => {
                if pid.as_raw_nonzero().get() == program {
                    *ended = status
                        .exit_status()
                        .map(InitReply::Exited)
                        .or_else(|| status.terminating_signal().map(InitReply::Signalled));
                }
            }
            Err(Errno::INTR) => {}
            Err(_) => return Children::None,
        }
    }
}

fn signal_everybody(signal: i32, confined: bool) {
    if confined {
        return sys::signal_all(signal);
    }
    let signal = if signal == libc::SIGINT { Signal::INT } else { Signal::TERM };
    send_to_descendants(signal);
}

fn send_to_descendants(signal: Signal) {
    for pid in descendants(std::process::id() as i32).into_iter().filter_map(Pid::from_raw) {
        // Whoever is gone already needs no signal.
        let _ = kill_process(pid, signal);
    }
}

/// Without a pid namespace: kill all, wait for one, again, until there is nobody. Orphans come back
/// to this process, which is their subreaper, so that none can hide.
fn kill_descendants(program: i32, ended: &mut Option<InitReply>) {
    loop {
        send_to_descendants(Signal::KILL);
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == program => {
                *ended = status
                    .exit_status()
                    .map(InitReply::Exited)
                    .or_else(|| status.terminating_signal().map(InitReply::Signalled));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
