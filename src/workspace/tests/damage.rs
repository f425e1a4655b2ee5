//! What was not sealed exactly so, by this run and with these keys, does not open.

use super::*;
use crate::workspace::{erase, sealed_file};

/// Bytes that do not compress: four chunks of them are four chunks sealed.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}

/// A sealed file in its parts.
struct Parts {
    header: Vec<u8>,
    /// Each with its length in front.
    chunks: Vec<Vec<u8>>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Self {
        // magic, version, prefix, run, stack, commit, plan, tag
        let header = 8 + 2 + 7 + 16 + 16 + 41 + 33 + 16;
        let mut chunks = Vec::new();
        let mut at = header;
        while at < bytes.len() {
            let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) & !sealed_file::LAST;
            let end = at + 4 + length as usize;
            chunks.push(bytes[at..end].to_vec());
            at = end;
        }
        Self { header: bytes[..header].to_vec(), chunks }
    }

    fn join(&self) -> Vec<u8> {
        [self.header.clone(), self.chunks.concat()].concat()
    }

    /// Where header and chunks begin.
    fn borders(&self) -> Vec<usize> {
        let ends = self.chunks.iter().scan(self.header.len(), |at, chunk| {
            *at += chunk.len();
            Some(*at)
        });
        std::iter::once(self.header.len()).chain(ends).collect()
    }
}

/// A sealed workspace of four chunks, and its bytes.
fn sealed() -> (Place, Workspace<Sealed>, Vec<u8>) {
    let place = Place::new();
    let (sealed, _) = place.sealed_with(&noise(3_500_000));
    let bytes = fs::read(&sealed.paths().sealed).unwrap();
    (place, sealed, bytes)
}

/// Opens and expects a fault that leaves nothing behind.
fn refused(place: &Place, sealed: &Workspace<Sealed>) -> Fault {
    let fault = sealed.open(&place.tree(), None).unwrap_err();
    assert_eq!(place.beside(), ["sealed"], "nothing of it is left in the clear");
    fault
}

fn refused_as(place: &Place, sealed: &Workspace<Sealed>, bytes: &[u8]) -> Fault {
    fs::write(&sealed.paths().sealed, bytes).unwrap();
    refused(place, sealed)
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let (place, sealed, whole) = sealed();
    let parts = Parts::of(&whole);
    assert_eq!(parts.chunks.len(), 4);
    let borders = parts.borders();
    let in_chunks = borders.windows(2).flat_map(|pair| {
        let (start, end) = (pair[0], pair[1]);
        [
            start,
            start + 1,
            start + 2,
            start + 3,
            start + 4,
            start + 100,
            end - 17,
            end - 16,
            end - 1,
            usize::midpoint(start, end),
        ]
    });
    for at in (0..parts.header.len()).chain(in_chunks) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        refused_as(&place, &sealed, &bytes);
    }
    fs::write(&sealed.paths().sealed, &whole).unwrap();
    assert!(sealed.open(&place.tree(), None).is_ok());
}

#[test]
fn a_damaged_chunk_is_named() {
    let (place, sealed, whole) = sealed();
    let borders = Parts::of(&whole).borders();
    for chunk in 0..4 {
        let mut bytes = whole.clone();
        bytes[borders[chunk] + 1_000] ^= 1;
        let fault = refused_as(&place, &sealed, &bytes);
        assert!(matches!(fault, Fault::Damaged { chunk: found, .. } if found == chunk as u32), "{fault}");
    }
}

#[test]
fn a_file_cut_short_is_noticed_at_every_place() {
    let (place, sealed, whole) = sealed();
    let borders = Parts::of(&whole).borders();
    for (chunks, border) in borders.iter().take(4).enumerate() {
        for cut in [border - 1, *border, border + 1, border + 4, border + 5_000] {
            let fault = refused_as(&place, &sealed, &whole[..cut]);
            assert!(matches!(fault, Fault::Truncated { .. }), "cut at {cut}: {fault}");
        }
        let fault = refused_as(&place, &sealed, &whole[..*border]);
        assert!(matches!(fault, Fault::Truncated { chunks: found, .. } if found == chunks as u32), "{fault}");
    }
    for cut in [0, 7, 10, 30, whole.len() - 1] {
        let fault = refused_as(&place, &sealed, &whole[..cut]);
        assert!(matches!(fault, Fault::Truncated { .. }), "cut at {cut}: {fault}");
    }
}

