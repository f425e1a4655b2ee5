//! The script that fetches a git source.
//!
//! It runs inside a jail that has a network (and `git`, and for ssh addresses `ssh`), as the run's
//! user, in no directory of its own. Git sees no configuration but a file that the script writes into
//! a private directory and removes again: no hooks, no filters (files of LFS stay pointers), no
//! prompts, no transport but the address's own. The commit alone is fetched where the server gives
//! single commits, else as much of the branch as it takes.
//!
//! What stays in the workspace is the checked-out tree with its `.git` (shallow, detached, no
//! credential in it), so that commands may ask `git rev-parse`. What the script reports is read by
//! [`super::fetched`].

use std::{collections::BTreeMap, fmt};

use url::Url;

use super::{Address, FetchError};
use crate::domain::{BranchName, CommitSha};

/// The descriptor on which the script reports.
pub const REPORT_FD: i32 = 3;

/// Bytes of a report that are read.
pub const REPORT_BYTES: usize = 32 * 1024;

/// What is to be fetched.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub address: &'a Address,
    /// Where the jail sees the repository of a local address. Without it, where the host has it.
    pub local: Option<&'a str>,
    pub branch: &'a BranchName,
    /// None: the branch's head.
    pub commit: Option<&'a CommitSha>,
    pub submodules: bool,
    pub credential: Option<Credential<'a>>,
    /// The empty directory that becomes the workspace, as the jail sees it. None: nothing is fetched, and
    /// which commit it would be is all that is asked.
    pub into: Option<&'a str>,
}

/// What the remote asks for.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    Https { user: &'a str, token: &'a str },
    Ssh { private_key: &'a str, known_hosts: &'a str },
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https { .. } => "Https(…)",
            Self::Ssh { .. } => "Ssh(…)",
        })
    }
}

/// One `sh` that fetches, with [`REPORT_FD`] open for writing.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchScript {
    pub text: &'static str,
    pub arguments: Vec<String>,
    /// Added to the base environment of phases (PATH, HOME, TMPDIR, LANG). Holds the credential: for
    /// this process alone, never for a log.
    pub environment: BTreeMap<String, String>,
}

impl FetchScript {
    /// The whole argument vector: `sh -c TEXT airlock ARGUMENT…`. Holds no secret.
    pub fn argv(&self) -> Vec<&str> {
        ["sh", "-c", self.text, "airlock"].into_iter().chain(self.arguments.iter().map(String::as_str)).collect()
    }
}

impl fmt::Debug for FetchScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchScript").field("arguments", &self.arguments).finish_non_exhaustive()
    }
}

/// The script for a request. A credential that does not fit the address is refused.
pub fn script(request: &Request<'_>) -> Result<FetchScript, FetchError> {
    let url = match (request.address, request.local) {
        (Address::Local(_), Some(path)) => path.to_owned(),
        (address, _) => address.to_string(),
    };
    let transport = match request.address {
        Address::Https(_) => "https",
        Address::Ssh(_) => "ssh",
        Address::Local(_) => "file",
    };
    let arguments = vec![
        url,
        request.branch.to_string(),
        request.commit.map_or_else(String::new, ToString::to_string),
        if request.submodules { "yes" } else { "no" }.to_owned(),
        request.into.unwrap_or_default().to_owned(),
        configuration(request.address),
        transport.to_owned(),
    ];
    Ok(FetchScript { text: TEXT, arguments, environment: secrets(request)? })
}

/// The only configuration that git sees.
fn configuration(address: &Address) -> String {
    let mut text = CONFIGURATION.to_owned();
    if let Address::Https(url) = address
        && let Ok(url) = Url::parse(url)
    {
        // For this host alone: neither a redirect nor a submodule gets to see it.
        text.push_str(&format!("[credential \"{}\"]\n\thelper = {HELPER}\n", url.origin().ascii_serialization()));
    }
    text
}

const CONFIGURATION: &str = "\
[core]
\thooksPath = /dev/null
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\tfsmonitor = false
\tsshCommand = false
[safe]
\tdirectory = *
[init]
\tdefaultBranch = main
[advice]
\tdetachedHead = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[http]
\tlowSpeedLimit = 1000
\tlowSpeedTime = 60
[fetch]
\trecurseSubmodules = false
[submodule]
\trecurse = false
";

/// Answers git with what stands in the environment, if anything stands there.
const HELPER: &str = r#""!f() { if [ \"$1\" = get ] && [ -n \"${AIRLOCK_FETCH_TOKEN-}\" ]; then printf 'username=%s\\npassword=%s\\n' \"$AIRLOCK_FETCH_USER\" \"$AIRLOCK_FETCH_TOKEN\"; fi; }; f""#;

