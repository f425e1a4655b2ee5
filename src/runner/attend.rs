//! Attending a jail: its output goes into the log, its limits are watched, requests are heard, until
//! nothing of it is alive.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::OFlags,
    io::Errno,
    pipe::PipeFlags,
};

use crate::{domain::Verdict, log::Stream, vendor::REPORT_BYTES};

use super::{
    asked::Asked,
    fault::Fault,
    growing::Growing,
    native::{JailEnd, RoomView, RunningJail, StopSignal, Usage},
    phase_log::PhaseLog,
    size::Extent,
    watch::{Order, Terms, Watch, Why},
    way_out::WayOut,
};

/// Bytes taken from a pipe at a time.
const PIECE: usize = 128 << 10;
/// What the kernel may hold of a phase's output; more lets the phase run while the disk works.
const PIPE_BYTES: usize = 256 << 10;
/// How often the jail's memory is summed up where no cgroup does it.
const MEMORY_EVERY: Duration = Duration::from_millis(50);

/// The reading ends of a jail's pipes.
#[derive(Debug)]
pub struct Pipes {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    report: Option<OwnedFd>,
}

/// The writing ends, which go into the jail.
#[derive(Debug)]
pub struct PipeEnds {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub report: OwnedFd,
}

impl Pipes {
    pub fn make() -> Result<(Self, PipeEnds), Fault> {
        let pipe = || -> Result<(OwnedFd, OwnedFd), Errno> {
            let (reading, writing) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            rustix::fs::fcntl_setfl(&reading, OFlags::NONBLOCK)?;
            // A larger pipe is a matter of speed only.
            let _ = rustix::pipe::fcntl_setpipe_size(&reading, PIPE_BYTES);
            Ok((reading, writing))
        };
        let make = || pipe().map_err(Fault::io("make a pipe"));
        let ((out, stdout), (err, stderr), (rep, report)) = (make()?, make()?, make()?);
        Ok((Self { stdout: Some(out), stderr: Some(err), report: Some(rep) }, PipeEnds { stdout, stderr, report }))
    }
}

/// On which terms a jail is attended.
#[derive(Debug)]
pub struct Attendance<'a> {
    pub log: &'a mut PhaseLog,
    pub asked: &'a Asked,
    /// Requests to stop that came before and are settled.
    pub stops_before: u32,
    pub signal: StopSignal,
    pub terms: Terms,
    /// Whether nothing but this loop limits the jail's memory.
    pub polls_memory: bool,
    /// What may not grow beyond its bounds.
    pub workspace: Growing,
    pub kept: Vec<Growing>,
    /// The jail's way to the network, where it has one: what is refused there is noted.
    pub way_out: Option<&'a WayOut>,
}

/// How the attended jail ended.
#[derive(Debug)]
pub struct Attended {
    /// The program's own end.
    pub ended: Verdict,
    /// Why it was made to end, if it was.
    pub why: Option<Why>,
    pub usage: Usage,
    pub report: Vec<u8>,
    /// What a guest wrote; nobody writes to it any more.
    pub room: Option<RoomView>,
    /// What mounts grew by meanwhile.
    pub mounts_grew: Extent,
}

/// Stays until every process of the jail is dead and all its output is written.
pub fn attend(jail: RunningJail, pipes: Pipes, attendance: Attendance<'_>) -> Result<Attended, Fault> {
    let now = Instant::now();
    let watch = Watch::new(attendance.terms, now);
    let memory = attendance.polls_memory.then_some(now);
    let mut attending =
        Attending { jail, pipes, with: attendance, watch, memory, report: Vec::new(), piece: vec![0; PIECE] };
    while !attending.turn()? {}
    attending.end()
}

struct Attending<'a> {
    jail: RunningJail,
    pipes: Pipes,
    with: Attendance<'a>,
    watch: Watch,
    /// When the memory was summed up last; none where a cgroup limits it.
    memory: Option<Instant>,
    report: Vec<u8>,
    piece: Vec<u8>,
}

