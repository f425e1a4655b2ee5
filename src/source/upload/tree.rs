//! The tree that an archive describes, as far as it takes to judge its entries: names and kinds.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map},
};

use super::UploadError;
use crate::{
    archive::{PATH_BYTES, What, shown},
    domain::limits,
    source::links,
};

/// Bytes of one name (ext4, xfs, btrfs).
const NAME_BYTES: usize = 255;

/// Bytes of all names of an archive, targets of links included.
pub const NAMES_BYTES: usize = 64 << 20;

/// What is known of a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Node {
    Directory,
    File,
    Symlink(Vec<u8>),
}

/// Paths have no empty part, no `.`, no `..`, no slash at either end; the root is not among them.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: HashMap<Vec<u8>, Node>,
    names: usize,
    pub entries: u64,
    pub unpacked: u64,
}

/// What is to be done for an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub path: Vec<u8>,
    /// Directories above it that no entry named, from the top.
    pub implied: Vec<Vec<u8>>,
    /// Whether a file of this path is replaced.
    pub replaces: bool,
    /// Normalized, for a hard link.
    pub target: Option<Vec<u8>>,
}

impl Tree {
    /// Judges an entry and takes it in; none for the root itself, which is there already.
    pub fn add(&mut self, name: &[u8], what: &What) -> Result<Option<Place>, UploadError> {
        let node = match what {
            What::Directory => Node::Directory,
            What::File { .. } | What::HardLink { .. } => Node::File,
            What::Symlink { target } => Node::Symlink(target.clone()),
            What::Sparse => return Err(UploadError::Sparse { entry: shown(name) }),
            What::Special { what } => return Err(UploadError::Special { entry: shown(name), what }),
        };
        let path = normalized(name)?;
        if path.is_empty() {
            return if node == Node::Directory { Ok(None) } else { Err(UploadError::Nameless) };
        }
        let implied = self.imply(&path)?;
        let target = self.check(&path, what)?;
        let replaces = self.insert(&path, node)?;
        Ok(Some(Place { path, implied, replaces, target }))
    }

    /// Whether every symlink stays inside, as they stand now.
    pub fn check_symlinks(&self) -> Result<(), UploadError> {
        let symlink = |path: &[u8]| match self.nodes.get(path) {
            Some(Node::Symlink(target)) => Some(Cow::Borrowed(target.as_slice())),
            Some(Node::Directory | Node::File) | None => None,
        };
        let mut steps = links::STEPS;
        for (path, node) in &self.nodes {
            let Node::Symlink(target) = node else { continue };
            match links::leads(path, target, &symlink, &mut steps) {
                links::Leads::Inside => {}
                links::Leads::Outside => {
                    return Err(UploadError::LinksOut { entry: shown(path), target: shown(target) });
                }
                links::Leads::TooFar => return Err(UploadError::TangledLinks { entry: shown(path) }),
            }
        }
        Ok(())
    }

    /// Takes in the directories above a path; gives those that are new.
    fn imply(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, UploadError> {
        let mut implied = Vec::new();
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let above = &path[..at];
            match self.nodes.get(above) {
                Some(Node::Directory) => {}
                Some(Node::File | Node::Symlink(_)) => {
                    return Err(UploadError::BelowNoDirectory { entry: shown(path), above: shown(above) });
                }
                None => {
                    self.insert(above, Node::Directory)?;
                    implied.push(above.to_vec());
                }
            }
        }
        Ok(implied)
    }

    fn check(&mut self, path: &[u8], what: &What) -> Result<Option<Vec<u8>>, UploadError> {
        let entry = || shown(path);
        match what {
            What::Directory | What::Sparse | What::Special { .. } => Ok(None),
            What::File { size } => {
                self.unpacked = self.unpacked.saturating_add(*size);
                if self.unpacked > limits::SOURCE_UNPACKED_BYTES {
                    return Err(UploadError::UnpacksTooLarge { entry: entry() });
                }
                Ok(None)
            }
            What::Symlink { target } => {
                self.count_names(target.len(), path)?;
                match target.first() {
                    None => Err(UploadError::NoTarget { entry: entry() }),
                    Some(b'/') => Err(UploadError::LinksOut { entry: entry(), target: shown(target) }),
                    Some(_) if target.len() > PATH_BYTES => Err(UploadError::NameTooLong { entry: entry() }),
                    Some(_) => Ok(None),
                }
            }
            What::HardLink { target } => {
                let to =
                    normalized(target).map_err(|_| UploadError::LinksOut { entry: entry(), target: shown(target) })?;
                if self.nodes.get(&to) == Some(&Node::File) && to != path {
                    Ok(Some(to))
                } else {
                    Err(UploadError::LinksToNothing { entry: entry(), target: shown(target) })
                }
            }
        }
    }

    /// Takes in a path; says whether it takes the place of a file.
    fn insert(&mut self, path: &[u8], node: Node) -> Result<bool, UploadError> {
        self.count_names(path.len(), path)?;
        match self.nodes.entry(path.to_vec()) {
            hash_map::Entry::Vacant(vacant) => {
                self.entries += 1;
                if self.entries > limits::SOURCE_ENTRIES {
                    return Err(UploadError::TooMany { entry: shown(path) });
                }
                vacant.insert(node);
                Ok(false)
            }
            hash_map::Entry::Occupied(occupied) => match (occupied.get(), &node) {
                (Node::Directory, Node::Directory) => Ok(false),
                (Node::File, Node::File) => Ok(true),
                _ => Err(UploadError::Twice { entry: shown(path) }),
            },
        }
    }

    fn count_names(&mut self, bytes: usize, path: &[u8]) -> Result<(), UploadError> {
        self.names += bytes;
        if self.names > NAMES_BYTES {
            return Err(UploadError::NamesTooLarge { entry: shown(path) });
        }
        Ok(())
    }
}

/// A name without `.`, doubled slashes and a slash at the end.
fn normalized(name: &[u8]) -> Result<Vec<u8>, UploadError> {
    let entry = || shown(name);
    if name.is_empty() {
        return Err(UploadError::Nameless);
    }
    if name.first() == Some(&b'/') {
        return Err(UploadError::Absolute { entry: entry() });
    }
    let mut path = Vec::with_capacity(name.len().min(PATH_BYTES));
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err(UploadError::Upwards { entry: entry() }),
            _ if part.len() > NAME_BYTES || part.contains(&0) => {
                return Err(UploadError::NameTooLong { entry: entry() });
            }
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
        if path.len() > PATH_BYTES {
            return Err(UploadError::NameTooLong { entry: entry() });
        }
    }
    Ok(path)
}
