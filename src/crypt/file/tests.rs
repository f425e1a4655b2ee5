use super::*;

const MOST: u64 = 1 << 20;

fn key() -> Key {
    Key::new([6; 32])
}

fn written(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("03-1.state");
    let bytes = write_file_under(&path, &key(), b"run 1", &mut &content[..]).unwrap();
    assert_eq!(bytes, content.len() as u64);
    (dir, path)
}

#[test]
fn a_file_of_any_size_reads_back() {
    for size in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 200_000] {
        let content: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
        let (dir, path) = written(&content);
        assert_eq!(read_file_under(&path, &key(), b"run 1", MOST).unwrap().expose(), &content, "{size}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}

#[test]
fn a_file_of_another_run_or_key_or_with_a_changed_byte_is_refused() {
    let (_dir, path) = written(&vec![1; 2 * CHUNK_BYTES + 5]);
    let refused = |key: &Key, aad: &[u8]| {
        matches!(read_file_under(&path, key, aad, MOST), Err(FileUnderError::Unauthentic { .. }))
    };
    assert!(refused(&key(), b"run 2"));
    assert!(refused(&Key::new([7; 32]), b"run 1"));

    let whole = fs::read(&path).unwrap();
    for at in [0, 1, 40, CHUNK_BYTES, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        fs::write(&path, flipped).unwrap();
        assert!(refused(&key(), b"run 1"), "byte {at}");
    }
    for cut in [
        0,
        20,
        HEAD_BYTES,
        HEAD_BYTES + CHUNK_BYTES + TAG_BYTES,
        HEAD_BYTES + 2 * (CHUNK_BYTES + TAG_BYTES),
        whole.len() - 1,
    ] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(refused(&key(), b"run 1"), "cut at {cut}");
    }
}

#[test]
fn a_larger_file_than_expected_is_not_read() {
    let (_dir, path) = written(&[1; 5_000]);
    assert!(matches!(read_file_under(&path, &key(), b"run 1", 1_000), Err(FileUnderError::TooLarge { .. })));
    assert!(read_file_under(&path, &key(), b"run 1", 5_000).is_ok());
}

#[test]
fn a_source_that_fails_leaves_no_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(write_file_under(&dir.path().join("a"), &key(), b"", &mut Broken).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
