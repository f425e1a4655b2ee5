//! The truth about progress: records, appended and fsynced one boundary at a time.

use std::{
    fs::File,
    io::{Read, Write},
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
    /// Put down, not yet written.
    waiting: Vec<Record>,
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
        Ok(Self { file, waiting: Vec::new(), bytes: 0, bells })
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
        let mut lines = Vec::new();
        for record in &self.waiting {
            serde_json::to_writer(&mut lines, record).map_err(Fault::of)?;
            lines.push(b'\n');
        }
        if let Err(error) = self.file.write_all(&lines).and_then(|()| self.file.sync_data()) {
            // What cannot be cut off either is a torn end, which readers leave alone.
            let _ = self.file.set_len(self.bytes);
            return Err(Fault::io("write the records")(error));
        }
        self.bytes += lines.len() as u64;
        self.bells.recorded(self.bytes, self.waiting.drain(..).rev().find_map(|record| begun(&record)));
        Ok(())
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