fn secrets(request: &Request<'_>) -> Result<BTreeMap<String, String>, FetchError> {
    let pairs = match (request.address, request.credential) {
        (_, None) | (Address::Local(_), _) => Vec::new(),
        (Address::Https(_), Some(Credential::Https { user, token })) => {
            if [user, token].iter().any(|text| text.contains(|c: char| c.is_control())) {
                return Err(FetchError::BadCredential("its user or token holds a control character"));
            }
            vec![("USER", user.to_owned()), ("TOKEN", token.to_owned())]
        }
        (Address::Ssh(_), Some(Credential::Ssh { private_key, known_hosts })) => {
            if [private_key, known_hosts].iter().any(|text| text.contains('\0')) {
                return Err(FetchError::BadCredential("its key or known_hosts holds a NUL character"));
            }
            let lines = |text: &str| text.replace("\r\n", "\n");
            vec![("KEY", lines(private_key)), ("KNOWN_HOSTS", lines(known_hosts))]
        }
        (Address::Https(_), Some(Credential::Ssh { .. })) => {
            return Err(FetchError::BadCredential("it is an ssh key, and the address is https"));
        }
        (Address::Ssh(_), Some(Credential::Https { .. })) => {
            return Err(FetchError::BadCredential("it is a user and a token, and the address is ssh"));
        }
    };
    Ok(pairs.into_iter().map(|(name, value)| (format!("AIRLOCK_FETCH_{name}"), value)).collect())
}

/// Reports `commit SHA` and behind it what the commit says of itself, its fields parted by NUL; or
/// `failed STAGE` and behind it what git said.
const TEXT: &str = r#"set -eu
url=$1 branch=$2 commit=$3 submodules=$4 into=$5 configuration=$6 transport=$7
fail() {
printf 'failed %s\n' "$1" >&3
if [ -s "$private/said" ]; then tail -c 16384 "$private/said" >&3; fi
exit 1
}
# Runs git; what it complains about goes to the log, and is kept for the report.
try() {
if git "$@" 3>&- 2>"$private/said"; then cat "$private/said" >&2; else return "$?"; fi
}
must() {
stage=$1
shift
try "$@" || { cat "$private/said" >&2; fail "$stage"; }
}
have() {
git cat-file -e "$commit^{commit}" 2>/dev/null
}

private=
umask 077
private=$(mktemp -d "${TMPDIR:-/tmp}/airlock-fetch.XXXXXX") || fail private
trap 'rm -rf "$private"' EXIT
command -v git >/dev/null 2>&1 || fail git
printf '%s' "$configuration" >"$private/config"
ssh="ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile='$private/known_hosts' -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
if [ "$transport" = ssh ]; then
command -v ssh >/dev/null 2>&1 || fail ssh
printf '%s\n' "${AIRLOCK_FETCH_KNOWN_HOSTS-}" >"$private/known_hosts"
if [ -n "${AIRLOCK_FETCH_KEY-}" ]; then
printf '%s\n' "$AIRLOCK_FETCH_KEY" >"$private/key"
ssh="$ssh -i '$private/key'"
else
ssh="$ssh -o IdentityFile=none"
fi
unset AIRLOCK_FETCH_KEY AIRLOCK_FETCH_KNOWN_HOSTS
fi
umask 022
export LC_ALL=C GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL="$private/config" GIT_TERMINAL_PROMPT=0
export GIT_ASKPASS=true SSH_ASKPASS=true SSH_ASKPASS_REQUIRE=never GIT_SSH_COMMAND="$ssh" GIT_SSH_VARIANT=ssh
export GIT_ALLOW_PROTOCOL="$transport" GIT_LFS_SKIP_SMUDGE=1 GIT_OPTIONAL_LOCKS=0

if [ -z "$commit" ]; then
heads=$(try ls-remote -- "$url" "refs/heads/$branch") || { cat "$private/said" >&2; fail remote; }
commit=${heads%%[!0-9a-f]*}
[ -n "$commit" ] || fail branch
fi
if [ -z "$into" ]; then
printf 'commit %s\n' "$commit" >&3
exit 0
fi
format=sha1
if [ "${#commit}" = 64 ]; then format=sha256; fi
must workspace init -q --template= --object-format="$format" -- "$into"
cd -- "$into"
must workspace remote add -- origin "$url"
if ! try fetch -q --no-tags --depth=1 origin "$commit"; then
case $(cat "$private/said") in
*"unadvertised object"* | *"not valid"* | *"dumb http"*)
echo "airlock: the server gives no single commits; fetching the branch"
for depth in --depth=50 --depth=1000 --unshallow; do
if [ "$depth" = --unshallow ] && [ ! -f .git/shallow ]; then break; fi
if ! try fetch -q --no-tags "$depth" origin "+refs/heads/$branch:refs/remotes/origin/$branch"; then
case $(cat "$private/said") in
*"dumb http"*) must remote fetch -q --no-tags origin "+refs/heads/$branch:refs/remotes/origin/$branch" ;;
*"couldn't find remote ref"*) cat "$private/said" >&2; fail branch ;;
*) cat "$private/said" >&2; fail remote ;;
esac
fi
if have; then break; fi
done
have || fail commit
;;
*"not our ref"*) cat "$private/said" >&2; fail commit ;;
*) cat "$private/said" >&2; fail remote ;;
esac
fi
have || fail commit
must checkout checkout -q --force --detach "$commit"
if [ "$submodules" = yes ]; then
export GIT_ALLOW_PROTOCOL=https:ssh
must submodules submodule --quiet update --init --recursive --depth=1
fi
if [ -f .gitattributes ] && grep -q 'filter=lfs' .gitattributes; then
echo "airlock: files kept in LFS are not fetched; their pointers are checked out"
fi
printf 'commit %s\n' "$commit" >&3
about='%an%x00%ae%x00%cn%x00%ce%x00%ct%x00%B'
git log -1 --no-show-signature --encoding=UTF-8 --format="$about" "$commit" -- 2>/dev/null | head -c 16384 >&3 || true
"#;
