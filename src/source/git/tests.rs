//! Fetching from real repositories: on this disk, and over https with a real git behind it.

mod https;
mod repository;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use self::repository::Repository;
use super::*;
use crate::domain::{BranchName, CommitSha, Timestamp, limits, run::CommitFacts};

/// A place to fetch to.
struct Rig {
    dir: TempDir,
    branch: BranchName,
    into: String,
    environment: Vec<(String, String)>,
}

struct Fetched {
    result: Result<CommitSha, FetchError>,
    facts: Option<CommitFacts>,
    log: String,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["workspace", "tmp", "home"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let into = dir.path().join("workspace").to_str().unwrap().to_owned();
        Self { dir, branch: BranchName::new("main").unwrap(), into, environment: Vec::new() }
    }

    fn workspace(&self) -> std::path::PathBuf {
        self.dir.path().join("workspace")
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.workspace().join(name)).unwrap()
    }

    fn fetch<'a>(&'a self, address: &'a Address, edit: impl FnOnce(&mut Request<'a>)) -> Fetched {
        let mut request = Request {
            address,
            local: None,
            branch: &self.branch,
            commit: None,
            submodules: false,
            credential: None,
            into: Some(&self.into),
        };
        edit(&mut request);
        let script = match script(&request) {
            Ok(script) => script,
            Err(error) => return Fetched { result: Err(error), facts: None, log: String::new() },
        };
        let report = self.dir.path().join("report");
        fs::write(&report, "").unwrap();
        let output = Command::new("/bin/sh")
            .args(["-c", r#"exec 2>&1 3>"$1"; shift; exec "$@""#, "_"])
            .arg(&report)
            .args(script.argv())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path().join("home"))
            .env("TMPDIR", self.dir.path().join("tmp"))
            .envs(&script.environment)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let left: Vec<_> = fs::read_dir(self.dir.path().join("tmp")).unwrap().collect();
        assert!(left.is_empty(), "the private directory is gone");
        let done = fetched(&request, &fs::read(report).unwrap());
        Fetched {
            facts: done.as_ref().ok().and_then(|done| done.facts.clone()),
            result: done.map(|done| done.commit),
            log: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }
}

fn local(repository: &Repository) -> Address {
    Address::parse(repository.path().to_str().unwrap()).unwrap()
}

#[test]
fn the_head_of_a_branch_is_checked_out_and_its_commit_reported() {
    let repository = Repository::new();
    let head = repository.commit("a.txt", "one\n");
    let rig = Rig::new();
    let fetched = rig.fetch(&local(&repository), |_| {});
    assert_eq!(fetched.result, Ok(head.clone()), "{}", fetched.log);
    assert_eq!(rig.file("a.txt"), "one\n");
    assert_eq!(repository::git(&rig.workspace(), &["rev-parse", "HEAD"]).trim(), head.as_str());
    assert_eq!(rig.workspace().join("a.txt").metadata().unwrap().mode() & 0o777, 0o644);
}

#[test]
fn the_head_of_a_branch_is_looked_up_without_fetching_anything() {
    let repository = Repository::new();
    let head = repository.commit("a.txt", "one\n");
    let mut rig = Rig::new();
    let found = rig.fetch(&local(&repository), |request| request.into = None);
    assert_eq!((found.result, found.facts), (Ok(head), None), "{}", found.log);
    assert_eq!(fs::read_dir(rig.workspace()).unwrap().count(), 0);
    rig.branch = BranchName::new("none").unwrap();
    let found = rig.fetch(&local(&repository), |request| request.into = None);
    assert!(matches!(found.result, Err(FetchError::NoBranch { .. })), "{:?}", found.result);
}

#[test]
fn a_commit_says_who_wrote_and_who_made_it_and_cannot_disturb_anybody() {
    let repository = Repository::new();
    let head = repository.commit("a.txt", "one\n");
    // What `git commit` would tidy up is written as it is.
    let object = format!(
        "tree {}\nparent {head}\nauthor Zoë \u{1b}[31m李 <zoe@example.org> 1700000000 +0900\n\
         committer {} <merge@example.org> 1700000060 +0000\n\nMake the cache larger 🎉\n\nWhy:\u{1b}c {}\n",
        repository.git(&["rev-parse", "HEAD^{tree}"]).trim(),
        "M".repeat(1_000),
        "because ".repeat(4_000),
    );
    fs::write(repository.dir.path().join("object"), object).unwrap();
    let written = repository.git(&["hash-object", "-t", "commit", "-w", "--literally", "../object"]);
    repository.git(&["update-ref", "refs/heads/main", written.trim()]);
    let fetched = Rig::new().fetch(&local(&repository), |_| {});
    assert_eq!(fetched.result.unwrap().as_str(), written.trim(), "{}", fetched.log);
    let facts = fetched.facts.unwrap();
    assert_eq!((facts.author.name.as_str(), facts.author.email.as_str()), ("Zoë [31m李", "zoe@example.org"));
    assert_eq!(facts.committer.name, "M".repeat(limits::SIGNATURE_CHARS));
    assert_eq!(facts.committer.email, "merge@example.org");
    assert_eq!(facts.at, Timestamp::from_millis(1_700_000_060_000));
    assert!(facts.message.starts_with("Make the cache larger 🎉\n\nWhy:c because"), "{}", facts.message);
    assert_eq!(facts.message.chars().count(), limits::NOTE_CHARS);
}

#[test]
fn one_commit_is_fetched_without_its_history() {
    let repository = Repository::new();
    let first = repository.commit("a.txt", "one\n");
    repository.commit("a.txt", "two\n");
    let rig = Rig::new();
    let fetched = rig.fetch(&local(&repository), |request| request.commit = Some(&first));
    assert_eq!(fetched.result, Ok(first.clone()), "{}", fetched.log);
    assert_eq!(rig.file("a.txt"), "one\n");
    assert!(rig.workspace().join(".git/shallow").exists());
}

#[test]
fn a_commit_that_left_its_branch_is_found_as_long_as_the_remote_has_it() {
    let repository = Repository::new();
    repository.commit("a.txt", "one\n");
    let lost = repository.commit("a.txt", "two\n");
    repository.git(&["update-ref", "refs/heads/main", "HEAD~1"]);
    let rig = Rig::new();
    assert_eq!(rig.fetch(&local(&repository), |request| request.commit = Some(&lost)).result, Ok(lost.clone()));
}

#[test]
fn a_server_that_gives_no_single_commits_is_asked_for_the_branch() {
    let repository = Repository::new();
    let first = repository.commit("a.txt", "0\n");
    for n in 1..60 {
        repository.commit("a.txt", &format!("{n}\n"));
    }
    // The oldest protocol has the server refuse what it did not advertise.
    let mut rig = Rig::new();
    rig.environment =
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "protocol.version"), ("GIT_CONFIG_VALUE_0", "0")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    let fetched = rig.fetch(&local(&repository), |request| request.commit = Some(&first));
    assert_eq!(fetched.result, Ok(first.clone()), "{}", fetched.log);
    assert!(fetched.log.contains("fetching the branch"), "{}", fetched.log);
    assert_eq!(rig.file("a.txt"), "0\n");
    let absent = CommitSha::new("1".repeat(40)).unwrap();
    let mut other = Rig::new();
    other.environment = rig.environment.clone();
    let fetched = other.fetch(&local(&repository), |request| request.commit = Some(&absent));
    assert!(matches!(fetched.result, Err(FetchError::NoCommit { .. })), "{:?} {}", fetched.result, fetched.log);
}