#[test]
fn a_file_cut_short_and_closed_with_an_earlier_end_is_noticed() {
    let (place, sealed, whole) = sealed();
    let mut parts = Parts::of(&whole);
    parts.chunks.truncate(2);
    parts.chunks[1][0] |= 0x80;
    let fault = refused_as(&place, &sealed, &parts.join());
    assert!(matches!(fault, Fault::Damaged { chunk: 1, .. }), "{fault}");
}

#[test]
fn chunks_that_changed_places_or_came_twice_are_noticed() {
    let (place, sealed, whole) = sealed();
    let mut swapped = Parts::of(&whole);
    swapped.chunks.swap(1, 2);
    assert!(matches!(refused_as(&place, &sealed, &swapped.join()), Fault::Damaged { chunk: 1, .. }));
    let mut twice = Parts::of(&whole);
    let again = twice.chunks[1].clone();
    twice.chunks.insert(2, again);
    assert!(matches!(refused_as(&place, &sealed, &twice.join()), Fault::Damaged { chunk: 2, .. }));
    let mut more = whole.clone();
    more.push(0);
    assert!(matches!(refused_as(&place, &sealed, &more), Fault::Damaged { chunk: 4, .. }));
}

#[test]
fn another_runs_file_is_refused_by_name() {
    let place = Place::new();
    let (first, _) = place.sealed_with(b"first");
    let second = place.create().seal(place.terms(2)).unwrap().0;
    fs::copy(&second.paths().sealed, &first.paths().sealed).unwrap();
    let fault = refused(&place, &first);
    assert!(matches!(fault, Fault::Another { what: "run", .. }), "{fault}");
    assert!(fault.to_string().contains(&RunId::from_number(2).to_string()));

    // With the other run's name painted over, and even with its erase secret.
    let mut bytes = fs::read(&second.paths().sealed).unwrap();
    bytes[17..33].copy_from_slice(&1_u128.to_be_bytes());
    fs::copy(&second.paths().erase, &first.paths().erase).unwrap();
    assert!(matches!(refused_as(&place, &first, &bytes), Fault::WrongKey { .. }));
}

#[test]
fn a_file_opens_only_for_the_plan_commit_and_stack_that_it_was_sealed_for() {
    let (place, sealed, _) = sealed();
    let terms = |change: &dyn Fn(&mut Binding)| {
        let mut terms = place.terms(1);
        change(&mut terms.binding);
        Workspace::<Sealed>::at(terms)
    };
    for (what, other) in [
        ("plan", terms(&|binding| binding.plan = Some(Digest::from_bytes([0xd2; 32])))),
        ("plan", terms(&|binding| binding.plan = None)),
        ("commit", terms(&|binding| binding.commit = Some(CommitSha::new("d".repeat(40)).unwrap()))),
        ("commit", terms(&|binding| binding.commit = None)),
        ("stack", terms(&|binding| binding.stack = StackId::from_number(8))),
    ] {
        let fault = refused(&place, &other);
        assert!(matches!(&fault, Fault::Another { what: found, .. } if *found == what), "{fault}");
    }
    assert!(sealed.open(&place.tree(), None).is_ok());
}

#[test]
fn a_run_without_commit_and_plan_can_be_sealed_too() {
    let place = Place::new();
    let mut terms = place.terms(1);
    (terms.binding.commit, terms.binding.plan) = (None, None);
    let (sealed, _) = place.create().seal(terms).unwrap();
    assert!(sealed.open(&place.tree(), None).is_ok());
    fs::remove_dir_all(place.tree()).unwrap();
    refused(&place, &Workspace::<Sealed>::at(place.terms(1)));
}

#[test]
fn neither_of_the_two_keys_opens_alone() {
    let (place, sealed, _) = sealed();
    let mut other_record = place.terms(1);
    other_record.record_key = Key::new([0x43; 32]);
    assert!(matches!(refused(&place, &Workspace::<Sealed>::at(other_record)), Fault::WrongKey { .. }));
    fs::write(&sealed.paths().erase, [9; 32]).unwrap();
    assert!(matches!(refused(&place, &sealed), Fault::WrongKey { .. }));
}

#[test]
fn a_discarded_workspace_cannot_be_opened_any_more_whatever_copies_survive() {
    let (place, sealed, whole) = sealed();
    erase(sealed.paths()).unwrap();
    assert!(place.names().is_empty());
    erase(sealed.paths()).unwrap();
    assert!(matches!(refused(&place, &sealed), Fault::Missing { .. }));
    let fault = refused_as(&place, &sealed, &whole);
    assert!(matches!(fault, Fault::NoEraseKey { .. }), "{fault}");
    assert!(fault.to_string().contains("discarded or restored from a backup"));
}

