use super::{Files, all_chunks, ms, texts, varied, written};
use crate::{domain::limits, log::Stream};

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
fn an_event_stays_small_when_its_text_must_be_escaped() {
    for text in ["\x1b[1m\"\\", "\n", "é\0"] {
        let files = Files::new();
        let text = text.repeat(10_000);
        written(&files, &[text.as_bytes()]);
        let chunks = all_chunks(&files.live(), 0);
        let json = |text: &str| serde_json::to_string(text).unwrap().len();
        assert!(chunks.iter().all(|chunk| json(&chunk.text) <= limits::LOG_EVENT_BYTES - 250));
        assert_eq!(chunks.into_iter().map(|chunk| chunk.text).collect::<String>(), text);
    }
}

#[test]
fn the_last_line_of_a_stream_is_its_own() {
    let files = Files::new();
    let mut log = files.writer();
    let long = format!("début {}", "x".repeat(limits::LOG_ENTRY_BYTES));
    let said = [
        (Stream::Stdout, "first\n  the verdict \u{1b}\t\n\n"),
        (Stream::Stderr, "a warning\n"),
        (Stream::Stdout, " \n"),
        (Stream::Stderr, long.as_str()),
    ];
    for (n, (stream, text)) in (0..).zip(said) {
        log.write(ms(n * 60), stream, text.as_bytes()).unwrap();
    }
    for n in 0..5_000 {
        log.write(ms(300 + n * 60), Stream::Stderr, b"\n").unwrap();
    }
    log.note(ms(400_000), "a note").unwrap();
    log.finish(ms(400_060)).unwrap();
    for reader in [files.live(), files.finished()] {
        assert_eq!(reader.last_line(Stream::Stdout).unwrap().as_deref(), Some("the verdict"));
        let stderr = reader.last_line(Stream::Stderr).unwrap().unwrap();
        assert!(stderr.len() > 15 << 10 && stderr.chars().all(|c| c == 'x'), "{}", stderr.len());
    }
    let silent = Files::new();
    silent.writer().finish(ms(0)).unwrap();
    assert_eq!(silent.live().last_line(Stream::Stdout).unwrap(), None);
}
