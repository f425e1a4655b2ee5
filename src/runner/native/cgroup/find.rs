//! Where this host lets groups be made.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Base, FOLDER, NEEDED};

/// The leaf that this process moves into when its own group is to have children: a group with limited
/// children may hold no processes itself.
const LEAF: &str = "airlock-server";

/// Finds (and, for version 2, prepares) the place for [`crate::protocol::JailSpec::cgroup`]; else says
/// for each candidate what is in the way. To be called once, at the server's start: it may move this
/// process into a leaf of its own group.
pub fn find() -> Result<PathBuf, Vec<String>> {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    find_in(&Mounts::parse(&text("/proc/self/mountinfo")), &text("/proc/self/cgroup"))
}

pub(super) fn find_in(mounts: &Mounts, own: &str) -> Result<PathBuf, Vec<String>> {
    let mut in_the_way = Vec::new();
    for candidate in v2_candidates(mounts, own) {
        match prepare_v2(&candidate) {
            Ok(base) => return Ok(base),
            Err(reason) => in_the_way.push(format!("cgroup v2 at {}: {reason}", candidate.display())),
        }
    }
    for candidate in &mounts.v1 {
        match prepare_v1(candidate) {
            Ok(()) => return Ok(candidate.clone()),
            Err(reason) => in_the_way.push(format!("cgroup v1 at {}: {reason}", candidate.display())),
        }
    }
    if in_the_way.is_empty() {
        in_the_way.push("no cgroup file system is mounted".to_owned());
    }
    Err(in_the_way)
}

/// What /proc/self/mountinfo says about cgroups.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    pub v2: Vec<PathBuf>,
    /// Directories in which hierarchies are mounted.
    pub v1: Vec<PathBuf>,
}

impl Mounts {
    /// A line ends in ` - TYPE SOURCE OPTIONS`; its fifth field is where it is mounted.
    pub(super) fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((place, kind)) = line.split_once(" - ") else { continue };
            let Some(at) = place.split(' ').nth(4).map(PathBuf::from) else { continue };
            match kind.split(' ').next() {
                Some("cgroup2") => found.v2.push(at),
                Some("cgroup") => {
                    let parent = at.parent().unwrap_or(Path::new("/")).to_owned();
                    if !found.v1.contains(&parent) {
                        found.v1.push(parent);
                    }
                }
                _ => {}
            }
        }
        found
    }
}

/// The group that this process is in, if it was delegated; its parent, if this process already moved
/// into a leaf; the root.
fn v2_candidates(mounts: &Mounts, own: &str) -> Vec<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = own.strip_suffix(LEAF).unwrap_or(own).trim_end_matches('/');
    let mut candidates = Vec::new();
    for mount in &mounts.v2 {
        if !own.is_empty() {
            candidates.push(mount.join(own));
        }
        candidates.push(mount.clone());
    }
    candidates
}

/// Hands the controllers down to `<candidate>/airlock` and from there to its children.
fn prepare_v2(candidate: &Path) -> Result<PathBuf, String> {
    let controllers = fs::read_to_string(candidate.join("cgroup.controllers")).map_err(|error| error.to_string())?;
    let missing: Vec<_> =
        NEEDED.into_iter().filter(|name| !controllers.split_whitespace().any(|c| c == *name)).collect();
    if !missing.is_empty() {
        return Err(format!("controllers are missing: {}", missing.join(", ")));
    }
    let base = candidate.join(FOLDER);
    if !base.is_dir() {
        fs::create_dir(&base).map_err(|error| format!("no child can be made: {error}"))?;
    }
    match hand_down(candidate) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            move_to_leaf(candidate).and_then(|()| hand_down(candidate))
        }
        done => done,
    }
    .and_then(|()| hand_down(&base))
    .map_err(|error| format!("controllers cannot be handed down: {error}"))?;
    Ok(base)
}

fn hand_down(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.subtree_control"), NEEDED.map(|name| format!("+{name}")).join(" "))
}

/// Only if nobody else is in the group: others are not moved around.
fn move_to_leaf(group: &Path) -> io::Result<()> {
    let me = std::process::id().to_string();
    let members = fs::read_to_string(group.join("cgroup.procs"))?;
    if members.lines().any(|pid| pid != me) {
        return Err(io::Error::other("other processes are in this group, too"));
    }
    let leaf = group.join(LEAF);
    if !leaf.is_dir() {
        fs::create_dir(&leaf)?;
    }
    fs::write(leaf.join("cgroup.procs"), me)
}

fn prepare_v1(parent: &Path) -> Result<(), String> {
    for folder in Base::V1(parent.to_owned()).folders() {
        let hierarchy = folder.parent().unwrap_or(parent);
        if !hierarchy.is_dir() {
            return Err(format!("{} is not mounted", hierarchy.display()));
        }
        if !folder.is_dir() {
            fs::create_dir(&folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        }
        // A folder that was left by root does not help anybody else.
        rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK)
            .map_err(|error| format!("{} cannot be written: {}", folder.display(), io::Error::from(error)))?;
    }
    Ok(())
}
