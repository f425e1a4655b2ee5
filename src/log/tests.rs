use std::{
    fs,
    io::Write,
    path::PathBuf,
    sync::{Arc, Barrier},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::watch;

use super::{
    Chunk, LogFault, LogReader, LogWriter, Page, Progress, Shared, Stream, Summary, Tail, compress,
    index::{Entry, WIDTH},
    recover,
    utf8::Utf8,
};
use crate::{domain::limits, mask::MaskSet};

/// A phase's files in a directory of their own.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn text(&self) -> PathBuf {
        self.dir.path().join("01-performing.log")
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join("01-performing.idx")
    }

    fn packed(&self) -> PathBuf {
        self.dir.path().join("01-performing.log.zst")
    }

    fn writer(&self) -> LogWriter {
        self.writer_with(&[], limits::OUTPUT_BYTES)
    }

    fn writer_with(&self, secrets: &[&str], limit: u64) -> LogWriter {
        let masks = MaskSet::new(secrets.iter().map(|secret| secret.as_bytes()), false);
        LogWriter::create(&self.text(), &self.index(), masks, limit).unwrap()
    }

    fn content(&self) -> String {
        fs::read_to_string(self.text()).unwrap()
    }

    fn live(&self) -> LogReader {
        LogReader::live(&self.text(), &self.index()).unwrap()
    }

    fn finished(&self) -> LogReader {
        compress(&self.text(), &self.index(), &self.packed()).unwrap();
        LogReader::finished(&self.packed()).unwrap()
    }

    fn entries(&self) -> Vec<Entry> {
        let bytes = fs::read(self.index()).unwrap();
        bytes[WIDTH..].chunks(WIDTH).map(|entry| Entry::decode(entry).unwrap()).collect()
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Writes pieces of one stream, 60 ms apart, and ends the log.
fn written(files: &Files, pieces: &[&[u8]]) -> Summary {
    let mut log = files.writer();
    for (n, piece) in pieces.iter().enumerate() {
        log.write(ms(n as u64 * 60), Stream::Stdout, piece).unwrap();
    }
    log.finish(ms(pieces.len() as u64 * 60)).unwrap()
}

/// A log of `lines` lines of both streams with text of several lengths.
fn varied(files: &Files, lines: usize) -> String {
    let mut log = files.writer();
    for n in 0..lines {
        let stream = if n % 7 == 0 { Stream::Stderr } else { Stream::Stdout };
        let text = format!("{n} {}\n", "wörd ".repeat(n * n % 40));
        log.write(ms(n as u64 * 9), stream, text.as_bytes()).unwrap();
    }
    log.finish(ms(lines as u64 * 9)).unwrap();
    files.content()
}

fn texts(page: &Page) -> Vec<&str> {
    page.rows.iter().map(|row| row.text.as_str()).collect()
}

fn all_chunks(log: &LogReader, from: u64) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut at = from;
    while let Some(chunk) = log.chunk(at).unwrap() {
        at = chunk.end();
        chunks.push(chunk);
    }
    chunks
}

#[test]
fn the_text_is_exactly_the_masked_output() {
    let files = Files::new();
    let mut log = files.writer_with(&["hunter22"], limits::OUTPUT_BYTES);
    for piece in ["login with hun", "ter22 and ", "go\nhunte"] {
        log.write(ms(0), Stream::Stdout, piece.as_bytes()).unwrap();
    }
    let summary = log.finish(ms(5)).unwrap();
    assert_eq!(files.content(), "login with ***** and go\n*****");
    assert_eq!((summary.bytes, summary.lines, summary.dropped_bytes), (29, 2, 0));
}

