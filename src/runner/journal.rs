//! The truth about progress: records, appended and fsynced one boundary at a time.

use std::{
    fs::File,
    io::{Read, Write},
};

use rustix::fs::OFlags;

use crate::protocol::{Record, file, read_records};

use super::{bells::Bells, dir::ChainDir, fault::Fault};

/// The open `records` file of a chain.
#[derive(Debug)]
pub struct Journal {
    file: File,
    bytes: u64,
    bells: Bells,
}

impl Journal {
    /// Opens an empty journal. The torn line of a runner that never got as far as running anything
    /// is dropped; a chain that ran is refused.
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
        dir.sync()?;
        Ok(Self { file, bytes: 0, bells })
    }

    /// Appends records in one go; they are on the disk when this returns.
    pub fn append(&mut self, records: &[Record]) -> Result<(), Fault> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record).map_err(Fault::of)?;
            lines.push(b'\n');
        }
        self.file
            .write_all(&lines)
            .and_then(|()| self.file.sync_data())
            .map_err(Fault::io("write the records"))?;
        self.bytes += lines.len() as u64;
        let phase = records.iter().rev().find_map(begun);
        self.bells.recorded(self.bytes, phase);
        Ok(())
    }
}

fn begun(record: &Record) -> Option<u32> {
    match record {
        Record::PhaseStarted { number, .. } => Some(*number),
        Record::Started { .. } | Record::PhaseEnded { .. } | Record::Ended { .. } => None,
    }
}