impl Attending<'_> {
    /// One turn: hear, decide, wait, read. True when the jail is dead.
    fn turn(&mut self) -> Result<bool, Fault> {
        self.hear();
        let now = Instant::now();
        let deadline = match self.watch.next(now) {
            Order::Wait(deadline) => deadline,
            Order::Ask(why) => {
                self.ask(why);
                return Ok(false);
            }
            Order::Kill(why) => {
                self.kill(why);
                return Ok(false);
            }
        };
        self.enforce(now)?;
        let measure = std::iter::once(&self.with.workspace).chain(&self.with.kept).map(Growing::next).min();
        let until = [deadline, self.with.log.due(), self.memory.map(|last| last + MEMORY_EVERY), measure];
        let ready = self.wait(until.into_iter().flatten().min().unwrap_or(now), now)?;
        self.read(ready)?;
        if self.with.log.due().is_some_and(|due| due <= Instant::now()) {
            self.with.log.flush();
        }
        Ok(ready.jail)
    }

    fn hear(&mut self) {
        self.with.asked.settle();
        if self.with.asked.kill() {
            self.watch.want(Why::Kill);
        } else if self.with.asked.stops() > self.with.stops_before {
            self.watch.want(Why::Stop);
        }
        self.note_denials();
    }

    fn note_denials(&mut self) {
        for line in self.with.way_out.map(WayOut::told).unwrap_or_default() {
            self.with.log.note(&line);
        }
    }

    fn ask(&mut self, why: Why) {
        let (signal, grace) = (self.with.signal, self.with.terms.grace.as_secs());
        self.with.log.note(&format!("{why}: {} now, SIGKILL in {grace} s", name(signal)));
        self.jail.signal(signal);
    }

    fn kill(&mut self, why: Why) {
        self.with.log.note(&format!("{why}: SIGKILL"));
        self.jail.kill();
    }

    fn enforce(&mut self, now: Instant) -> Result<(), Fault> {
        if self.memory.is_some_and(|last| now >= last + MEMORY_EVERY) {
            self.jail.enforce();
            self.memory = Some(now);
        }
        self.with.workspace.look(&mut self.watch, now)?;
        self.with.kept.iter_mut().try_for_each(|kept| kept.look(&mut self.watch, now))
    }

    fn wait(&self, until: Instant, now: Instant) -> Result<Ready, Fault> {
        let streams = [&self.pipes.stdout, &self.pipes.stderr, &self.pipes.report];
        let mut fds = vec![
            PollFd::new(&self.jail, PollFlags::IN),
            PollFd::from_borrowed_fd(self.with.asked.wake(), PollFlags::IN),
        ];
        fds.extend(streams.iter().filter_map(|fd| fd.as_ref()).map(|fd| PollFd::new(fd, PollFlags::IN)));
        // A millisecond more, because a turn that comes too early would only wait again.
        let timeout = Timespec::try_from(until.saturating_duration_since(now) + Duration::from_micros(100)).ok();
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Fault::io("wait for the phase")(error)),
        }
        let mut said = fds.iter().map(|fd| !fd.revents().is_empty());
        let jail = said.next().unwrap_or(false);
        said.next();
        let mut stream = |fd: &Option<OwnedFd>| fd.is_some() && said.next().unwrap_or(false);
        Ok(Ready { jail, stdout: stream(streams[0]), stderr: stream(streams[1]), report: stream(streams[2]) })
    }

    fn read(&mut self, ready: Ready) -> Result<(), Fault> {
        let log = &mut *self.with.log;
        let mut heard = false;
        for (pipe, ready, stream) in [
            (&mut self.pipes.stdout, ready.stdout, Stream::Stdout),
            (&mut self.pipes.stderr, ready.stderr, Stream::Stderr),
        ] {
            if ready {
                take(pipe, &mut self.piece, |bytes| {
                    heard = true;
                    log.write(stream, bytes);
                })?;
            }
        }
        if heard {
            self.watch.hear(Instant::now());
        }
        if ready.report {
            let report = &mut self.report;
            take(&mut self.pipes.report, &mut self.piece, |bytes| {
                let room = REPORT_BYTES.saturating_sub(report.len());
                report.extend_from_slice(&bytes[..bytes.len().min(room)]);
            })?;
        }
        Ok(())
    }

    /// Everything that wrote is dead: takes what is left in the pipes, and measures once more.
    fn end(mut self) -> Result<Attended, Fault> {
        let all = Ready { jail: true, stdout: true, stderr: true, report: true };
        loop {
            self.read(all)?;
            let Ready { stdout, stderr, report, .. } = self.wait(Instant::now(), Instant::now())?;
            if !(stdout || stderr || report) {
                break;
            }
        }
        self.note_denials();
        self.with.workspace.grew(&mut self.watch)?;
        let mut mounts_grew = Extent::default();
        for kept in &mut self.with.kept {
            mounts_grew = mounts_grew.plus(kept.grew(&mut self.watch)?);
        }
        let room = self.jail.take_room();
        let JailEnd { verdict, usage } = self.jail.wait();
        Ok(Attended { ended: verdict, why: self.watch.why(), usage, report: self.report, room, mounts_grew })
    }
}

/// Which descriptors have something to say.
#[derive(Clone, Copy)]
struct Ready {
    jail: bool,
    stdout: bool,
    stderr: bool,
    report: bool,
}

/// Reads once; at the end of the stream the pipe is closed.
fn take(pipe: &mut Option<OwnedFd>, piece: &mut [u8], mut sink: impl FnMut(&[u8])) -> Result<(), Fault> {
    let Some(fd) = pipe else { return Ok(()) };
    match rustix::io::read(fd.as_fd(), &mut *piece) {
        Ok(0) => *pipe = None,
        Ok(read) => sink(&piece[..read]),
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(error) => return Err(Fault::io("read the phase's output")(io::Error::from(error))),
    }
    Ok(())
}

const fn name(signal: StopSignal) -> &'static str {
    match signal {
        StopSignal::Interrupt => "SIGINT",
        StopSignal::Terminate => "SIGTERM",
    }
}
