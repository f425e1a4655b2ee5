//! The truth about progress: records, appended and fsynced one boundary at a time.

use std::{
    fs::File,
    io::{self, Read, Write},
    thread,
};

use rustix::{
    fs::{FallocateFlags, OFlags},
    io::Errno,
};

use crate::protocol::{Record, file, read_records};

use super::{bells::Bells, dir::ChainDir, fault::Fault};

/// Room for the records of a chain; they come to some hundred bytes a phase.
const RESERVED_BYTES: u64 = 64 << 10;

/// The open `records` file of a chain.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// Put down, not yet committed.
    waiting: Vec<Record>,
    /// How many of those are in the file.
    written: usize,
    /// What the file holds.
    bytes: u64,
    bells: Bells,
}

impl Journal {
    /// Opens an empty journal. The torn line of a runner that never got as far as running anything
    /// is dropped; a chain that ran is refused. The file's name is not durable yet.
    pub fn open(dir: &ChainDir, bells: Bells) -> Result<Self, Fault> {
        let mut file = dir.file(file::RECORDS, OFlags::RDWR | OFlags::APPEND)?;
        let mut old = Vec::new();
        file.read_to_end(&mut old).map_err(Fault::io("read the records"))?;
        if !read_records(&old).0.is_empty() {
            return Err(Fault::RanAlready);
        }
        if !old.is_empty() {
            file.set_len(0).map_err(Fault::io("drop a torn record"))?;
        }
        reserve(&file)?;
        Ok(Self { file, waiting: Vec::new(), written: 0, bytes: 0, bells })
    }

    /// Puts a record down for the next [`Self::commit`].
    pub fn add(&mut self, record: Record) {
        self.waiting.push(record);
    }

    /// Appends what waits in one go; it is on the disk when this returns. After a fault it waits on,
    /// and no part of it is in the file.
    pub fn commit(&mut self) -> Result<(), Fault> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let before = (self.bytes, self.written);
        self.write()?;
        if let Err(error) = self.file.sync_data() {
            self.take_back(before);
            return Err(Fault::io("write the records")(error));
        }
        self.tell();
        Ok(())
    }

    /// As [`Self::commit`], while `beside` makes something else durable: a disk makes both durable in
    /// little more than the time of one. Nobody is told before both are.
    pub fn commit_beside(&mut self, beside: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        let before = (self.bytes, self.written);
        self.write()?;
        let (synced, other) = self.sync_beside(beside);
        if let Err(fault) = synced.and(other) {
            self.take_back(before);
            return Err(fault);
        }
        self.tell();
        Ok(())
    }

    /// As [`Self::commit`], while something is done that may take long, and that what waits need not wait
    /// for. After a fault of the records nothing is known of it.
    pub fn while_waiting<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, Fault> {
        if self.waiting.is_empty() {
            return Ok(work());
        }
        let before = (self.bytes, self.written);
        self.write()?;
        let (synced, done) = self.sync_beside(work);
        if let Err(fault) = synced {
            self.take_back(before);
            return Err(fault);
        }
        self.tell();
        Ok(done)
    }

    fn sync_beside<T>(&self, work: impl FnOnce() -> T) -> (Result<(), Fault>, T) {
        let sync = || self.file.sync_data();
        let (synced, done) = thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, sync) {
            Ok(syncing) => {
                let done = work();
                (syncing.join().unwrap_or_else(|_| Err(io::Error::other("the thread that does it ended"))), done)
            }
            // There can be no more threads: one after the other.
            Err(_) => (sync(), work()),
        });
        (synced.map_err(Fault::io("write the records")), done)
    }

    /// Appends what is not in the file yet, or no part of it.
    fn write(&mut self) -> Result<(), Fault> {
        let mut lines = Vec::new();
        for record in &self.waiting[self.written..] {
            serde_json::to_writer(&mut lines, record).map_err(Fault::of)?;
            lines.push(b'\n');
        }
        if let Err(error) = self.file.write_all(&lines) {
            self.take_back((self.bytes, self.written));
            return Err(Fault::io("write the records")(error));
        }
        self.bytes += lines.len() as u64;
        self.written = self.waiting.len();
        Ok(())
    }

    fn take_back(&mut self, (bytes, written): (u64, usize)) {
        // What cannot be cut off either is a torn end, which readers leave alone.
        let _ = self.file.set_len(bytes);
        (self.bytes, self.written) = (bytes, written);
    }

    fn tell(&mut self) {
        self.written = 0;
        self.bells.recorded(self.bytes, self.waiting.drain(..).rev().find_map(|record| begun(&record)));
    }
}

/// Keeps room on the disk, so that a phase that fills it cannot keep its own end from being told.
fn reserve(file: &File) -> Result<(), Fault> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, RESERVED_BYTES) {
        // A file system that cannot do that tells when it is full, as any other.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(Fault::io("reserve room for the records")(error)),
    }
}

fn begun(record: &Record) -> Option<u32> {
    match record {
        Record::PhaseStarted { number, .. } => Some(*number),
        Record::Started { .. } | Record::PhaseEnded { .. } | Record::Ended { .. } => None,
    }
}

#[cfg(test)]
mod tests;