#[test]
fn text_waits_no_longer_than_it_must() {
    let files = Files::new();
    let mut log = files.writer_with(&["hunter22"], limits::OUTPUT_BYTES);
    log.write(ms(100), Stream::Stdout, b"first ").unwrap();
    assert_eq!(files.content(), "first ", "nothing was written lately");
    log.write(ms(110), Stream::Stdout, b"second hunter").unwrap();
    assert_eq!((files.content().as_str(), log.due()), ("first ", Some(ms(150))));
    log.flush_due(ms(149)).unwrap();
    assert_eq!(files.content(), "first ");
    log.flush_due(ms(150)).unwrap();
    assert_eq!((files.content().as_str(), log.due()), ("first second ", None));
    assert_eq!(log.len(), 13, "the secret's beginning is never written by time");
    log.write(ms(151), Stream::Stdout, &vec![b'x'; 100_000]).unwrap();
    assert_eq!(log.len(), 100_013 + 6, "much is written at once");
}

#[test]
fn streams_switch_at_line_ends() {
    let files = Files::new();
    let mut log = files.writer();
    log.write(ms(0), Stream::Stdout, b"out: ").unwrap();
    log.write(ms(1), Stream::Stderr, b"err 1\nerr ").unwrap();
    log.write(ms(2), Stream::Stdout, b"done\nout ").unwrap();
    log.write(ms(3), Stream::Stderr, b"2\n").unwrap();
    log.write(ms(4), Stream::Stdout, b"again\n").unwrap();
    log.finish(ms(5)).unwrap();
    assert_eq!(files.content(), "out: done\nerr 1\nerr 2\nout again\n");
    let streams: Vec<_> = files.live().tail_lines(9).unwrap().rows.iter().map(|row| row.stream).collect();
    assert_eq!(streams, [Stream::Stdout, Stream::Stderr, Stream::Stderr, Stream::Stdout]);
}

#[test]
fn a_stream_does_not_wait_for_ever_for_the_other() {
    let files = Files::new();
    let mut log = files.writer();
    log.write(ms(0), Stream::Stdout, b"name? ").unwrap();
    log.write(ms(1), Stream::Stderr, b"warning\n").unwrap();
    assert_eq!(log.due(), Some(ms(51)));
    log.flush_due(ms(51)).unwrap();
    assert_eq!(files.content(), "name? \nwarning\n");
    log.write(ms(60), Stream::Stdout, b"bob").unwrap();
    log.note(ms(61), "time is\nup").unwrap();
    assert_eq!(files.content(), "name? \nwarning\nbob\n[airlock] time is up\n");
}

#[test]
fn notes_are_masked_too() {
    let files = Files::new();
    let mut log = files.writer_with(&["hunter22"], limits::OUTPUT_BYTES);
    log.note(ms(0), "runs login hunter22").unwrap();
    assert_eq!(files.content(), "[airlock] runs login *****\n");
}

#[test]
fn what_comes_after_the_limit_is_dropped_and_counted() {
    let files = Files::new();
    let mut log = files.writer_with(&["hunter22"], 20);
    log.write(ms(0), Stream::Stdout, b"0123456789 ").unwrap();
    log.write(ms(1), Stream::Stdout, b"and hunter22 and more\n").unwrap();
    log.write(ms(2), Stream::Stderr, b"\n::add-mask secret-word").unwrap();
    assert_eq!(log.dropped(), 36);
    let summary = log.finish(ms(3)).unwrap();
    assert_eq!(
        files.content(),
        "0123456789 and *****\n[airlock] the output limit of 20 bytes is reached: what follows is dropped\n\
         [airlock] 36 bytes of output were dropped, the limit being 20 bytes\n"
    );
    assert_eq!(summary.dropped_bytes, 36);
    assert_eq!(summary.added_masks[0].expose(), "secret-word", "dropped output still adds masks");
}

#[test]
fn words_that_cannot_be_masked_are_reported() {
    let files = Files::new();
    let mut log = files.writer();
    log.write(ms(0), Stream::Stdout, b"::add-mask long-word ab\nlong-word ab\n").unwrap();
    log.finish(ms(1)).unwrap();
    let content = files.content();
    assert!(content.starts_with("::add-mask ***** *****\n***** ab\n[airlock] ::add-mask: 1 word(s) not masked"));
}

