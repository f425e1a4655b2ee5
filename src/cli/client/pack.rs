//! Sources as tar.gz.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, Header};

use crate::cli::failure::Failure;

/// What of a directory is not uploaded: history is not source.
const LEFT_OUT: &str = ".git";

/// A file that is sent, and gone afterwards where it was made for that.
#[derive(Debug)]
pub enum Archive {
    Given(PathBuf),
    Made(PathBuf),
}

impl Archive {
    pub fn path(&self) -> &Path {
        match self {
            Self::Given(path) | Self::Made(path) => path,
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        if let Self::Made(path) = self {
            // What cannot be removed lies in the directory for temporary files.
            let _ = fs::remove_file(path);
        }
    }
}

/// The archive of a directory; a file is taken for one.
pub fn archive(path: &Path) -> Result<Archive, Failure> {
    let facts = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    if facts.is_file() {
        return Ok(Archive::Given(path.to_owned()));
    }
    let name = format!("airlock-{}.tar.gz", crate::crypt::random_token().expose());
    let archive = Archive::Made(std::env::temp_dir().join(name));
    pack(path, archive.path()).map_err(|error| Failure::file("pack", path, &error))?;
    Ok(archive)
}

fn pack(dir: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut tar = Builder::new(GzEncoder::new(io::BufWriter::new(file), Compression::default()));
    tar.follow_symlinks(false);
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        for entry in sorted(&dir.join(&below))? {
            let (path, name) = (entry.path(), below.join(entry.file_name()));
            if entry.file_type()?.is_dir() {
                tar.append_dir(&name, &path)?;
                waiting.push(name);
            } else {
                tar.append_path_with_name(&path, &name)?;
            }
        }
    }
    tar.into_inner()?.finish()?.flush()
}

/// The entries of a directory by name, so that the same tree gives the same archive.
fn sorted(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.retain(|entry| entry.file_name() != LEFT_OUT);
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

/// The archive of files that are given as path and text.
pub fn files(files: &[(&str, &str)]) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, text) in files {
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, text.as_bytes())?;
    }
    tar.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs::File, io::Read as _};

    use super::*;

    #[test]
    fn a_directory_is_packed_as_it_is_but_for_its_history() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        };
        ["main.tf", "modules/a/main.tf", ".git/HEAD", "modules/.git"].into_iter().for_each(write);
        std::os::unix::fs::symlink("main.tf", dir.path().join("link")).unwrap();
        let archive = archive(dir.path()).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(File::open(archive.path()).unwrap()));
        let mut found = BTreeMap::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.insert(entry.path().unwrap().display().to_string(), text);
        }
        let names: Vec<&str> = found.keys().map(|name| name.trim_end_matches('/')).collect();
        assert_eq!(names, ["link", "main.tf", "modules", "modules/a", "modules/a/main.tf"]);
        assert_eq!((found["main.tf"].as_str(), found["link"].as_str()), ("text", ""));
        let path = archive.path().to_owned();
        drop(archive);
        assert!(!path.exists());
    }
}
