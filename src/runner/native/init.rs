//! Init: the first process of a jail. It builds the jail around itself, starts the program, and stays
//! as pid 1: reaps, passes signals on, tells how the program ended, and with its own end takes every
//! other process of the jail along.
//!
//! [`confine`] is the security argument. It is meant to be read from top to bottom: one fence per
//! paragraph, each with the reason why it stands where it stands. An error at any of them ends the
//! attempt.

use std::{
    fs::{self, File, OpenOptions},
    net::{Ipv4Addr, TcpListener},
    os::{fd::AsFd, unix::net::UnixStream},
};

use rustix::{
    net::{AddressFamily, SocketType, socket},
    process::{Signal, set_child_subreaper, set_parent_process_death_signal},
    system::sethostname,
};

use super::{
    Program, fence,
    mounts::Owner,
    privileges,
    program::{self, Standard},
    room::{self, Shown},
    root, supervise, sys,
    wire::{self, Doing, Failure, InitReply, InitRequest},
    zygote::Maker,
};
use crate::domain::stack::ExecutorKind;

/// The whole life of init.
pub(super) fn run(maker: &Maker, socket: UnixStream) -> ! {
    let last = match live(maker, &socket) {
        Ok(Some(how)) => how,
        // The runner is gone, and nobody listens any more.
        Ok(None) => sys::exit_now(0),
        Err(failure) => InitReply::Failed(failure),
    };
    let told = wire::send(&socket, &last, &[]);
    sys::exit_now(i32::from(told.is_err()))
}

fn live(maker: &Maker, socket: &UnixStream) -> Result<Option<InitReply>, Failure> {
    // First of all, and again later, since a change of user clears it: die with the runner. Init of an
    // unconfined phase stays, so that it can end the others when it sees the runner's socket close.
    let confined = maker.spec.kind == ExecutorKind::Jail;
    if confined {
        die_with_runner()?;
    }
    let Some((request, descriptors)) = wire::receive::<InitRequest>(socket).doing("read what to run")? else {
        return Ok(None);
    };
    let standard = Standard::new(descriptors, request.stdin)?;
    let score = oom_score()?;
    let (listeners, shown) = if confined {
        confine(maker, &request, (&standard, socket))?
    } else {
        (unconfined(&request)?, Shown::default())
    };
    let attached: Vec<_> = listeners.iter().map(AsFd::as_fd).chain(shown.directories.iter().map(AsFd::as_fd)).collect();
    let ready = wire::send(socket, &InitReply::Ready { room_files: shown.files }, &attached);
    ready.doing("say that the jail is ready")?;
    // The jail must not accept what is meant for the runner.
    drop((listeners, shown));

    let children = sys::child_events().doing("listen for the end of processes")?;
    let user = if confined { None } else { maker.spec.user.map(single) };
    let program = program::start(request, standard, socket, user, maker.engine)?;
    // Init itself is worth keeping a little longer than what runs in the jail: it tells how it ended.
    // Only a wish.
    let _ = privileges::oom_score(&score, 0);
    Ok(supervise::until_the_end(program, socket, &children, confined))
}

