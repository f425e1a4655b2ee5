//! What runner, zygote and init say to each other: framed JSON with descriptors attached.
//!
//! A frame is its length (four bytes, native order), sent together with the descriptors, then that
//! many bytes of JSON. Requests carry a phase's environment, so nothing here is logged.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::Program;
use crate::{
    domain::stack::Limits,
    protocol::{Bind, Root},
};

/// Descriptors that one frame can carry.
const DESCRIPTORS: usize = 32;
/// Bytes of one frame: far above what the kernel lets a program have as arguments and environment.
const FRAME_BYTES: usize = 64 << 20;

/// To the zygote, with the phase socket and, for cgroup v2, the group's directory.
#[derive(Serialize, Deserialize)]
pub(super) struct CloneRequest {
    pub private_network: bool,
}

/// From the zygote, with the pidfd.
#[derive(Serialize, Deserialize)]
pub(super) enum CloneReply {
    Cloned { pid: i32 },
    Failed(Failure),
}

/// To init, with standard output, standard error and the inherited descriptors.
#[derive(Serialize, Deserialize)]
pub(super) struct InitRequest {
    pub program: Program,
    pub environment: Vec<(String, String)>,
    /// Whether the last of the descriptors is its standard input.
    pub stdin: bool,
    pub cwd: PathBuf,
    pub private_network: bool,
    /// None: the chain's own.
    pub root: Option<Root>,
    pub binds: Vec<Bind>,
    pub limits: Limits,
    pub listen: Vec<u16>,
    /// `tasks` files of cgroup v1.
    pub join: Vec<PathBuf>,
    /// Whether a cgroup counts the processes.
    pub counted: bool,
}

/// From init.
#[derive(Serialize, Deserialize)]
pub(super) enum InitReply {
    /// The jail is complete; with the listeners, then with what the room shows the runner.
    Ready {
        room_files: u64,
    },
    /// It is not yet, and is being worked on; where it is told, because of that.
    Busy(Option<Failure>),
    /// It is not, or its program cannot be executed.
    Failed(Failure),
    Exited(i32),
    Signalled(i32),
}

/// A step that failed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    pub doing: String,
    pub errno: i32,
}

impl Failure {
    pub(super) fn new(doing: impl Into<String>, error: &io::Error) -> Self {
        Self { doing: doing.into(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// The same, of a part of what was being done.
    pub(super) fn within(self, whole: &str) -> Self {
        Self { doing: format!("{whole}: {}", self.doing), errno: self.errno }
    }

    pub(super) fn source(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }
}

/// Names the step that an error stopped.
pub(super) trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what, &error.into()))
    }
}

/// One byte from the runner to init: signal everybody, or (unconfined) kill everybody.
pub(super) mod order {
    pub(crate) const INTERRUPT: u8 = b'i';
    pub(crate) const TERMINATE: u8 = b't';
    pub(crate) const KILL: u8 = b'k';
}

/// Sends one frame.
pub(super) fn send(socket: &UnixStream, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = Zeroizing::new(serde_json::to_vec(message)?);
    let length = (body.len() as u32).to_ne_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = retry(|| sendmsg(socket, &[IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL))?;
    let mut socket = socket;
    socket.write_all(&length[sent..])?;
    socket.write_all(&body)
}

/// Receives one frame; none when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(socket: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        retry(|| recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut length)], &mut control, RecvFlags::CMSG_CLOEXEC));
    let got = match got {
        // A peer that died with something unread resets the connection.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        got => got?.bytes,
    };
    if got == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let mut socket = socket;
    socket.read_exact(&mut length[got..])?;
    let length = u32::from_ne_bytes(length) as usize;
    if length > FRAME_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = Zeroizing::new(vec![0; length]);
    socket.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, descriptors)))
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}