#[test]
fn what_is_not_there_is_named() {
    let repository = Repository::new();
    repository.commit("a.txt", "one\n");
    let absent = CommitSha::new("1".repeat(40)).unwrap();
    let error = Rig::new().fetch(&local(&repository), |request| request.commit = Some(&absent)).result.unwrap_err();
    assert!(matches!(error, FetchError::NoCommit { .. }) && error.to_string().contains("1111111"), "{error}");
    let mut rig = Rig::new();
    rig.branch = BranchName::new("feature/none").unwrap();
    let error = rig.fetch(&local(&repository), |_| {}).result.unwrap_err();
    assert!(error.to_string().ends_with("has no branch `feature/none`"), "{error}");
    let nowhere = Address::parse("/nowhere/at/all").unwrap();
    let error = Rig::new().fetch(&nowhere, |_| {}).result.unwrap_err();
    assert!(matches!(error, FetchError::NoRepository { .. }), "{error:?}");
}

#[test]
fn a_repository_of_sha256_is_fetched_like_any_other() {
    let repository = Repository::with_format("sha256");
    let head = repository.commit("a.txt", "one\n");
    assert_eq!(head.as_str().len(), 64);
    assert_eq!(Rig::new().fetch(&local(&repository), |_| {}).result, Ok(head.clone()));
    assert_eq!(Rig::new().fetch(&local(&repository), |request| request.commit = Some(&head)).result, Ok(head.clone()));
}

