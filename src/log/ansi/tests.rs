use super::{Ansi, plain};

/// `class(text)` of each span, plain text bare.
fn shown(line: &str) -> String {
    let spans = Ansi::default().line(line);
    let spans = spans.into_iter().map(|span| match span.class.as_str() {
        "" => span.text,
        class => format!("{class}({})", span.text),
    });
    spans.collect::<Vec<_>>().join("|")
}

#[test]
fn colours_become_classes() {
    assert_eq!(shown("a \x1b[32mok\x1b[0m b"), "a |g(ok)| b");
    assert_eq!(shown("\x1b[1m\x1b[31mE\x1b[0m\x1b[m!"), "rd st(E)|!");
    assert_eq!(shown("\x1b[1;4;33mw\x1b[22;24mx\x1b[39my"), "y st u(w)|y(x)|y");
    assert_eq!(shown("\x1b[90mg\x1b[0;2md\x1b[0;7mr\x1b[27mp"), "m(gd)|st(r)|p");
    assert_eq!(shown("\x1b[35mm\x1b[36mc\x1b[94mb"), "b(mcb)");
    assert_eq!(shown("\x1b[37;40mw\x1b[97mv\x1b[30mk"), "wvk", "black and white follow the theme");
}

#[test]
fn many_colours_become_the_nearest_class() {
    assert_eq!(
        shown("\x1b[38;5;196mr\x1b[38;5;46mg\x1b[38;5;21mb\x1b[38;5;226my\x1b[38;5;244mm"),
        "rd(r)|g(g)|b(b)|y(y)|m(m)"
    );
    assert_eq!(shown("\x1b[38;2;255;80;70mr\x1b[38:2:90:200:110mg\x1b[38;2;250;250;250mw"), "rd(r)|g(g)|w");
    assert_eq!(shown("\x1b[38;5;9;1mr\x1b[48;5;9;22mr\x1b[38;5mx\x1b[38mx"), "rd st(r)|rd(r)|xx");
}

#[test]
fn a_look_goes_on_in_the_next_line() {
    let mut ansi = Ansi::default();
    ansi.line("\x1b[1;31mfirst");
    assert_eq!(ansi.line("second")[0].class, "rd st");
    ansi.line("\x1b[0m");
    assert_eq!(ansi, Ansi::default());
}

#[test]
fn of_progress_only_the_last_state_is_shown() {
    assert_eq!(plain("10 %\r50 %\r100 %"), "100 %");
    assert_eq!(plain("done\r"), "done", "a line end of another system");
    assert_eq!(plain("10 %\r\r\r"), "10 %");
    assert_eq!(shown("\x1b[31m1\r\x1b[32m2\r3"), "g(3)", "looks of overwritten text count");
    assert_eq!(plain("abc\x08\x08d"), "ad");
}

#[test]
fn other_sequences_vanish() {
    assert_eq!(plain("a\x1b[2K\x1b[1;5Hb\x1b[?25lc\x1b[0Kd"), "abcd");
    assert_eq!(plain("a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\c"), "ablinkc");
    assert_eq!(plain("a\x1b(Bb\x1b=c\x1bPq#0\x1b\\d\u{9b}31me"), "abcde");
    assert_eq!(plain("a\0b\x07c\td"), "abc\td");
    for torn in ["a\x1b", "a\x1b[", "a\x1b[31", "a\x1b]0;title", "a\x1bP", "a\x1b("] {
        assert_eq!(plain(torn), "a");
    }
}

#[test]
fn markup_stays_text() {
    assert_eq!(shown("<b>&\"'\x1b[31m</b>"), "<b>&\"'|rd(</b>)");
}
