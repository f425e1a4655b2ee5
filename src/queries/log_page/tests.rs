use std::time::Duration;

use super::*;
use crate::{log::LogWriter, mask::MaskSet};

struct Sample {
    dir: tempfile::TempDir,
    writer: LogWriter,
}

impl Sample {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let masks = MaskSet::new(std::iter::empty::<&[u8]>(), false);
        let writer = LogWriter::create(&dir.path().join("a.log"), &dir.path().join("a.idx"), masks, 1 << 30).unwrap();
        Self { dir, writer }
    }

    fn print(&mut self, text: &str) {
        self.writer.write(Duration::ZERO, Stream::Stdout, text.as_bytes()).unwrap();
        self.writer.flush_due(Duration::from_secs(1)).unwrap();
    }

    fn log(&self) -> LogReader {
        LogReader::live(&self.dir.path().join("a.log"), &self.dir.path().join("a.idx")).unwrap()
    }
}

fn text(lines: &[LogLine]) -> Vec<(u64, String)> {
    lines.iter().map(|line| (line.n, line.spans.iter().map(|span| span.text.as_str()).collect())).collect()
}

#[test]
fn a_follower_sees_an_unfinished_line_at_once_and_again_when_it_is_whole() {
    let mut sample = Sample::new();
    sample.print("one\ntw");
    let (lines, place) = follow(&sample.log(), LogMark::at(1), 100).unwrap();
    assert_eq!(text(&lines), [(1, "one".into()), (2, "tw".into())]);
    assert_eq!(place.next, 2);
    sample.print("o\nthree\n");
    let (lines, place) = follow(&sample.log(), place, 100).unwrap();
    assert_eq!(text(&lines), [(2, "two".into()), (3, "three".into())]);
    assert_eq!(place.next, 4);
    assert_eq!(follow(&sample.log(), place, 100).unwrap().0, []);
}

#[test]
fn a_colour_goes_on_into_the_next_line_of_a_follower() {
    let mut sample = Sample::new();
    sample.print("\u{1b}[31mred\n");
    let (_, place) = follow(&sample.log(), LogMark::at(1), 100).unwrap();
    sample.print("still\n");
    let (lines, _) = follow(&sample.log(), place, 100).unwrap();
    assert_eq!(lines[0].spans[0].class, "rd");
}

#[test]
fn the_end_of_a_long_log_is_its_last_thousand_lines_and_the_next_number() {
    let mut sample = Sample::new();
    sample.print(&(1..=1_500).map(|n| format!("line {n}\n")).collect::<String>());
    let part = read(&sample.log(), &LogWindow::Tail).unwrap();
    assert_eq!((part.lines[0].n, part.lines.len(), part.total, part.next), (501, 1_000, 1_500, 1_501));
    let before = read(&sample.log(), &LogWindow::Before(501)).unwrap();
    assert_eq!((before.lines[0].n, before.lines.len()), (1, 500));
    let around = read(&sample.log(), &LogWindow::Around(700)).unwrap();
    assert!(around.lines.iter().any(|line| line.n == 700));
}

#[test]
fn a_search_marks_what_it_found_and_nothing_else() {
    let mut sample = Sample::new();
    sample.print("alpha\nbeta Error: x\ngamma\n");
    let part = read(&sample.log(), &LogWindow::Holding { text: "Error".into(), from: 0 }).unwrap();
    assert_eq!(text(&part.lines), [(2, "beta Error: x".into())]);
    let classes: Vec<_> = part.lines[0].spans.iter().map(|span| span.class.as_str()).collect();
    assert_eq!(classes, ["", "h", ""]);
    assert!(part.lines[0].wrong);
}

#[test]
fn a_very_long_line_is_cut_and_says_so() {
    let mut sample = Sample::new();
    sample.print(&format!("{}\nend\n", "x".repeat(200_000)));
    let part = read(&sample.log(), &LogWindow::Tail).unwrap();
    assert_eq!(part.lines.iter().map(|line| line.n).collect::<Vec<_>>(), [1, 2]);
    let shown: usize = part.lines[0].spans.iter().map(|span| span.text.len()).sum();
    assert!(shown < 9_000, "{shown}");
}
