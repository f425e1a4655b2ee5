use std::fs;

use super::{Files, all_chunks, texts, varied, written};
use crate::{
    domain::limits,
    log::{
        LogFault, LogReader, compress,
        index::{Entry, WIDTH},
        recover,
    },
};

#[test]
fn a_finished_log_reads_as_the_live_one_did() {
    let files = Files::new();
    let text = varied(&files, 30_000).into_bytes();
    assert!(text.len() > 4 * limits::LOG_FRAME_BYTES);
    let (live, finished) = (files.live(), files.finished());
    let mut at = 1;
    for n in 0..400 {
        at = (at * 6_364_136_223 + 1_442_695) % text.len();
        let max = [0, 1, 100, 5_000, 600_000][n % 5];
        let expected = &text[at..text.len().min(at + max)];
        assert_eq!(live.range(at as u64, max).unwrap(), expected);
        assert_eq!(finished.range(at as u64, max).unwrap(), expected);
    }
    assert_eq!(finished.range(text.len() as u64 + 5, 10).unwrap(), b"");
    assert_eq!(finished.tail_lines(1_000).unwrap(), live.tail_lines(1_000).unwrap());
    let packed = fs::read(files.packed()).unwrap();
    assert_eq!(zstd::decode_all(packed.as_slice()).unwrap(), text, "other tools read it");
}

#[test]
fn a_damaged_finished_log_says_so() {
    let files = Files::new();
    varied(&files, 3_000);
    files.finished();
    let good = fs::read(files.packed()).unwrap();
    let path = files.dir.path().join("bad");
    for bytes in [0, 5, 100, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..bytes]).unwrap();
        assert!(LogReader::finished(&path).is_err(), "{bytes}");
    }
    for at in (0..good.len()).step_by(97).chain(good.len() - 60..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        if let Ok(log) = LogReader::finished(&path) {
            // Every bit of the text is checked; of the index, every entry is.
            let read = log.range(0, usize::MAX >> 1);
            assert!(read.is_err() || read.unwrap() == fs::read(files.text()).unwrap(), "{at}");
            let _ = log.tail_lines(10);
        }
    }
}

#[test]
fn a_failed_compression_leaves_nothing() {
    let files = Files::new();
    written(&files, &[b"x"]);
    fs::remove_file(files.index()).unwrap();
    assert!(compress(&files.text(), &files.index(), &files.packed()).is_err());
    assert_eq!(fs::read_dir(files.dir.path()).unwrap().count(), 1);
}

#[test]
fn a_torn_index_is_made_again_from_the_text() {
    let files = Files::new();
    let text = varied(&files, 40);
    let whole = fs::read(files.index()).unwrap();
    let lines: Vec<_> = (1..=41).map(|line| files.live().offset_of_line(line).unwrap()).collect();
    for bytes in 0..=whole.len() {
        fs::write(files.index(), &whole[..bytes]).unwrap();
        let torn = if bytes == 0 || bytes >= WIDTH { Some(files.live()) } else { None };
        if let Some(log) = torn {
            assert_eq!(all_chunks(&log, 0).iter().map(|chunk| chunk.text.as_str()).collect::<String>(), text);
        }
        recover(&files.text(), &files.index()).unwrap();
        let entries = files.entries();
        assert_eq!((entries[0].offset, entries[0].line), (0, 0));
        assert!(entries.is_sorted_by_key(|entry| entry.offset));
        let log = files.live();
        let now: Vec<_> = (1..=41).map(|line| log.offset_of_line(line).unwrap()).collect();
        assert_eq!(now, lines, "{bytes}");
    }
    let mut wrong = whole.clone();
    wrong[WIDTH * 3 + 2] ^= 1;
    fs::write(files.index(), &wrong).unwrap();
    recover(&files.text(), &files.index()).unwrap();
    assert_eq!(files.entries()[..2], [0, 1].map(|n| Entry::decode(&whole[WIDTH * (n + 1)..][..WIDTH]).unwrap()));
}

#[test]
fn recovery_fits_the_index_to_a_shorter_text() {
    let files = Files::new();
    let text = varied(&files, 12);
    let index = fs::read(files.index()).unwrap();
    for bytes in 0..text.len() {
        fs::write(files.text(), &text.as_bytes()[..bytes]).unwrap();
        fs::write(files.index(), &index).unwrap();
        recover(&files.text(), &files.index()).unwrap();
        let whole = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        assert_eq!(files.content(), text[..whole]);
        assert!(files.entries().iter().all(|entry| entry.offset < whole as u64));
    }
}

#[test]
fn a_large_text_without_index_gets_one_of_small_pieces() {
    let files = Files::new();
    let text = format!("{}\n{}\n", "é".repeat(200_000), "line\n".repeat(50_000));
    fs::write(files.text(), &text).unwrap();
    recover(&files.text(), &files.index()).unwrap();
    let offsets: Vec<_> = files.entries().iter().map(|entry| entry.offset).chain([text.len() as u64]).collect();
    assert!(offsets.windows(2).all(|pair| pair[1] - pair[0] <= limits::LOG_ENTRY_BYTES as u64));
    assert_eq!(texts(&files.live().tail_lines(2).unwrap()), ["line", ""]);
}

#[test]
fn an_index_of_another_version_is_refused() {
    let files = Files::new();
    written(&files, &[b"x\n"]);
    let mut index = fs::read(files.index()).unwrap();
    index[8] = 9;
    fs::write(files.index(), index).unwrap();
    assert!(matches!(LogReader::live(&files.text(), &files.index()), Err(LogFault::Damaged { .. })));
}
