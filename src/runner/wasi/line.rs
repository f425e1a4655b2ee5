//! The line between a guest's engine and the runner's gateway.
//!
//! The jail's network is empty, and stays so: over an inherited socket the engine asks for a
//! connection, and the runner, which makes it, hands one end over. That end is the only thing of a
//! connection that the jail ever holds: it cannot change how the runner's end behaves.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixDatagram as PlainLine, UnixStream as Plain},
    },
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tokio::{
    io::Interest,
    net::{UnixDatagram, UnixStream},
};

use crate::egress::Accept;

/// The two ends: the engine's, and the runner's.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    // Messages, so that one is one connection.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// The engine's end.
#[derive(Debug)]
pub struct Line(UnixDatagram);

impl Line {
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        UnixDatagram::from_std(PlainLine::from(end)).map(Self)
    }

    /// A connection to the gateway. All are alike, so that it does not matter who gets whose.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        self.0.async_io(Interest::WRITABLE, || send(&self.0, None)).await?;
        let stream = self.0.async_io(Interest::READABLE, || receive(&self.0)).await?;
        let stream = Plain::from(stream.ok_or(io::ErrorKind::ConnectionAborted)?);
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }
}

/// The runner's end.
#[derive(Debug)]
pub struct Asked(UnixDatagram);

impl Asked {
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        UnixDatagram::from_std(PlainLine::from(end)).map(Self)
    }
}

impl Accept for Asked {
    type Stream = UnixStream;

    async fn accept(&mut self) -> io::Result<UnixStream> {
        if !self.0.async_io(Interest::READABLE, || asked(&self.0)).await? {
            // The engine is gone; nobody asks any more.
            return std::future::pending().await;
        }
        let (ours, theirs) = Plain::pair()?;
        // Whoever asks and does not take it waits for nothing but itself.
        send(&self.0, Some(&theirs))?;
        ours.set_nonblocking(true)?;
        UnixStream::from_std(ours)
    }
}

fn send(line: &UnixDatagram, end: Option<&Plain>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let ends: Vec<_> = end.iter().map(|end| end.as_fd()).collect();
    if !ends.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&ends)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(line, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// None when the other side is gone.
fn receive(line: &UnixDatagram) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(line, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut received) => received.next(),
        _ => None,
    });
    Ok(received)
}

/// Whether somebody asked; false when nobody can any more. What a question holds is nothing to us,
/// descriptors included: without room for them the kernel closes them.
fn asked(line: &UnixDatagram) -> io::Result<bool> {
    let mut byte = [0];
    Ok(rustix::net::recv(line, &mut byte, RecvFlags::empty())?.0 > 0)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn whoever_asks_is_given_a_connection_of_its_own() {
        let (engine, ours) = pair().unwrap();
        let (line, mut asked) = (Line::new(engine).unwrap(), Asked::new(ours).unwrap());
        for text in [b"one", b"two"] {
            let (inside, outside) = tokio::join!(line.connect(), asked.accept());
            let (mut inside, mut outside) = (inside.unwrap(), outside.unwrap());
            inside.write_all(text).await.unwrap();
            let mut heard = [0; 3];
            outside.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, text);
        }
    }

    #[tokio::test]
    async fn a_line_without_a_runner_is_an_error() {
        let (engine, ours) = pair().unwrap();
        drop(ours);
        assert!(Line::new(engine).unwrap().connect().await.is_err());
    }

    #[tokio::test]
    async fn an_engine_that_is_gone_asks_no_more() {
        let (engine, ours) = pair().unwrap();
        drop(engine);
        let mut asked = Asked::new(ours).unwrap();
        let accepted = std::pin::pin!(asked.accept());
        assert!(futures_util::poll!(accepted).is_pending());
    }
}