#[test]
fn small_writes_share_an_index_entry() {
    let files = Files::new();
    let mut log = files.writer();
    for n in 0..1_000 {
        log.write(ms(n / 10), Stream::Stdout, b"x\n").unwrap();
    }
    log.finish(ms(100)).unwrap();
    assert!(files.entries().len() <= 5, "{}", files.entries().len());
}

#[test]
fn a_failed_write_is_taken_back_and_can_be_repeated() {
    let files = Files::new();
    let mut log = files.writer();
    log.write(ms(0), Stream::Stdout, b"one\n").unwrap();
    let mut full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    log.swap_text(&mut full);
    log.write(ms(1), Stream::Stdout, b"two\n").unwrap();
    assert!(matches!(log.flush_due(ms(100)), Err(LogFault::Io { .. })));
    log.swap_text(&mut full);
    log.flush_due(ms(200)).unwrap();
    log.finish(ms(201)).unwrap();
    assert_eq!(files.content(), "one\ntwo\n");
    assert_eq!(files.entries().iter().map(|entry| entry.offset).collect::<Vec<_>>(), [0, 4]);
}

#[test]
fn existing_logs_are_not_overwritten() {
    let files = Files::new();
    written(&files, &[b"x"]);
    let again = LogWriter::create(&files.text(), &files.index(), MaskSet::new([], false), 1);
    assert!(matches!(again, Err(LogFault::Io { .. })));
}

#[test]
fn the_error_line_is_found() {
    for (lines, line) in [
        (
            "a\n\u{1b}[31m\u{2502} \u{1b}[1mError: \u{1b}[0mno such bucket\n\u{2502}\n\u{2502}   on main.tf\n",
            "Error: no such bucket",
        ),
        ("thread 'main' panicked at x.rs\nnote: y\n", "thread 'main' panicked at x.rs"),
        ("nothing special\n", "bye"),
    ] {
        let files = Files::new();
        let mut log = files.writer();
        log.write(ms(0), Stream::Stdout, lines.as_bytes()).unwrap();
        log.write(ms(1), Stream::Stderr, b"hi\nbye\n\n").unwrap();
        log.note(ms(2), "exit code 1, which is an error: of theirs").unwrap();
        assert_eq!(log.finish(ms(3)).unwrap().error_line.as_deref(), Some(line));
    }
    let long = format!("Error: {}", "é".repeat(300));
    let files = Files::new();
    let line = written(&files, &[long.as_bytes()]).error_line.unwrap();
    assert_eq!((line.chars().count(), line.ends_with('…')), (200, true));
    assert_eq!(written(&Files::new(), &[b"fine\n"]).error_line, None);
}

#[test]
fn invalid_bytes_are_replaced_wherever_the_text_is_cut() {
    let input = b"a\xFFb \xE2\x82\xAC \xE2\x82 \xF0\x9F\x98\x80\xF0\x9F\xC3\xC3\xA9 \xED\xA0\x80 \xF4\x90\x80\x80 \xC0\x80\xE2\x82";
    let whole = String::from_utf8_lossy(input);
    for first in 0..=input.len() {
        for second in first..=input.len() {
            let (mut utf8, mut out) = (Utf8::default(), Vec::new());
            for piece in [&input[..first], &input[first..second], &input[second..]] {
                utf8.push(piece, &mut out);
            }
            utf8.finish(&mut out);
            assert_eq!(str::from_utf8(&out).unwrap(), whole, "{first} {second}");
        }
    }
    let files = Files::new();
    written(&files, &[b"x\xE2", b"\x82", b"\xACy\xF0\x9F"]);
    assert_eq!(files.content(), "x€y\u{FFFD}");
}

#[test]
fn lines_and_offsets_lead_to_each_other() {
    let files = Files::new();
    let text = varied(&files, 500);
    for log in [files.live(), files.finished()] {
        let mut offset = 0;
        for (n, line) in text.split_inclusive('\n').enumerate() {
            let number = n as u64 + 1;
            assert_eq!(log.offset_of_line(number).unwrap(), Some(offset));
            assert_eq!(log.line_of_offset(offset).unwrap(), number);
            assert_eq!(log.line_of_offset(offset + line.len() as u64 - 1).unwrap(), number);
            offset += line.len() as u64;
        }
        assert_eq!(log.offset_of_line(501).unwrap(), None);
        assert_eq!(log.offset_of_line(0).unwrap(), None);
        assert_eq!(log.line_of_offset(u64::MAX).unwrap(), 501, "where the next line will be");
    }
}

