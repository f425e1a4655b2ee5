use super::{HostStatus, items::*};

#[test]
fn a_kernel_that_is_too_old_is_named() {
    assert_eq!(kernel_of("5.12.0").status, HostStatus::Ok);
    assert_eq!(kernel_of("6.1.0-18-amd64").status, HostStatus::Ok);
    let old = kernel_of("5.4.0-100-generic");
    assert_eq!(old.status, HostStatus::Missing);
    assert_eq!(old.mend.as_deref(), Some("use Linux 5.12 or newer"));
}

#[test]
fn a_uid_range_must_exist_and_belong_to_nobody() {
    let everything = "         0          0 4294967295\n";
    let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
    assert_eq!(uids_of(&(60_000..=60_099), everything, passwd).status, HostStatus::Ok);
    let taken = uids_of(&(1_000..=1_099), everything, passwd);
    assert_eq!(taken.status, HostStatus::Degraded);
    assert!(taken.means.contains("`ann`"), "{}", taken.means);
    let container = "         0     100000      65536\n";
    assert_eq!(uids_of(&(60_000..=60_099), container, passwd).status, HostStatus::Ok);
    assert_eq!(uids_of(&(65_000..=66_000), container, passwd).status, HostStatus::Missing);
    assert_eq!(uids_of(&(0..=99), everything, "").status, HostStatus::Missing);
}

#[test]
fn a_full_disk_is_told_from_a_small_one() {
    assert_eq!(disk_of(1 << 20).status, HostStatus::Missing);
    assert_eq!(disk_of(100 << 20).status, HostStatus::Degraded);
    assert_eq!(disk_of(10 << 30).status, HostStatus::Ok);
}

#[test]
fn what_landlock_lacks_is_said() {
    assert_eq!(landlock(0).status, HostStatus::Degraded);
    assert!(landlock(4).means.contains("abstract sockets are in reach"));
    assert_eq!(landlock(7).status, HostStatus::Ok);
}

#[test]
fn whatever_is_not_well_says_what_to_do() {
    let items = [kernel_of("4.0"), disk_of(0), landlock(1), limits(&Err(vec!["x".to_owned()])), user(false)];
    for item in items {
        assert_ne!(item.status, HostStatus::Ok);
        assert!(item.mend.is_some(), "{}", item.name);
    }
}
