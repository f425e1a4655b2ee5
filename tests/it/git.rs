//! Git, as people use it on the repositories that stacks are fetched from.

use std::{path::Path, process::Command};

/// What git prints.
pub fn git(dir: &Path, arguments: &[&str]) -> String {
    git_of(dir, "a <a@example.org>", "a <a@example.org>", arguments)
}

/// The same as two people: one wrote it, the other made the commit.
pub fn git_of(dir: &Path, author: &str, committer: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(arguments);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    // Whenever the tests run: a commit is made at this moment.
    command.env("GIT_COMMITTER_DATE", "1700000060 +0000");
    for (role, who) in [("AUTHOR", author), ("COMMITTER", committer)] {
        let (name, email) = who.split_once(" <").unwrap();
        command.env(format!("GIT_{role}_NAME"), name);
        command.env(format!("GIT_{role}_EMAIL"), email.trim_end_matches('>'));
    }
    let done = command.output().expect("these tests need git on the PATH");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}
