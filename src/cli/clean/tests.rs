use proptest::prelude::*;

use super::{Colours, Decoder, Filter, line};

fn kept(text: &str) -> String {
    let mut filter = Filter::new(Colours::Kept);
    filter.push(text) + filter.finish()
}

#[test]
fn colours_stay_and_end_with_the_text() {
    assert_eq!(kept("\u{1b}[1;31mred\u{1b}[0m plain"), "\u{1b}[1;31mred\u{1b}[0m plain");
    assert_eq!(kept("\u{1b}[32mgreen"), "\u{1b}[32mgreen\u{1b}[0m");
    assert_eq!(kept("\u{9b}31mred"), "\u{1b}[31mred\u{1b}[0m");
}

#[test]
fn what_a_terminal_would_obey_is_taken_out() {
    let attacks = [
        "\u{1b}[2J\u{1b}[1;1H",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]52;c;cm0gLXJmIH4=\u{1b}\\",
        "\u{1b}P+q544e\u{1b}\\",
        "\u{9d}0;title\u{9c}",
        "\u{1b}[6n",
        "\u{1b}[>4;1m",
        "\u{1b}(0",
        "\u{1b}c",
        "\u{7}\u{8}\u{7f}\u{0}\u{e}\u{85}",
        "\u{202e}\u{2066}",
        "\u{1b}\u{1b}[5A",
    ];
    for attack in attacks {
        assert_eq!(kept(&format!("a{attack}b")), "ab", "{attack:?}");
    }
}

#[test]
fn no_line_overwrites_another_and_nothing_swallows_the_rest() {
    assert_eq!(kept("failed\rfinished\r\nend"), "failed\nfinished\nend");
    assert_eq!(kept("\u{1b}]0;never ended\nnext"), "\nnext");
    assert_eq!(kept("\u{1b}[12\nnext"), "\nnext");
    assert_eq!(kept(&format!("\u{1b}[{}mx", "1".repeat(1_000))), "x");
}

#[test]
fn tables_get_one_line_without_colours() {
    assert_eq!(line("a\u{1b}[31mb\nc\td"), "ab c d");
}

#[test]
fn characters_may_come_in_pieces() {
    let mut decoder = Decoder::default();
    let text: String = "é✓𝄞".bytes().map(|byte| decoder.push(&[byte])).collect();
    assert_eq!(text, "é✓𝄞");
    assert_eq!(decoder.push(&[0xff, b'x']), "\u{FFFD}x");
}

proptest! {
    #[test]
    fn pieces_give_the_same_as_the_whole_and_nothing_obeyed_remains(text in "[\u{1b}\u{9b}\\[\\]0-9;m\u{7}\r\nab\\\\]{0,40}", at in 0_usize..40) {
        let cut = text.char_indices().map(|(cut, _)| cut).nth(at).unwrap_or(text.len());
        let mut filter = Filter::new(Colours::Dropped);
        let parts = filter.push(&text[..cut]) + &filter.push(&text[cut..]);
        prop_assert_eq!(&parts, &super::lines(&text));
        prop_assert!(!parts.chars().any(|c| c != '\n' && super::is_obeyed(c)), "{:?}", parts);
    }
}
