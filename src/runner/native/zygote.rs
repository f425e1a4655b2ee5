//! The process that jails are cloned from.
//!
//! Forked while the runner has one thread and no secret, it stays small and ignorant: it learns from
//! the runner only that a jail is wanted and whether it has a network of its own. What runs in the
//! jail goes to init over a socket that the zygote only passes on.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::process::{
    DumpableBehavior, Pid, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal, setsid,
};

use super::{
    Engine, init,
    mounts::Owner,
    privileges, seccomp, sys,
    wire::{self, CloneReply, CloneRequest, Doing, Failure},
};
use crate::{domain::stack::ExecutorKind, protocol::JailSpec};

/// What every jail of the chain has in common.
pub(super) struct Maker {
    pub spec: JailSpec,
    /// Who the server is. Init cannot ask any more when its user namespace maps nobody yet.
    pub server: Owner,
    pub filter: Vec<libc::sock_filter>,
    pub engine: Engine,
}

/// Turns the calling process, just forked from `runner`, into the zygote.
pub(super) fn become_zygote(spec: JailSpec, runner: Pid, socket: UnixStream, engine: Engine) -> ! {
    if let Err(failure) = prepare(runner) {
        // The answer to the first request. If nobody listens, nobody needs it.
        let _ = wire::send(&socket, &CloneReply::Failed(failure), &[]);
        sys::exit_now(1);
    }
    // No descriptor of the runner survives here or in anything cloned from here.
    let Ok(socket) = sys::keep_only(socket.into()) else { sys::exit_now(1) };
    let maker = Maker { spec, server: privileges::own(), filter: seccomp::compile(), engine };
    sys::exit_now(serve(&maker, UnixStream::from(socket)))
}

fn prepare(runner: Pid) -> Result<(), Failure> {
    // The jail dies with its runner: this process now, and each init does the same for itself.
    set_parent_process_death_signal(Some(Signal::KILL)).doing("tie the zygote's life to the runner's")?;
    // If the runner died before that, nobody will tell.
    if getppid() != Some(runner) {
        return Err(Failure::new("find the runner", &io::ErrorKind::BrokenPipe.into()));
    }
    // No controlling terminal, so that no jail inherits one; signals to the runner's group are the
    // runner's business.
    setsid().doing("start a session")?;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        sys::ignore(signal);
    }
    // A runner that lets nobody look into its memory has passed that on, and with it files in /proc
    // that init must write to. There is nothing to see here yet.
    set_dumpable_behavior(DumpableBehavior::Dumpable).doing("let the zygote's id maps be written")?;
    rustix::thread::set_name(c"airlock-zygote").doing("name the zygote")
}

/// Clones until the runner is gone; the exit code.
fn serve(maker: &Maker, socket: UnixStream) -> i32 {
    while let Ok(Some((request, descriptors))) = wire::receive::<CloneRequest>(&socket) {
        let mut descriptors = descriptors.into_iter();
        let (Some(phase), cgroup) = (descriptors.next(), descriptors.next()) else { return 1 };
        match sys::clone_sibling(namespaces(maker, &request), cgroup.as_ref().map(OwnedFd::as_fd)) {
            Ok(None) => {
                // Init must not be able to ask for jails.
                drop((socket, cgroup));
                init::run(maker, UnixStream::from(phase));
            }
            Ok(Some(cloned)) => {
                if wire::send(&socket, &CloneReply::Cloned { pid: cloned.pid }, &[cloned.pidfd.as_fd()]).is_err() {
                    return 1;
                }
            }
            Err(error) => {
                let failure = Failure::new("clone a process into new namespaces", &error);
                if wire::send(&socket, &CloneReply::Failed(failure), &[]).is_err() {
                    return 1;
                }
            }
        }
    }
    0
}

/// The user namespace, where there is one, owns the others. The cgroup namespace follows when init
/// has joined its groups, since they become its root.
fn namespaces(maker: &Maker, request: &CloneRequest) -> libc::c_int {
    if maker.spec.kind == ExecutorKind::Unconfined {
        return 0;
    }
    let user = if maker.spec.user.is_none() { libc::CLONE_NEWUSER } else { 0 };
    let network = if request.private_network { libc::CLONE_NEWNET } else { 0 };
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | user | network
}