#[test]
fn nothing_of_a_source_is_executed_while_it_is_fetched() {
    let repository = Repository::new();
    let trap = repository.dir.path().join("trapped");
    let bomb = format!("#!/bin/sh\ntouch '{}'\n", trap.display());
    repository.commit(".gitattributes", "* filter=bomb\n*.bin filter=lfs\n");
    let head = repository.commit("a.txt", "one\n");
    let rig = Rig::new();
    // What the person who runs the server has set for himself does not count either.
    fs::write(
        rig.dir.path().join("home/.gitconfig"),
        format!("[filter \"bomb\"]\n\tsmudge = {0}\n[core]\n\thooksPath = {1}\n\tfsmonitor = {0}\n[init]\n\ttemplateDir = {1}\n[uploadpack]\n\tpackObjectsHook = {0}\n", "/bin/false", rig.dir.path().display()),
    )
    .unwrap();
    let hook = rig.dir.path().join("post-checkout");
    fs::write(&hook, &bomb).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["post-checkout", "post-upload-pack", "pre-receive"] {
        let hook = repository.path().join(".git/hooks").join(name);
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, &bomb).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let fetched = rig.fetch(&local(&repository), |_| {});
    assert_eq!(fetched.result, Ok(head), "{}", fetched.log);
    assert!(!trap.exists(), "something of the source was run");
    assert!(fetched.log.contains("LFS"), "{}", fetched.log);
    assert!(!rig.workspace().join(".git/hooks").exists());
}

#[test]
fn submodules_are_left_alone_unless_asked_for_and_never_come_from_this_disk() {
    let inner = Repository::new();
    inner.commit("inner.txt", "inner\n");
    let repository = Repository::new();
    repository.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        inner.path().to_str().unwrap(),
        "sub",
    ]);
    let head = repository.commit("a.txt", "one\n");
    let rig = Rig::new();
    assert_eq!(rig.fetch(&local(&repository), |_| {}).result, Ok(head));
    assert!(!rig.workspace().join("sub/inner.txt").exists());
    let fetched = Rig::new().fetch(&local(&repository), |request| request.submodules = true);
    assert!(matches!(fetched.result, Err(FetchError::SubmoduleAddress { .. })), "{:?} {}", fetched.result, fetched.log);
}

#[test]
fn a_repository_of_another_user_is_fetched() {
    assert!(rustix::process::geteuid().is_root(), "only root can give a repository away: run the tests as root");
    let repository = Repository::new();
    let head = repository.commit("a.txt", "one\n");
    own_all(&repository.path(), 12_345);
    let fetched = Rig::new().fetch(&local(&repository), |_| {});
    assert_eq!(fetched.result, Ok(head), "{}", fetched.log);
}

fn own_all(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            own_all(&entry.unwrap().path(), user);
        }
    }
}

#[test]
fn an_address_may_look_like_anything() {
    let repository = Repository::new();
    let head = repository.commit("a.txt", "one\n");
    let odd = repository.dir.path().join("a b:c'$(touch x)\"#%41");
    fs::rename(repository.path(), &odd).unwrap();
    let address = Address::Local(odd);
    assert_eq!(Rig::new().fetch(&address, |_| {}).result, Ok(head));
}

#[test]
fn an_unreachable_host_is_said_to_be_one() {
    for (address, what) in
        [("https://127.0.0.1:1/a.git", "cannot be reached"), ("ssh://git@127.0.0.1:1/a.git", "cannot be reached")]
    {
        let fetched = Rig::new().fetch(&Address::parse(address).unwrap(), |_| {});
        let error = fetched.result.unwrap_err().to_string();
        assert!(error.contains(what) || error.contains("no `ssh`"), "{error}\n{}", fetched.log);
    }
}

