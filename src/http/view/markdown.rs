//! Markdown that strangers wrote, as something that a page can show without believing it.
//!
//! The text is read into a flat list of [`Piece`]s out of a closed set. The template writes each of
//! them; texts are escaped there like every other text. What cannot be said in pieces does not reach
//! the page: raw HTML is shown as the text that it is, pictures become links, addresses are http, https
//! or mailto or they are no links at all.
//!
//! Invariants: every piece that opens is closed, in order, whatever was cut off; links hold no links;
//! depth, number of pieces and bytes have bounds.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use url::Url;

use crate::domain::limits;

/// Something that opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Paragraph,
    Heading,
    Quote,
    Pre,
    Bullets,
    Numbers,
    Item,
    Table,
    Row,
    HeadCell,
    Cell,
    Emphasis,
    Strong,
    Deleted,
}

impl Element {
    /// The name of its tag. Headings all have one level: the page's own outline goes on above them.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Paragraph => "p",
            Self::Heading => "h4",
            Self::Quote => "blockquote",
            Self::Pre => "pre",
            Self::Bullets => "ul",
            Self::Numbers => "ol",
            Self::Item => "li",
            Self::Table => "table",
            Self::Row => "tr",
            Self::HeadCell => "th",
            Self::Cell => "td",
            Self::Emphasis => "em",
            Self::Strong => "strong",
            Self::Deleted => "del",
        }
    }
}

/// One piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Open(Element),
    Close(Element),
    /// Opens a link to somewhere else.
    Link(String),
    EndLink,
    Text(String),
    Code(String),
    Break,
    Rule,
}

/// A text that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markdown {
    pub pieces: Vec<Piece>,
    /// There was more than a page shows.
    pub cut: bool,
}

impl Markdown {
    /// Reads at most the first [`limits::MARKDOWN_BYTES`] bytes.
    pub fn read(text: &str) -> Self {
        Self::read_at_most(text, limits::MARKDOWN_BYTES)
    }

    pub fn read_at_most(text: &str, most: usize) -> Self {
        let shown = &text[..text.floor_char_boundary(most)];
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
        let mut reading = Reading { cut: shown.len() < text.len(), ..Reading::default() };
        for event in Parser::new_ext(shown, options) {
            if reading.pieces.len() >= limits::MARKDOWN_PIECES {
                reading.cut = true;
                break;
            }
            reading.take(event);
        }
        reading.finish()
    }

    pub const fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

/// What is open, with what its end has to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Element(Element),
    Link,
    /// It was too deep, or it has no shape of its own.
    Nothing,
}

#[derive(Debug, Default)]
struct Reading {
    pieces: Vec<Piece>,
    open: Vec<Open>,
    /// A link is open.
    linked: bool,
    in_head: bool,
    cut: bool,
}

impl Reading {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(end) => self.end(end),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.pieces.push(Piece::Code(visible(&text)));
            }
            Event::SoftBreak => self.text("\n"),
            Event::HardBreak => self.pieces.push(Piece::Break),
            Event::Rule => self.pieces.push(Piece::Rule),
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
            Event::FootnoteReference(name) => self.text(&format!("[{name}]")),
        }
    }

    fn text(&mut self, text: &str) {
        let text = visible(text);
        match self.pieces.last_mut() {
            Some(Piece::Text(before)) => before.push_str(&text),
            _ => self.pieces.push(Piece::Text(text)),
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        let open = match tag {
            _ if self.open.len() >= limits::MARKDOWN_DEPTH => Open::Nothing,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.link(dest_url),
            Tag::TableHead => {
                self.in_head = true;
                Open::Element(Element::Row)
            }
            other => element(other, self.in_head).map_or(Open::Nothing, Open::Element),
        };
        match open {
            Open::Element(element) => self.pieces.push(Piece::Open(element)),
            Open::Link | Open::Nothing => {}
        }
        self.open.push(open);
    }

    /// A link within a link, and one to somewhere odd, is only its text.
    fn link(&mut self, to: &str) -> Open {
        match address(to) {
            Some(href) if !self.linked => {
                self.linked = true;
                self.pieces.push(Piece::Link(href));
                Open::Link
            }
            Some(_) | None => Open::Nothing,
        }
    }

    fn end(&mut self, end: TagEnd) {
        if end == TagEnd::TableHead {
            self.in_head = false;
        }
        self.close();
    }

    fn close(&mut self) {
        match self.open.pop() {
            Some(Open::Element(element)) => self.pieces.push(Piece::Close(element)),
            Some(Open::Link) => {
                self.linked = false;
                self.pieces.push(Piece::EndLink);
            }
            Some(Open::Nothing) | None => {}
        }
    }

    fn finish(mut self) -> Markdown {
        while !self.open.is_empty() {
            self.close();
        }
        Markdown { pieces: self.pieces, cut: self.cut }
    }
}

const fn element(tag: &Tag<'_>, in_head: bool) -> Option<Element> {
    match tag {
        Tag::Paragraph | Tag::HtmlBlock | Tag::DefinitionListTitle => Some(Element::Paragraph),
        Tag::Heading { .. } => Some(Element::Heading),
        Tag::BlockQuote(_) | Tag::FootnoteDefinition(_) | Tag::DefinitionListDefinition => Some(Element::Quote),
        Tag::CodeBlock(CodeBlockKind::Indented | CodeBlockKind::Fenced(_)) => Some(Element::Pre),
        Tag::List(None) => Some(Element::Bullets),
        Tag::List(Some(_)) => Some(Element::Numbers),
        Tag::Item => Some(Element::Item),
        Tag::Table(_) => Some(Element::Table),
        Tag::TableHead | Tag::TableRow => Some(Element::Row),
        Tag::TableCell if in_head => Some(Element::HeadCell),
        Tag::TableCell => Some(Element::Cell),
        Tag::Emphasis => Some(Element::Emphasis),
        Tag::Strong => Some(Element::Strong),
        Tag::Strikethrough => Some(Element::Deleted),
        Tag::Link { .. }
        | Tag::Image { .. }
        | Tag::Superscript
        | Tag::Subscript
        | Tag::DefinitionList
        | Tag::MetadataBlock(_) => None,
    }
}

/// An address that a page may lead to; none where it could be anything else than that.
pub fn address(text: &str) -> Option<String> {
    if text.len() > limits::URL_CHARS {
        return None;
    }
    let url = Url::parse(text.trim()).ok()?;
    match url.scheme() {
        "http" | "https" if url.has_host() && url.username().is_empty() && url.password().is_none() => {}
        "mailto" => {}
        _ => return None,
    }
    Some(url.into())
}

/// Characters that would turn around, or hide, what is written beside them are shown as a box.
pub fn visible(text: &str) -> String {
    let hides = |c: char| {
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') || (c.is_control() && !matches!(c, '\n' | '\t'))
    };
    text.chars().map(|c| if hides(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
