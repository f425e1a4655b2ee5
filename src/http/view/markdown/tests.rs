use askama::Template;

use super::*;

#[derive(Template)]
#[template(source = r#"{% import "parts.html" as p %}{{ p::markdown(text) }}"#, ext = "html")]
struct Page {
    text: Markdown,
}

fn html(text: &str) -> String {
    Page { text: Markdown::read(text) }.render().unwrap()
}

/// Whether everything that opens is closed, in order.
fn is_balanced(text: &Markdown) -> bool {
    let mut open = Vec::new();
    for piece in &text.pieces {
        let fits = match piece {
            Piece::Open(element) => {
                open.push(Some(*element));
                true
            }
            Piece::Link(_) => {
                open.push(None);
                true
            }
            Piece::Close(element) => open.pop() == Some(Some(*element)),
            Piece::EndLink => open.pop() == Some(None),
            Piece::Text(_) | Piece::Code(_) | Piece::Break | Piece::Rule => true,
        };
        if !fits {
            return false;
        }
    }
    open.is_empty()
}

#[test]
fn what_a_check_writes_is_shown_as_it_meant_it() {
    let text = "# Cost\n\nUp by **12 %**, see `main.tf` and [the report](https://costs.example/r?a=1&b=2).\n\n\
                * one\n* two\n\n| a | b |\n| - | - |\n| 1 | ~~2~~ |\n";
    assert_eq!(
        html(text),
        "<h4>Cost</h4><p>Up by <strong>12 %</strong>, see <code>main.tf</code> and \
         <a href=\"https://costs.example/r?a=1&#38;b=2\" rel=\"noopener noreferrer nofollow\">the report</a>.</p>\
         <ul><li>one</li><li>two</li></ul>\
         <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td><del>2</del></td></tr></table>"
    );
}

#[test]
fn nothing_of_it_becomes_markup_of_the_page() {
    for hostile in [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a <b onclick=x>b</b> <iframe src=//evil></iframe>",
        "<!-- --><svg/onload=alert(1)>",
        "```html\n</pre><script>x</script>\n```",
        "`</code><script>`",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html,<script>)",
        "[x](vbscript:x) [y](file:///etc/passwd) [z](//evil.example/) [w](/admin/users)",
        "[x](https://user:secret@evil.example/)",
        "![x](data:image/svg+xml,<svg>)",
        "<javascript:alert(1)>",
        "[\"><script>](https://a.example/\"><script>)",
    ] {
        let html = html(hostile);
        let mut rest = html.as_str();
        while let Some(at) = rest.find('<') {
            rest = &rest[at + 1..];
            let tag = rest.trim_start_matches('/').split(['>', ' ']).next().unwrap();
            let known = ["p", "code", "pre", "a"].contains(&tag);
            assert!(known, "{hostile} became {html}");
        }
        for (at, _) in html.match_indices("<a ") {
            assert!(html[at..].starts_with("<a href=\"https://a.example/"), "{hostile} became {html}");
        }
    }
}

#[test]
fn pictures_are_links_and_links_hold_no_links() {
    let picture = html("![a graph](https://a.example/g.png)");
    assert!(picture.starts_with("<p><a href=\"https://a.example/g.png\"") && picture.contains(">a graph</a>"));
    assert!(!picture.contains("<img"));
    let nested = html("[![badge](https://a.example/b.svg)](https://a.example/)");
    assert_eq!(nested.matches("<a ").count(), 1);
    assert!(nested.contains(">badge</a>"));
}

#[test]
fn texts_that_are_deep_or_endless_are_cut_and_stay_whole() {
    let deep = Markdown::read(&format!("{}x", "> ".repeat(5_000)));
    let quotes = deep.pieces.iter().filter(|piece| **piece == Piece::Open(Element::Quote)).count();
    assert!(quotes <= limits::MARKDOWN_DEPTH && is_balanced(&deep));
    let endless = Markdown::read(&"*a* ".repeat(100_000));
    assert!(endless.cut && is_balanced(&endless));
    assert!(endless.pieces.len() <= limits::MARKDOWN_PIECES + 2 * limits::MARKDOWN_DEPTH);
    let cut = Markdown::read_at_most("**ä**", 3);
    assert!(cut.cut && is_balanced(&cut));
    for text in ["* a\n  * b\n    > **c", "| a |\n|-|\n| [b](https://a.example) |", "[a", "***", "1. x\n\n   ```\ny"] {
        for most in 0..text.len() {
            assert!(is_balanced(&Markdown::read_at_most(text, most)), "{text} at {most}");
        }
    }
}

#[test]
fn text_cannot_turn_around_what_stands_beside_it() {
    assert_eq!(html("a\u{202e}b"), "<p>a\u{fffd}b</p>");
}
