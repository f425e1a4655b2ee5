//! A fetched source as one tar.gz, for those who look into it from outside.
//!
//! What git keeps for itself is left out. Links are archived as links, and nothing is followed.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, HeaderMode};

/// The repository's own directory.
const GIT: &str = ".git";

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("it has more than {most} bytes")]
    TooLarge { most: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Archives a directory in which nobody works, into at most so many bytes.
pub fn archive(source: &Path, most: usize) -> Result<Vec<u8>, ArchiveError> {
    let bounded = Bounded { bytes: Vec::new(), most, full: false };
    let mut tar = Builder::new(GzEncoder::new(bounded, Compression::fast()));
    tar.follow_symlinks(false);
    tar.mode(HeaderMode::Deterministic);
    let filled = fill(&mut tar, source).and_then(|()| tar.finish());
    let full = tar.get_ref().get_ref().full;
    match filled.and_then(|()| tar.into_inner()?.finish()) {
        _ if full => Err(ArchiveError::TooLarge { most }),
        Ok(bounded) if bounded.full => Err(ArchiveError::TooLarge { most }),
        Ok(bounded) => Ok(bounded.bytes),
        Err(error) => Err(error.into()),
    }
}

fn fill(tar: &mut Builder<impl Write>, source: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(source)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if name == GIT {
            continue;
        }
        if entry.file_type()?.is_dir() {
            tar.append_dir_all(&name, entry.path())?;
        } else {
            tar.append_path_with_name(entry.path(), &name)?;
        }
    }
    Ok(())
}

/// Bytes in memory, up to a bound.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > self.most {
            self.full = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _, os::unix::fs::symlink};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [("main.tf", "a"), ("deep/er/x", "b"), (".git/config", "c"), (".gitignore", "d")] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        symlink("/etc/passwd", dir.path().join("link")).unwrap();
        symlink("/etc", dir.path().join("deep/dir")).unwrap();
        dir
    }

    #[test]
    fn everything_but_what_git_keeps_is_in_it_and_no_link_is_followed() {
        let archived = archive(tree().path(), 1 << 20).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archived.as_slice()));
        let mut found = BTreeMap::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            if !entry.header().entry_type().is_dir() {
                let link = entry.link_name().unwrap().map(|to| to.display().to_string());
                found.insert(path, link.unwrap_or(text));
            }
        }
        let expected =
            [(".gitignore", "d"), ("deep/dir", "/etc"), ("deep/er/x", "b"), ("link", "/etc/passwd"), ("main.tf", "a")];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn one_that_is_too_large_is_refused_and_not_cut() {
        let dir = tree();
        let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(dir.path().join("noise"), noise).unwrap();
        let error = archive(dir.path(), 10_000).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 10000 bytes");
    }
}
