use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn cache(dir: &Path) -> Cache {
    Cache::open(dir, Key::new([1; 32])).unwrap()
}

fn name(n: u8) -> Name {
    Name::new(&Digest::from_bytes([n; 32]), "settings")
}

fn keep(cache: &Cache, name: &Name, code: &[u8]) {
    let mut draft = cache.draft().unwrap();
    draft.file.write_all(code).unwrap();
    cache.keep(name, draft).unwrap();
}

#[test]
fn what_was_kept_is_found_and_nothing_else_lies_around() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    keep(&cache, &name(1), b"machine code");
    drop(cache.draft().unwrap());
    let Found::Code(mut file) = cache.look(&name(1), NOW).unwrap() else { panic!("it was kept") };
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert!(content.starts_with(b"machine code"));
    assert!(matches!(cache.look(&name(2), NOW).unwrap(), Found::Nothing));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn one_changed_bit_a_shorter_file_another_name_or_another_key_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    keep(&cache, &name(1), b"machine code");
    let (good, path) = (fs::read(cache.code_path(&name(1))).unwrap(), cache.code_path(&name(1)));
    let noticed = |name: &Name| matches!(cache.look(name, NOW).unwrap(), Found::Tampered);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        assert!(noticed(&name(1)), "bit at {at}");
    }
    for len in 0..good.len() {
        fs::write(&path, &good[..len]).unwrap();
        assert!(noticed(&name(1)), "{len} bytes");
    }
    fs::write(cache.code_path(&name(2)), &good).unwrap();
    assert!(noticed(&name(2)));
    fs::write(&path, &good).unwrap();
    let other = Cache::open(dir.path(), Key::new([2; 32])).unwrap();
    assert!(matches!(other.look(&name(1), NOW).unwrap(), Found::Tampered));
}

#[test]
fn what_is_longer_than_a_piece_is_authenticated_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let path = cache.code_path(&name(1));
    let length = 2 * PIECE as usize + 5;
    keep(&cache, &name(1), &vec![7; length]);
    assert!(matches!(cache.look(&name(1), NOW).unwrap(), Found::Code(_)));
    let good = fs::read(&path).unwrap();
    for at in [0, PIECE as usize - 1, PIECE as usize, 2 * PIECE as usize, length - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        assert!(matches!(cache.look(&name(1), NOW).unwrap(), Found::Tampered), "bit at {at}");
    }
    // Two pieces that are exchanged.
    let mut other = vec![7; length];
    other[0] = 8;
    keep(&cache, &name(1), &other);
    let mut bad = fs::read(&path).unwrap();
    bad.swap(0, PIECE as usize);
    fs::write(&path, bad).unwrap();
    assert!(matches!(cache.look(&name(1), NOW).unwrap(), Found::Tampered));
}

#[test]
fn a_refusal_is_remembered_as_long_as_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.refuse(&name(1), "it is a bomb", Some(Timestamp::from_millis(1_000_001))).unwrap();
    assert!(matches!(cache.look(&name(1), NOW).unwrap(), Found::Refused(reason) if reason == "it is a bomb"));
    assert!(matches!(cache.look(&name(1), Timestamp::from_millis(1_000_001)).unwrap(), Found::Nothing));
}

#[test]
fn what_was_not_used_for_the_longest_time_makes_room_unless_somebody_runs_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let at = |second: i64| Timestamp::from_millis(second * 1_000);
    let look = |n: u8, second: i64| match cache.look(&name(n), at(second)).unwrap() {
        Found::Code(file) => Some(file),
        _ => None,
    };
    for n in 1..=4 {
        keep(&cache, &name(n), &[n; 1_000]);
        drop(look(n, i64::from(n)));
    }
    // The first is running, the second was used again, the others were not.
    let running = look(1, 5).unwrap();
    drop(look(2, 9));
    let size = 1_000 + SEAL_BYTES;
    cache.evict(at(10), 4 * size, 100).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "within the bound nothing goes");
    cache.evict(at(10), 2 * size, 100).unwrap();
    let left: Vec<u8> = (1..=4).filter(|n| cache.code_path(&name(*n)).exists()).collect();
    assert_eq!(left, [1, 2]);
    cache.evict(at(10), 4 * size, 0).unwrap();
    let left: Vec<u8> = (1..=4).filter(|n| cache.code_path(&name(*n)).exists()).collect();
    assert_eq!(left, [1], "what runs stays, whatever the bound");
    drop(running);
    // A draft that a crash left goes after a while.
    let draft = cache.draft().unwrap();
    draft.file.set_modified(time(at(0))).unwrap();
    cache.evict(at(3_000), 0, 0).unwrap();
    assert!(draft.path.exists() && !cache.code_path(&name(1)).exists());
    cache.evict(at(4_000), 0, 0).unwrap();
    assert!(!draft.path.exists());
}

#[test]
fn what_an_earlier_format_left_is_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let path = cache.code_path(&name(1));
    let old = path.to_str().unwrap().replace(&format!("-{FORMAT}.cwasm"), ".cwasm");
    assert_ne!(path.to_str().unwrap(), old);
    fs::write(old, b"machine code of then, sealed as it was then, and longer than a seal").unwrap();
    assert!(matches!(cache.look(&name(1), NOW).unwrap(), Found::Nothing));
}