#[test]
fn pages_lead_from_the_end_to_the_beginning() {
    let files = Files::new();
    let text = varied(&files, 300);
    for log in [files.live(), files.finished()] {
        let mut lines: Vec<String> = Vec::new();
        let mut before = log.len().unwrap();
        while before > 0 {
            let page = log.lines_before(before, 70).unwrap();
            assert_eq!(page.end, before);
            assert_eq!(page.rows.len(), 70.min(300 - lines.len()));
            let rows = page.rows.into_iter().map(|row| {
                let stream = if (row.line - 1) % 7 == 0 { Stream::Stderr } else { Stream::Stdout };
                assert_eq!((row.stream, row.continued), (stream, false));
                assert!(row.ms.abs_diff((row.line - 1) * 9) <= 50);
                row.text
            });
            lines.splice(0..0, rows.collect::<Vec<_>>());
            before = page.start;
        }
        assert_eq!(lines, text.lines().collect::<Vec<_>>());
        let page = log.lines_from(120, 21).unwrap();
        assert_eq!(texts(&page), text.lines().skip(119).take(21).collect::<Vec<_>>());
        assert_eq!(page.end, log.offset_of_line(141).unwrap().unwrap());
        assert!(log.lines_from(301, 5).unwrap().rows.is_empty());
    }
}

#[test]
fn the_end_of_an_unfinished_line_is_a_row() {
    let files = Files::new();
    written(&files, &[b"a\n\nb"]);
    assert_eq!(texts(&files.live().tail_lines(2).unwrap()), ["", "b"]);
    let empty = Files::new();
    written(&empty, &[]);
    for log in [empty.live(), empty.finished()] {
        assert!(log.is_empty().unwrap() && log.tail_lines(5).unwrap().rows.is_empty());
        assert_eq!((log.chunk(0).unwrap(), log.offset_of_line(1).unwrap()), (None, None));
    }
}

#[test]
fn a_very_long_line_is_split_for_display_only() {
    let files = Files::new();
    let long = "é".repeat(5 << 20);
    written(&files, &[b"first\n", long.as_bytes(), b"\nlast\n"]);
    assert_eq!(files.content().len(), 6 + long.len() + 6);
    for log in [files.live(), files.finished()] {
        let page = log.tail_lines(10).unwrap();
        assert_eq!((page.rows.len(), page.rows[9].text.as_str(), page.rows[9].line), (10, "last", 3));
        assert!(page.rows[..9].iter().all(|row| row.continued && row.line == 2));
        let page = log.tail_lines(1_000).unwrap();
        assert!(page.end - page.start <= limits::LOG_PAGE_BYTES as u64 && page.rows.len() < 40);
        let page = log.lines_from(2, 3).unwrap();
        assert_eq!((page.rows.len(), page.rows[0].continued, page.rows[1].continued), (3, false, true));
        assert!(page.rows.iter().all(|row| row.text.len() <= limits::LOG_LINE_BYTES));
    }
}

#[test]
fn search_finds_every_line_once_in_bounded_steps() {
    let files = Files::new();
    let mut log = files.writer();
    let filler = format!("{}\n", "-".repeat(99)).repeat(10_000);
    for n in 0..40 {
        log.write(ms(n), Stream::Stdout, filler.as_bytes()).unwrap();
        log.write(ms(n), Stream::Stdout, format!("the needle, the needle {n}\n").as_bytes()).unwrap();
    }
    log.finish(ms(50)).unwrap();
    for log in [files.live(), files.finished()] {
        let (mut found, mut from, mut calls) = (Vec::new(), Some(0), 0);
        while let Some(at) = from {
            let part = log.search("the needle", at, 7).unwrap();
            found.extend(part.rows);
            from = part.next;
            calls += 1;
        }
        assert!(calls >= 6);
        let expected: Vec<_> = (0..40).map(|n| (n * 10_001 + 10_001, format!("the needle, the needle {n}"))).collect();
        assert_eq!(found.into_iter().map(|row| (row.line, row.text)).collect::<Vec<_>>(), expected);
        let none = log.search("no such thing", 0, 1).unwrap();
        assert_eq!((none.rows.len(), none.next.is_some()), (0, true), "40 MB are more than one step");
        assert_eq!(log.search("", 0, 1).unwrap().next, None);
    }
}

