//! The directory tree that a run works in: open while a phase runs, sealed while the run waits.
//!
//! ```text
//! Workspace<Open>  ── seal ──▶  Workspace<Sealed>
//!   tree/workspace  ◀── open ──   <run id>.sealed   the tree: archived, compressed, encrypted
//!   tree/run                      <run id>.key      the erase secret
//! ```
//!
//! Owns: making, measuring, sealing, opening and removing trees ([`Workspace`]), erasing what was
//! sealed ([`erase()`]), tidying after a crash ([`recover`]), the digest that binds a confirmation to
//! what was shown ([`plan_digest`]), and walks through what others fill ([`Walk`]).
//!
//! Must not know: the protocol, the store, who asked.
//!
//! Invariants
//! - At every moment, crashes included, there is the plain tree or a complete sealed file.
//! - A tree is written by untrusted commands: every path is walked by directory descriptors,
//!   component by component, and no symbolic link is ever followed.
//! - What a sealed file holds appears under the tree's name only after its last byte verified.
//! - Memory stays below 64 MiB, whatever the tree's size.
//!
//! Everything here blocks: call it from a thread that may. Sealing, opening and removing expect
//! that no process works in the tree any more; measuring does not.

mod archive;
mod erase;
mod fault;
mod open;
mod pack;
mod pipeline;
mod plan;
mod remove;
mod seal;
mod sealed_file;
mod tree;
mod unpack;
mod walk;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use erase::{Recovered, erase, recover};
pub use fault::{Fault, SealFailed};
pub use plan::{canonical_changes, plan_digest};
pub use remove::remove_tree;
pub use walk::{Step, Walk};

use crate::{
    crypt::Key,
    domain::{CommitSha, Digest, RunId, StackId},
};

/// A workspace in the state `S`: [`Open`] or [`Sealed`].
#[derive(Debug)]
pub struct Workspace<S> {
    state: S,
}

/// The plain tree is there.
#[derive(Debug)]
pub struct Open {
    tree: PathBuf,
    uid: Option<u32>,
}

/// Only the sealed file is there.
#[derive(Debug)]
pub struct Sealed {
    terms: SealTerms,
}

/// Where a sealed workspace lies. Both files stand in the same directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealPaths {
    /// `<run id>.sealed`.
    pub sealed: PathBuf,
    /// `<run id>.key`: the 32-byte erase secret.
    pub erase: PathBuf,
}

/// What a sealed workspace is bound to. It opens for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub run: RunId,
    pub stack: StackId,
    pub commit: Option<CommitSha>,
    /// None for a run that waits before it has planned.
    pub plan: Option<Digest>,
}

/// All that sealing and opening need.
#[derive(Clone, Debug)]
pub struct SealTerms {
    pub paths: SealPaths,
    /// The random key out of the run's record. Use it for one sealing only.
    pub record_key: Key,
    pub binding: Binding,
}

/// How much a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes that it takes up on disk; a file with several names counts once.
    pub disk_bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

/// How much was sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    /// Bytes of all files' contents; holes do not count.
    pub tree_bytes: u64,
    /// Bytes of the sealed file.
    pub sealed_bytes: u64,
}

impl Workspace<Open> {
    /// A fresh tree with an empty `workspace/` and `run/` (0700) that belong to `uid` and the group
    /// of the same number; none means: to this user. `tree` itself belongs to this user.
    pub fn create(tree: &Path, uid: Option<u32>) -> Result<Self, Fault> {
        tree::create(tree, uid)?;
        Ok(Self { state: Open { tree: tree.into(), uid } })
    }

    /// The tree that an earlier chain kept.
    pub fn adopt(tree: &Path, uid: Option<u32>) -> Result<Self, Fault> {
        tree::check(tree)?;
        Ok(Self { state: Open { tree: tree.into(), uid } })
    }

    /// Holds `workspace/` and `run/`.
    pub fn tree(&self) -> &Path {
        &self.state.tree
    }

    /// Who the tree's files belong to.
    pub const fn uid(&self) -> Option<u32> {
        self.state.uid
    }

    /// May be called while commands run in the tree. What this user may not look at is not counted.
    pub fn size(&self) -> Result<Size, Fault> {
        tree::size(&self.state.tree)
    }

    /// Archives, compresses and encrypts the tree into one file, fsyncs and renames it, then
    /// removes the plain tree. What was sealed at the same paths before is erased first.
    pub fn seal(self, terms: SealTerms) -> Result<(Workspace<Sealed>, SealReport), SealFailed> {
        let report = match seal::seal(&self.state.tree, &terms) {
            Ok(report) => report,
            Err(fault) => return Err(SealFailed::Kept { workspace: self, fault: Box::new(fault) }),
        };
        let sealed = Workspace { state: Sealed { terms } };
        match self.remove() {
            Ok(()) => Ok((sealed, report)),
            Err(fault) => Err(SealFailed::Remains { workspace: Box::new(sealed), report, fault: Box::new(fault) }),
        }
    }

    /// Archives, compresses and encrypts a copy of the tree, which stays. What was sealed at the same
    /// paths before is erased first.
    pub fn save(&self, terms: &SealTerms) -> Result<SealReport, Fault> {
        seal::seal(&self.state.tree, terms)
    }

    /// Removes the tree, whatever is in it. A tree that is gone already is no fault.
    pub fn remove(self) -> Result<(), Fault> {
        tree::discard(&self.state.tree)
    }
}

impl Workspace<Sealed> {
    /// The sealed workspace of these terms; whether it is there shows when it is opened.
    pub const fn at(terms: SealTerms) -> Self {
        Self { state: Sealed { terms } }
    }

    pub const fn paths(&self) -> &SealPaths {
        &self.state.terms.paths
    }

    /// Verifies and unpacks into a fresh tree whose entries belong to `uid`, as in
    /// [`Workspace::create`].
    ///
    /// The sealed file stays, so that a crash before the first command costs nothing: [`erase()`] it
    /// when it is no longer needed. After a fault nothing of the file is left in the clear.
    pub fn open(&self, tree: &Path, uid: Option<u32>) -> Result<Workspace<Open>, Fault> {
        open::open(&self.state.terms, tree, uid)?;
        Ok(Workspace { state: Open { tree: tree.into(), uid } })
    }
}
