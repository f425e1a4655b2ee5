//! Testing a source before it is saved: everything that can be told without fetching it.
//!
//! The server executes nothing, so that a remote repository is first reached by the first run. What
//! the answer says was tested, was tested.

use std::{fs, path::Path};

use crate::{
    domain::{BranchName, CommitSha, Refused, StackId, stack::Source},
    source::git::{self, Address},
    store::{Error, Rows as _, tables as t},
};

use super::{Actions, missing};

/// Bytes of a list of packed branches that are looked through.
const PACKED_BYTES: u64 = 16 << 20;

impl Actions {
    /// What was tested of a source, and found good.
    pub fn test_source(&self, source: &Source, stack: Option<StackId>) -> Result<String, Error> {
        let Source::Git { url, branch, credential, .. } = source else {
            return Err(
                Refused::invalid("only a git source can be tested; an upload is looked through as it comes").into()
            );
        };
        let wrong = |error: git::AddressError| Refused::field("source.url", error.to_string());
        let address = Address::parse(url).map_err(wrong)?;
        let credential = credential.as_deref().map(|name| self.test_credential(name, stack)).transpose()?;
        let credential = credential.unwrap_or_default();
        match address {
            Address::Local(path) => {
                let place = git::local_repository(&path, &self.setup.local_sources).map_err(wrong)?;
                Ok(test_local(&place, branch)?)
            }
            Address::Https(_) | Address::Ssh(_) => Ok(format!(
                "The address is well formed and of a kind that is allowed.{credential} Nothing was fetched: the first \
                 run shows whether the branch {branch} is there"
            )),
        }
    }

    fn test_credential(&self, name: &str, stack: Option<StackId>) -> Result<String, Error> {
        let found = self.store.read()?.get(t::NAME_TO_CREDENTIAL, name)?;
        let found = found.ok_or_else(|| missing(format_args!("the credential `{name}`")))?;
        let bound = stack.is_some_and(|stack| found.stacks.contains(&stack));
        Ok(match (stack, bound) {
            (_, true) => format!(" The credential {name} is stored and bound to this stack."),
            (Some(_), false) => {
                let why = format!("`{name}` is not bound to this stack; an admin can bind it");
                return Err(Refused::field("source.credential", why).into());
            }
            (None, false) => format!(" The credential {name} is stored; bind it to the stack once that is made."),
        })
    }
}

/// Looks for the branch in a repository's own files.
fn test_local(place: &Path, branch: &BranchName) -> Result<String, Refused> {
    let git = if place.join(".git").is_dir() { place.join(".git") } else { place.to_owned() };
    if !git.join("HEAD").is_file() || !git.join("objects").is_dir() {
        return Err(Refused::field("source.url", format!("{} is not a git repository", place.display())));
    }
    if let Some(commit) = loose(&git, branch).or_else(|| packed(&git, branch)) {
        return Ok(format!("The repository is there, and {branch} is at {}", commit.short()));
    }
    if git.join("reftable").is_dir() {
        return Ok(format!("The repository is there. Whether it has the branch {branch} shows the first run"));
    }
    Err(Refused::field("source.branch", format!("the repository has no branch {branch}")))
}

fn loose(git: &Path, branch: &BranchName) -> Option<CommitSha> {
    let text = fs::read_to_string(git.join("refs/heads").join(branch.as_str())).ok()?;
    CommitSha::new(text.trim()).ok()
}

fn packed(git: &Path, branch: &BranchName) -> Option<CommitSha> {
    let path = git.join("packed-refs");
    if fs::metadata(&path).ok()?.len() > PACKED_BYTES {
        return None;
    }
    let wanted = format!(" refs/heads/{branch}");
    let text = fs::read_to_string(path).ok()?;
    let commit = text.lines().find_map(|line| line.strip_suffix(&wanted))?;
    CommitSha::new(commit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "4f2c1e9a00000000000000000000000000000000";

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("objects")).unwrap();
        fs::create_dir_all(dir.path().join("refs/heads")).unwrap();
        fs::write(dir.path().join("HEAD"), "ref: refs/heads/main\n").unwrap();
        dir
    }

    #[test]
    fn a_branch_is_found_in_a_file_of_its_own_and_among_packed_ones() {
        let dir = repository();
        fs::write(dir.path().join("refs/heads/main"), format!("{SHA}\n")).unwrap();
        fs::write(dir.path().join("packed-refs"), format!("# pack-refs with: peeled\n{SHA} refs/heads/old\n")).unwrap();
        for branch in ["main", "old"] {
            let said = test_local(dir.path(), &BranchName::new(branch).unwrap()).unwrap();
            assert!(said.contains("4f2c1e9"), "{said}");
        }
        let refused = test_local(dir.path(), &BranchName::new("ld").unwrap()).unwrap_err();
        assert_eq!(refused.fields[0].field, "source.branch");
    }

    #[test]
    fn a_directory_without_a_repository_is_not_one() {
        let dir = tempfile::tempdir().unwrap();
        let refused = test_local(dir.path(), &BranchName::new("main").unwrap()).unwrap_err();
        assert!(refused.detail.contains("not a git repository"), "{refused}");
    }
}