/// Builds the jail around the calling process.
fn confine(
    maker: &Maker,
    request: &InitRequest,
    (standard, runner): (&Standard, &UnixStream),
) -> Result<(Vec<TcpListener>, Shown), Failure> {
    let spec = &maker.spec;
    let user = spec.user.map(single);

    // An ordinary user's jail begins in a user namespace, in which init is root over the namespaces
    // that were cloned with it and over nothing else. Its one id is the server's own. (The terminals
    // of the jail need an id 0 to belong to; the programs get another one below.)
    let process = privileges::own_process()?;
    if user.is_none() {
        privileges::map_ids(&process, 0, maker.server)?;
    }

    // Into the cgroups before anything is used or forked. `tasks`, not `cgroup.procs`: moving the one
    // thread that writes needs no grace period (7 ms). Then the groups are the root of what
    // /proc/self/cgroup shows.
    join(request)?;
    sys::unshare(libc::CLONE_NEWCGROUP).doing("enter a cgroup namespace")?;

    // A name and, in a network of its own, a loopback: both belong to the new namespaces.
    sethostname(spec.hostname.as_bytes()).doing("set the host name")?;
    if request.private_network {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None).doing("open a socket")?;
        sys::loopback_up(any.as_fd()).doing("bring the loopback interface up")?;
    }
    let listeners = listen(request)?;

    // If the runner is gone, this process goes with it.
    let busy = |why| drop(wire::send(runner, &InitReply::Busy(why), &[]));

    // The root. From here on no path leads to the host's files but those that were granted.
    let plan = root::Plan {
        root: request.root.as_ref().unwrap_or(&spec.root),
        dir: &spec.dir,
        binds: &request.binds,
        private_network: request.private_network,
        user_namespace: user.is_none(),
        memory_bytes: request.limits.memory_bytes,
        owner: user.unwrap_or(Owner { uid: 0, gid: 0 }),
        uid_inside: user.map_or(privileges::MAPPED_UID, |user| user.uid),
        busy: &busy,
    };
    let shown = match &request.program {
        Program::Exec(_) => root::enter(&plan).map(|()| Shown::default())?,
        Program::Engine { room, .. } => room::enter(&plan, room)?,
    };

    // A second user namespace, in which the one id is an ordinary one. The mounts belong to the first:
    // even root of this one could not undo them.
    if user.is_none() {
        sys::unshare(libc::CLONE_NEWUSER).doing("enter the inner user namespace")?;
        privileges::map_ids(&process, privileges::MAPPED_UID, Owner { uid: 0, gid: 0 })?;
    }
    // It is a way to the host's files.
    drop(process);

    // Limits per process, while they may still be set whatever the host's are. After the user
    // namespace, so that only the jail's processes are counted.
    privileges::limit(&request.limits, request.counted)?;

    // No capability can come back by executing something. Needs a capability itself, so it comes
    // before they are dropped.
    privileges::empty_bounding_set()?;

    // Root becomes the run's user. Pipes go along, so that `> /dev/stderr` can be opened.
    if let Some(user) = user {
        standard.give_to(user)?;
        privileges::become_user(user)?;
    }

    // Whatever is left: an ordinary user has capabilities in its namespace until here.
    privileges::drop_capabilities()?;

    // Set-uid programs and file capabilities mean nothing from here on. Also what lets an ordinary
    // process fence itself in, below.
    privileges::no_new_privileges()?;

    // The second fence around files. Best effort: the first one stands, see the root.
    let _ = fence::close(&request.binds, &room::writable(&request.program));

    // Changing the user has cleared this. If the runner died in between, its socket is closed, and
    // that ends init as well.
    die_with_runner()?;

    // The jail's processes have init's uid: they must not look into its memory, where the environment
    // and the way to the runner are.
    privileges::not_dumpable()?;

    // Last, since it forbids most of the above. Only forking, plumbing and exec are still to come.
    sys::install_filter(&maker.filter).doing("install the system-call filter")?;
    Ok((listeners, shown))
}

/// No jail: only the limits, and a keeper that finds every process again.
fn unconfined(request: &InitRequest) -> Result<Vec<TcpListener>, Failure> {
    join(request)?;
    // Orphans become children of this process instead of the host's init.
    set_child_subreaper(Some(rustix::process::getpid())).doing("become the reaper of orphans")?;
    privileges::limit(&request.limits, request.counted)?;
    listen(request)
}

fn single(user: u32) -> Owner {
    Owner { uid: user, gid: user }
}

fn die_with_runner() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing("tie init's life to the runner's")
}

fn join(request: &InitRequest) -> Result<(), Failure> {
    for tasks in &request.join {
        fs::write(tasks, "0").doing(&format!("join {}", tasks.display()))?;
    }
    Ok(())
}

fn listen(request: &InitRequest) -> Result<Vec<TcpListener>, Failure> {
    let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).doing(&format!("listen on 127.0.0.1:{port}"));
    request.listen.iter().copied().map(bind).collect()
}

/// Everything of the jail is the first to go when memory is short. Opened here, while /proc is the
/// host's and init may write to its own files in it.
fn oom_score() -> Result<File, Failure> {
    const FIRST: i32 = 1_000;
    let doing = "offer the jail to the kernel's out-of-memory choice";
    let score = OpenOptions::new().write(true).open("/proc/self/oom_score_adj").doing(doing)?;
    privileges::oom_score(&score, FIRST).doing(doing)?;
    Ok(score)
}
