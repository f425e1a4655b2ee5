use std::{fs, path::PathBuf};

use super::{
    super::privileges::INIT,
    find::{Mounts, find_in},
    *,
};
use crate::domain::stack::Limits;

fn limits() -> Limits {
    Limits { memory_bytes: 64 << 20, processes: 20, cpu_percent: Some(150), ..Limits::default() }
}

/// A plain directory that stands for a group file system: files that are written appear.
fn fake_v2() -> (tempfile::TempDir, Base) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
    let base = Base::at(dir.path());
    (dir, base)
}

fn only_group(base: &Path) -> PathBuf {
    groups(base).unwrap().pop().unwrap()
}

#[test]
fn a_v2_group_has_every_limit_before_anything_joins_it() {
    let (dir, base) = fake_v2();
    let group = Group::create(&base, Path::new("/data/runs/01ABC/2"), 7, &limits()).unwrap();
    let path = only_group(dir.path());
    let read = |file: &str| fs::read_to_string(path.join(file)).unwrap();
    assert_eq!(read("memory.max"), (64 << 20).to_string());
    assert_eq!(read("memory.oom.group"), "1");
    assert_eq!(read("pids.max"), (20 + INIT).to_string());
    assert_eq!(read("cpu.max"), "150000 100000");
    assert!(path.file_name().unwrap().to_str().unwrap().ends_with("-01ABC-2-7"));
    assert!(group.join_files().is_empty());
}

#[test]
fn a_v2_group_is_read_by_its_files() {
    let (dir, base) = fake_v2();
    let group = Group::create(&base, Path::new("/data/runs/r/1"), 1, &limits()).unwrap();
    let path = only_group(dir.path());
    fs::write(path.join("memory.peak"), "4096\n").unwrap();
    fs::write(path.join("cpu.stat"), "usage_usec 12345\nuser_usec 1\n").unwrap();
    fs::write(path.join("memory.events"), "low 0\nmax 9\noom 2\noom_kill 3\noom_group_kill 1\n").unwrap();
    fs::write(path.join("pids.events"), "max 5\n").unwrap();
    let expected =
        Readings { peak_memory_bytes: Some(4_096), cpu_ms: Some(12), out_of_memory_kills: 3, refused_forks: 5 };
    assert_eq!(group.read(), expected);
}

#[test]
fn a_v1_group_spans_the_hierarchies_that_are_needed() {
    let dir = tempfile::tempdir().unwrap();
    let base = Base::at(dir.path());
    let without_quota = Limits { cpu_percent: None, ..limits() };
    let group = Group::create(&base, Path::new("/data/runs/r/1"), 1, &without_quota).unwrap();
    assert_eq!(group.join_files().len(), 2, "memory and pids");
    let group = Group::create(&base, Path::new("/data/runs/r/1"), 2, &limits()).unwrap();
    assert_eq!(group.join_files().len(), 3, "and cpu");
    assert!(group.join_files().iter().all(|file| file.ends_with("tasks")));
}

#[test]
fn sweeping_removes_what_dead_chains_of_this_installation_left_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.controllers"), "").unwrap();
    let leave = |chain: &str, n: u32| {
        let path = dir.path().join(format!("{}{n}", chain_name(Path::new(chain))));
        fs::create_dir(&path).unwrap();
        path
    };
    let dead = leave("/data/runs/r/1", 3);
    let alive = leave("/data/runs/r/10", 1);
    let foreign = leave("/other/runs/r/1", 3);
    let stranger = dir.path().join("user.slice");
    fs::create_dir(&stranger).unwrap();

    let removed = sweep(dir.path(), Path::new("/data/runs"), &[PathBuf::from("/data/runs/r/10")]).unwrap();
    assert_eq!(removed, 1);
    assert!(!dead.exists());
    assert!(alive.exists() && foreign.exists() && stranger.exists());
}

#[test]
fn chains_whose_numbers_begin_alike_are_told_apart() {
    assert!(!chain_name(Path::new("/d/runs/r/10")).starts_with(&chain_name(Path::new("/d/runs/r/1"))));
}

#[test]
fn mounts_of_both_versions_are_found() {
    let mountinfo = "\
24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
25 24 0:23 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
26 24 0:24 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
27 24 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
    let found = Mounts::parse(mountinfo);
    assert_eq!(found.v2, [PathBuf::from("/sys/fs/cgroup/unified")]);
    assert_eq!(found.v1, [PathBuf::from("/sys/fs/cgroup")]);
}

#[test]
fn a_delegated_group_is_preferred_to_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("system.slice/airlock.service");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("cgroup.controllers"), "cpu memory pids").unwrap();
    let mounts = Mounts { v2: vec![dir.path().to_owned()], v1: Vec::new() };
    for line in ["0::/system.slice/airlock.service\n", "0::/system.slice/airlock.service/airlock-server\n"] {
        assert_eq!(find_in(&mounts, line).unwrap(), own.join("airlock"));
    }
    assert_eq!(fs::read_to_string(own.join("cgroup.subtree_control")).unwrap(), "+memory +pids +cpu");
}

#[test]
fn what_is_in_the_way_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.controllers"), "hugetlb").unwrap();
    let mounts = Mounts { v2: vec![dir.path().to_owned()], v1: Vec::new() };
    let reasons = find_in(&mounts, "0::/\n").unwrap_err();
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].ends_with("controllers are missing: memory, pids, cpu"), "{}", reasons[0]);
    let none = find_in(&Mounts::default(), "").unwrap_err();
    assert_eq!(none, ["no cgroup file system is mounted"]);
}
