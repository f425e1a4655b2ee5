use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn good() -> String {
    MasterKey::from_key(Key::new([7; 32])).to_text().expose().clone()
}

#[test]
fn a_new_key_is_private_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let made = MasterKey::create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let loaded = MasterKey::load(&path).unwrap();
    assert_eq!(loaded.id(), made.id());
    assert_eq!(loaded.key.expose(), made.key.expose());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_key_is_never_overwritten_by_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let first = MasterKey::create(&path).unwrap();
    assert!(matches!(MasterKey::create(&path), Err(MasterKeyError::Exists { .. })));
    assert_eq!(MasterKey::load(&path).unwrap().id(), first.id());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_key_file_keeps_its_format_and_id() {
    let text = good();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["airlock-master-key v1", "id kf061dc49", &format!("key {}", "07".repeat(32))]);
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    for mode in [0o644, 0o640, 0o660, 0o604, 0o601] {
        write(&path, &good(), mode);
        let error = MasterKey::load(&path).unwrap_err();
        assert!(matches!(error, MasterKeyError::OpenToOthers { .. }), "{mode:o}");
        assert!(error.to_string().contains("chmod 600"));
    }
    write(&path, &good(), 0o400);
    assert!(MasterKey::load(&path).is_ok());
}

#[test]
fn a_systemd_credential_may_show_its_access_mask() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master-key");
    write(&path, &good(), 0o440);
    assert!(MasterKey::load_credential(&path).is_ok());
    write(&path, &good(), 0o444);
    assert!(matches!(MasterKey::load_credential(&path), Err(MasterKeyError::OpenToOthers { .. })));
}

#[test]
fn a_key_file_of_another_user_is_refused() {
    assert!(rustix::process::geteuid().is_root(), "only root can give a file away: run the tests as root");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    write(&path, &good(), 0o600);
    std::os::unix::fs::chown(&path, Some(4_321), None).unwrap();
    assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::ForeignOwner { owner: 4_321, .. })));
}

#[test]
fn what_is_not_a_key_file_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Missing { .. })));
    assert!(matches!(
        MasterKey::load(dir.path()),
        Err(MasterKeyError::NotAFile { .. } | MasterKeyError::OpenToOthers { .. })
    ));

    for (text, why) in [
        (String::new(), "does not begin with"),
        ("-----BEGIN PRIVATE KEY-----\n".into(), "does not begin with"),
        (good().replace("id k", "k"), "no line `id …`"),
        (good().replace("key 07", "key 7"), "not 64 hexadecimal digits"),
        (good() + "more\n", "something behind"),
        (good().replace("v1", "v2"), "newer version"),
        (good().replace("key 07", "key 17"), "changed or mistyped"),
    ] {
        write(&path, &text, 0o600);
        let error = MasterKey::load(&path).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("0707"), "an error must not show the key");
    }
    fs::write(&path, [0xff; 40]).unwrap();
    assert!(MasterKey::load(&path).unwrap_err().to_string().contains("not text"));
}

#[test]
fn remarks_and_blank_lines_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    write(&path, &format!("\n# mine\n{}\n\n", good().replace('\n', "\r\n")), 0o600);
    assert!(MasterKey::load(&path).is_ok());
}

#[test]
fn a_master_key_is_not_shown() {
    assert_eq!(format!("{:?}", MasterKey::from_key(Key::new([7; 32]))), "MasterKey(kf061dc49)");
}