#[test]
fn chunks_are_the_text_with_line_time_and_stream() {
    let files = Files::new();
    let text = varied(&files, 2_000);
    for log in [files.live(), files.finished()] {
        let chunks = all_chunks(&log, 0);
        assert_eq!(chunks.iter().map(|chunk| chunk.text.as_str()).collect::<String>(), text);
        for chunk in &chunks {
            assert!(chunk.text.len() <= limits::LOG_EVENT_BYTES);
            assert_eq!(chunk.line, text[..chunk.offset as usize].matches('\n').count() as u64 + 1);
            for line in chunk.text.lines() {
                let number: usize = line.split(' ').next().unwrap().parse().unwrap();
                assert_eq!(chunk.stream, if number.is_multiple_of(7) { Stream::Stderr } else { Stream::Stdout });
            }
        }
        let resumed: String = all_chunks(&log, 12_345).into_iter().map(|chunk| chunk.text).collect();
        let from = (12_345..12_350).find(|at| text.is_char_boundary(*at)).unwrap();
        assert_eq!(resumed, text[from..]);
    }
}

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
    let text = varied(&files, 120);
    let whole = fs::read(files.index()).unwrap();
    let lines: Vec<_> = (1..=121).map(|line| files.live().offset_of_line(line).unwrap()).collect();
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
        let now: Vec<_> = (1..=121).map(|line| log.offset_of_line(line).unwrap()).collect();
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
    let text = varied(&files, 60);
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

fn encode(chunk: &Chunk) -> Bytes {
    Bytes::from(format!("{}:{}", chunk.offset, chunk.text))
}