/// Stands in for ssh: looks at what it was given, then runs the command here.
const SSH: &str = r#"#!/bin/sh
here=${0%/*}
printf '%s\n' "$@" >"$here/arguments"
env >"$here/environment"
while [ "$#" -gt 1 ]; do
case $1 in
-i) stat -c %a "$2" >"$here/mode"; cp "$2" "$here/key" ;;
UserKnownHostsFile=*) file=${1#*=}; eval "cp $file $here/known_hosts" ;;
esac
shift
done
exec sh -c "$1"
"#;

#[test]
fn ssh_gets_the_key_and_the_known_hosts_as_private_files() {
    let repository = Repository::new();
    let head = repository.commit("a.txt", "one\n");
    let mut rig = Rig::new();
    let bin = rig.dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("ssh"), SSH).unwrap();
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    rig.environment.push(("PATH".to_owned(), path));
    let address = Address::parse(&format!("git@example.org:{}", repository.path().display())).unwrap();
    let credential = Credential::Ssh { private_key: "BEGIN\r\nsecret key\r\nEND", known_hosts: "example.org key" };
    let fetched = rig.fetch(&address, |request| request.credential = Some(credential));
    assert_eq!(fetched.result, Ok(head), "{}", fetched.log);
    let seen = |name: &str| fs::read_to_string(bin.join(name)).unwrap();
    assert_eq!((seen("key").as_str(), seen("mode").trim()), ("BEGIN\nsecret key\nEND\n", "600"));
    assert_eq!(seen("known_hosts"), "example.org key\n");
    assert!(!seen("environment").contains("secret key") && !seen("arguments").contains("secret key"));
    for option in ["BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "GlobalKnownHostsFile=/dev/null"]
    {
        assert!(seen("arguments").contains(option), "{option}");
    }
}

#[test]
fn a_credential_of_the_wrong_kind_is_refused() {
    let https = Address::parse("https://example.org/a.git").unwrap();
    let ssh = Address::parse("git@example.org:a.git").unwrap();
    let token = Credential::Https { user: "u", token: "t" };
    let key = Credential::Ssh { private_key: "k", known_hosts: "h" };
    for (address, credential) in
        [(&https, key), (&ssh, token), (&https, Credential::Https { user: "u", token: "a\nhost=x" })]
    {
        let error = Rig::new().fetch(address, |request| request.credential = Some(credential)).result.unwrap_err();
        assert!(matches!(error, FetchError::BadCredential(_)), "{error:?}");
    }
    assert_eq!(format!("{token:?} {key:?}"), "Https(…) Ssh(…)");
}

#[test]
fn what_git_and_ssh_say_becomes_a_sentence() {
    let address = Address::parse("ssh://git@example.org/a.git").unwrap();
    let branch = BranchName::new("main").unwrap();
    let request = Request {
        address: &address,
        local: None,
        branch: &branch,
        commit: None,
        submodules: false,
        credential: Some(Credential::Ssh { private_key: "k", known_hosts: "h" }),
        into: Some("/workspace"),
    };
    for (said, expected) in [
        (
            "No ED25519 host key is known for example.org and you have requested strict checking.\nHost key verification failed.\nfatal: Could not read from remote repository.",
            "the host key of",
        ),
        (
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.",
            "the host key of",
        ),
        (
            "git@example.org: Permission denied (publickey).\nfatal: Could not read from remote repository.",
            "refused the stored credential",
        ),
        (
            "Load key \"/tmp/x/key\": error in libcrypto\ngit@example.org: Permission denied (publickey).",
            "cannot be read; it must be a private key",
        ),
        ("ssh: Could not resolve hostname example.org: Name or service not known", "is not known"),
        ("ssh: connect to host example.org port 22: Connection timed out", "cannot be reached"),
        ("fatal: unable to access 'https://x/': SSL certificate problem: self-signed certificate", "is not trusted"),
        ("remote: Repository not found.\nfatal: repository 'https://x/' not found", "there is no repository"),
        ("error: RPC failed; curl 18 transfer closed", "broke off"),
        ("fatal: write error: No space left on device", "does not fit"),
        ("fatal: something\u{1b}[31m new", "failed: something[31m new"),
        ("", "git said nothing"),
    ] {
        let error = fetched(&request, format!("failed remote\n{said}").as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{said}: {error}");
    }
    for reported in ["", "commit", "commit abc\n", "failed\n", "failed new\nx", "\u{fffd}"] {
        assert!(
            matches!(fetched(&request, reported.as_bytes()), Err(FetchError::NothingReported { .. })),
            "{reported}"
        );
    }
}
