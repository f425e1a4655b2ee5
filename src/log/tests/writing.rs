use std::{fs, io::Write};

use proptest::prelude::*;

use super::{Files, all_chunks, ms, written};
use crate::{
    domain::limits,
    log::{LogFault, LogWriter, Stream, utf8::Utf8},
    mask::MaskSet,
};

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
    log.files().swap_text(&mut full);
    log.write(ms(1), Stream::Stdout, b"two\n").unwrap();
    assert!(matches!(log.flush_due(ms(100)), Err(LogFault::Io { .. })));
    log.files().swap_text(&mut full);
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
