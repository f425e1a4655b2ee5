//! Turning a finished log into one compressed file.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use super::{LogFault, at as fault, frames};
use crate::domain::limits;

/// The level that costs little and keeps logs small.
const LEVEL: i32 = 3;

/// Writes text and index of a finished log into the one file `to`. Either `to` is there and durable
/// afterwards, or nothing is; the originals stay for the caller to remove.
pub fn compress(text: &Path, index: &Path, to: &Path) -> Result<(), LogFault> {
    let mut name = OsString::from(to.file_name().unwrap_or_default());
    name.push(".part");
    let part = to.with_file_name(name);
    let done = write(text, index, &part).and_then(|()| publish(&part, to).map_err(fault(to)));
    if done.is_err() {
        // The fault at hand says more than another about a left-over would.
        let _ = fs::remove_file(&part);
    }
    done
}

fn publish(part: &Path, to: &Path) -> io::Result<()> {
    fs::rename(part, to)?;
    match to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

fn write(text: &Path, index: &Path, part: &Path) -> Result<(), LogFault> {
    let mut out = io::BufWriter::new(File::create(part).map_err(fault(part))?);
    let mut table = pack(text, &mut |packed| out.write_all(packed).map_err(fault(part)))?;
    let mut packed_index = Vec::new();
    let index_table = pack(index, &mut |packed| {
        packed_index.extend_from_slice(packed);
        Ok(())
    })?;
    let mut end = Vec::new();
    let index_bytes = 4 + index_table.len() * 8 + packed_index.len();
    push(&mut end, [frames::INDEX_MAGIC, index_bytes as u32, index_table.len() as u32]);
    push(&mut end, index_table.concat());
    end.append(&mut packed_index);
    table.push([end.len() as u32, 0]);
    push(&mut end, [frames::TABLE_MAGIC, (table.len() * 8 + 9) as u32]);
    push(&mut end, table.concat());
    push(&mut end, [table.len() as u32]);
    end.push(0);
    push(&mut end, [frames::FOOTER_MAGIC]);
    out.write_all(&end).map_err(fault(part))?;
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error).map_err(fault(part))?;
    file.sync_all().map_err(fault(part))
}

fn push(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    out.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
}

/// Hands the frames of a file to `write`; returns each one's size and the size of what is in it.
fn pack(path: &Path, write: &mut dyn FnMut(&[u8]) -> Result<(), LogFault>) -> Result<Vec<[u32; 2]>, LogFault> {
    let mut file = File::open(path).map_err(fault(path))?;
    let mut packer = zstd::bulk::Compressor::new(LEVEL).map_err(fault(path))?;
    packer.include_checksum(true).map_err(fault(path))?;
    let mut sizes = Vec::new();
    let mut block = Vec::with_capacity(limits::LOG_FRAME_BYTES);
    loop {
        block.clear();
        (&mut file).take(limits::LOG_FRAME_BYTES as u64).read_to_end(&mut block).map_err(fault(path))?;
        if block.is_empty() {
            return Ok(sizes);
        }
        let packed = packer.compress(&block).map_err(fault(path))?;
        sizes.push([packed.len() as u32, block.len() as u32]);
        write(&packed)?;
    }
}