/// Follows to the end; checks that every piece begins where the one before it ended.
async fn follow(mut tail: Tail<fn(&Chunk) -> Bytes>) -> String {
    let mut all = String::new();
    let mut at = tail.at();
    while let Some(piece) = tail.next().await {
        let piece = String::from_utf8(piece.unwrap().to_vec()).unwrap();
        let (offset, text) = piece.split_once(':').unwrap();
        assert_eq!(offset.parse(), Ok(at));
        at += text.len() as u64;
        all.push_str(text);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_get_every_byte_once_while_the_log_grows() {
    let files = Files::new();
    let mut log = files.writer();
    let (bell, heard) = watch::channel(Progress::default());
    let shared = Arc::new(Shared::default());
    let reader = Arc::new(files.live());
    let tail = |from| {
        let encode: fn(&Chunk) -> Bytes = encode;
        Tail::new(Arc::clone(&reader), 1, from, heard.clone(), Arc::clone(&shared), encode)
    };
    let start = Arc::new(Barrier::new(2));
    let writer = std::thread::spawn({
        let start = Arc::clone(&start);
        move || {
            start.wait();
            for n in 0..20_000_u64 {
                let stream = if n % 50 == 0 { Stream::Stderr } else { Stream::Stdout };
                log.write(ms(n), stream, format!("line {n} — €\n").as_bytes()).unwrap();
                bell.send_replace(Progress { bytes: log.len(), done: false });
            }
            log.finish(ms(30_000)).unwrap();
            bell.send_modify(|progress| progress.done = true);
        }
    });
    let followers: Vec<_> = [0, 0, 0, 15, 30].map(|from| tokio::spawn(follow(tail(from)))).into();
    start.wait();
    let mut got = Vec::new();
    for follower in followers {
        got.push(follower.await.unwrap());
    }
    writer.join().unwrap();
    let text = files.content();
    assert_eq!(got[..3], [text.as_str(); 3]);
    assert_eq!(got[3], text[15..]);
    assert_eq!(got[4], text[30..]);
    assert_eq!(follow(tail(0)).await, text, "and whoever comes late");
}

#[tokio::test]
async fn a_follower_ends_when_nobody_can_ring_any_more() {
    let files = Files::new();
    written(&files, &[b"all there is\n"]);
    let (bell, heard) = watch::channel(Progress { bytes: 13, done: false });
    let encode: fn(&Chunk) -> Bytes = encode;
    let tail = Tail::new(Arc::new(files.live()), 1, 0, heard, Arc::default(), encode);
    drop(bell);
    assert_eq!(follow(tail).await, "all there is\n");
}

#[tokio::test]
async fn readers_share_encoded_pieces_within_a_bound() {
    let files = Files::new();
    let line = format!("{}\n", "x".repeat(1_023));
    written(&files, &[line.repeat(20 << 10).as_bytes()]);
    let (_bell, heard) = watch::channel(Progress { bytes: 20 << 20, done: true });
    let shared = Arc::new(Shared::default());
    let log = Arc::new(files.live());
    let encode: fn(&Chunk) -> Bytes = encode;
    let mut first = Tail::new(Arc::clone(&log), 7, 0, heard.clone(), Arc::clone(&shared), encode);
    let mut second = Tail::new(log, 7, 0, heard, Arc::clone(&shared), encode);
    while let Some(piece) = first.next().await {
        let (piece, other) = (piece.unwrap(), second.next().await.unwrap().unwrap());
        assert_eq!(piece.as_ptr(), other.as_ptr(), "one piece of memory for both");
    }
    assert!(second.next().await.is_none());
    assert!(shared.bytes() <= limits::LOG_SHARED_BYTES && shared.bytes() > limits::LOG_SHARED_BYTES / 2);
}

#[test]
fn a_stream_is_copied_to_its_end() {
    let files = Files::new();
    let (mut from, mut to) = std::io::pipe().unwrap();
    let sender = std::thread::spawn(move || (0..50_000).for_each(|n| writeln!(to, "line {n}").unwrap()));
    let mut log = files.writer();
    let bytes = log.write_all_of(Stream::Stdout, &mut from, || ms(1)).unwrap();
    sender.join().unwrap();
    let summary = log.finish(ms(2)).unwrap();
    assert_eq!((summary.bytes, summary.lines), (bytes, 50_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_streams_arrive_whole_and_in_order(
        writes in prop::collection::vec((any::<bool>(), "[ab\n]{0,12}", 0_u64..60), 0..30),
    ) {
        let files = Files::new();
        let mut log = files.writer();
        let mut at = 0;
        for (error, text, later) in &writes {
            at += later;
            log.flush_due(ms(at)).unwrap();
            let stream = if *error { Stream::Stderr } else { Stream::Stdout };
            log.write(ms(at), stream, text.as_bytes()).unwrap();
        }
        let summary = log.finish(ms(at)).unwrap();
        let content = files.content();
        prop_assert_eq!(summary.bytes, content.len() as u64);
        prop_assert_eq!(summary.lines, content.lines().count() as u64);
        for (error, stream) in [(false, Stream::Stdout), (true, Stream::Stderr)] {
            // Line ends may have been added where streams switched; nothing else may differ.
            let sent: String = writes.iter().filter(|write| write.0 == error).map(|write| write.1.as_str()).collect();
            let chunks = all_chunks(&files.live(), 0);
            let kept: String = chunks.iter().filter(|chunk| chunk.stream == stream).map(|chunk| chunk.text.as_str()).collect();
            prop_assert_eq!(kept.replace('\n', ""), sent.replace('\n', ""));
            prop_assert!(kept.matches('\n').count() >= sent.matches('\n').count());
        }
        let chunks = all_chunks(&files.live(), 0);
        for pair in chunks.windows(2) {
            prop_assert!(pair[0].stream == pair[1].stream || pair[0].text.ends_with('\n'));
        }
    }
}