#[test]
fn erasing_overwrites_the_secret_where_it_lies() {
    let (place, sealed, _) = sealed();
    // A second name shows what becomes of the blocks.
    let spy = place.dir.path().join("spy");
    fs::hard_link(&sealed.paths().erase, &spy).unwrap();
    assert_ne!(fs::read(&spy).unwrap(), [0; 32]);
    erase(sealed.paths()).unwrap();
    assert_eq!(fs::read(&spy).unwrap(), [0; 32]);
}

#[test]
fn an_erase_that_crashed_halfway_has_erased() {
    let (place, sealed, _) = sealed();
    for remains in [&[0; 32][..], &[7; 20], &[]] {
        fs::write(&sealed.paths().erase, remains).unwrap();
        assert!(matches!(refused(&place, &sealed), Fault::NoEraseKey { .. }));
    }
}

#[test]
fn what_is_no_sealed_workspace_or_a_newer_one_is_refused_as_such() {
    let (place, sealed, mut whole) = sealed();
    assert!(matches!(refused_as(&place, &sealed, &[b'x'; 500]), Fault::NotSealed { .. }));
    whole[9] = 2;
    let fault = refused_as(&place, &sealed, &whole);
    assert!(matches!(fault, Fault::Newer { version: 2, .. }), "{fault}");
}

#[test]
fn nothing_of_the_workspace_is_readable_in_the_sealed_file_and_both_files_are_private() {
    let place = Place::new();
    let marker = b"marker-7f3a-in-the-clear";
    let workspace = place.create();
    fs::write(workspace.tree().join("workspace/marker-7f3a-in-the-clear"), marker.repeat(3)).unwrap();
    let (sealed, _) = workspace.seal(place.terms(1)).unwrap();
    let bytes = fs::read(&sealed.paths().sealed).unwrap();
    assert!(!bytes.windows(11).any(|window| window == &marker[..11]));
    for path in [&sealed.paths().sealed, &sealed.paths().erase] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&sealed.paths().erase).unwrap().len(), 32);
}

#[test]
fn the_header_keeps_its_bytes() {
    let header = sealed_file::Header { prefix: [1, 2, 3, 4, 5, 6, 7], binding: Place::new().terms(0x0102).binding };
    let expected = [
        "414c5345414c4544",                 // ALSEALED
        "0001",                             // version
        "01020304050607",                   // nonce prefix
        "00000000000000000000000000000102", // run
        "00000000000000000000000000000007", // stack
        "28",
        &"63".repeat(40), // commit
        "20",
        &"d1".repeat(32), // plan
    ]
    .concat();
    assert_eq!(hex::encode(header.to_bytes()), expected);
    let cipher = sealed_file::cipher(&Key::new([0x42; 32]), &[0x24; 32], &header);
    assert_eq!(hex::encode(cipher.tag()), "500fcf2d82ede445198aa23d18dd1731");
    let mut bytes = header.to_bytes();
    bytes.extend_from_slice(&cipher.tag());
    let (read, tag) = sealed_file::Header::read(&mut bytes.as_slice(), Path::new("x")).unwrap();
    assert_eq!((read, tag), (header, cipher.tag()));
}

#[test]
fn a_file_sealed_by_this_format_opens_in_every_release() {
    let place = Place::new();
    let sealed = Workspace::<Sealed>::at(place.terms(1));
    fs::write(&sealed.paths().sealed, include_bytes!("format_1.sealed")).unwrap();
    fs::write(&sealed.paths().erase, include_bytes!("format_1.erase")).unwrap();
    let opened = sealed.open(&place.tree(), None).unwrap();
    let found = picture(opened.tree());
    let names: Vec<_> = found.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["run", "workspace", "workspace/a", "workspace/b", "workspace/c"]);
    assert_eq!(fs::read(opened.tree().join("workspace/a")).unwrap(), b"hello\n");
    assert_eq!(fs::read_link(opened.tree().join("workspace/c")).unwrap(), Path::new("a"));
    assert_eq!(found[Path::new("workspace/b")].first_name.as_deref(), Some(Path::new("workspace/a")));
    assert_eq!(found[Path::new("workspace/a")].attributes.get(std::ffi::OsStr::new("user.note")).unwrap(), b"kept");
    assert_eq!(
        (found[Path::new("workspace/a")].mode, found[Path::new("workspace/a")].mtime),
        (0o640, (1_700_000_000, 5))
    );
}
