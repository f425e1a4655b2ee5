//! Well-known shapes of secrets: access keys, tokens, private keys, connection strings.
//!
//! Owns what they look like. A look at one position needs a bounded number of bytes; what may go on
//! for longer is followed by [`Rest`] with a few bytes of state.

use std::ops::Range;

/// What a look at one position of a text says.
#[derive(Debug)]
pub(super) enum Sight {
    Nothing,
    /// The text is too short to tell. `from` is where the secret would have begun in it.
    Open {
        from: Option<usize>,
    },
    /// These bytes are secret. `rest` where the text's end came before the secret's.
    Secret {
        at: Range<usize>,
        rest: Option<Rest>,
    },
}

/// What follows a fixed beginning.
struct Token {
    head: &'static str,
    class: fn(u8) -> bool,
    /// Bytes of the class that must follow.
    least: usize,
    /// Whether the head itself stays visible.
    shown: bool,
}

const fn token(head: &'static str, class: fn(u8) -> bool, least: usize) -> Token {
    Token { head, class, least, shown: false }
}

const fn value(head: &'static str, class: fn(u8) -> bool, least: usize) -> Token {
    Token { head, class, least, shown: true }
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn dashed(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    dashed(byte) || byte == b'.'
}

fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'/'
}

fn query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b';' | b',' | b'<' | b'>')
}

const TOKENS: [Token; 34] = [
    token("ghp_", word, 36),
    token("gho_", word, 36),
    token("ghu_", word, 36),
    token("ghs_", word, 36),
    token("ghr_", word, 36),
    token("github_pat_", word, 36),
    token("glpat-", dotted, 20),
    token("gldt-", dotted, 20),
    token("glrt-", dotted, 20),
    token("glrtr-", dotted, 20),
    token("glcbt-", dotted, 20),
    token("glptt-", dashed, 20),
    token("glft-", dashed, 20),
    token("glimt-", dashed, 20),
    token("glagent-", dashed, 20),
    token("glsoat-", dashed, 20),
    token("gloas-", dashed, 20),
    token("glffct-", dashed, 20),
    token("xoxb-", dashed, 10),
    token("xoxp-", dashed, 10),
    token("xoxa-", dashed, 10),
    token("xoxr-", dashed, 10),
    token("xoxs-", dashed, 10),
    token("xoxc-", dashed, 10),
    token("xoxd-", query, 10),
    token("xoxe-", dashed, 10),
    token("xoxe.xox", dotted, 10),
    token("xapp-", dashed, 10),
    value("hooks.slack.com/services/", path, 20),
    value("AccountKey=", base64, 20),
    value("SharedAccessKey=", base64, 20),
    value("SharedAccessSignature=", query, 16),
    value("&sig=", query, 40),
    value("?sig=", query, 40),
];

const ACCESS_KEYS: [&str; 2] = ["AKIA", "ASIA"];
const ACCESS_KEY_BYTES: usize = 20;
const AWS_SECRET_NAMES: [&str; 3] = ["secret_access_key", "secretaccesskey", "secret-access-key"];
/// How the names begin, whatever case their rest is in.
const AWS_SECRET_HEADS: [&str; 3] = ["secr", "Secr", "SECR"];
const AWS_SECRET_BYTES: usize = 40;
const JWT_HEADER: Range<usize> = 12..4_096;
const PEM: &str = "-----BEGIN ";
const PEM_LABEL_BYTES: usize = 64;
const ENTRA_BYTES: Range<usize> = 31..35;

/// Calls `add` with the first four bytes of everything that [`look`] may find. It finds nothing that
/// begins otherwise: whether the masker looks at a position must not depend on how the text was cut.
pub(super) fn heads(add: &mut impl FnMut(&[u8])) {
    for head in TOKENS.iter().map(|token| token.head).chain(ACCESS_KEYS).chain(AWS_SECRET_HEADS).chain([PEM]) {
        add(head.as_bytes());
    }
    for fourth in (b'a'..=b'z').chain(b'0'..=b'9') {
        add(&[b'e', b'y', b'J', fourth]);
    }
    for digit in b'0'..=b'9' {
        for next in (0x21..0x7f).filter(|byte| entra(*byte)) {
            add(&[digit, b'Q', b'~', next]);
        }
    }
}

/// Looks for a shape that begins at `at`. `before` is the byte before it; `ended` says that
/// nothing follows the text.
pub(super) fn look(text: &[u8], at: usize, before: u8, ended: bool) -> Sight {
    let rest = &text[at..];
    let sight = match rest[0] {
        b'A' if !word(before) => access_key(rest, ended),
        b'e' if !word(before) => jwt(rest),
        b'-' => pem(rest),
        b's' | b'S' => aws_secret(rest, ended),
        b'0'..=b'9' => entra_secret(rest, ended),
        _ => Sight::Nothing,
    };
    let sight = match (sight, rest[0]) {
        (Sight::Nothing, b'g' | b'x' | b'h' | b'A' | b'S' | b'&' | b'?') => known_token(rest, before),
        (sight, _) => sight,
    };
    match sight {
        Sight::Nothing => Sight::Nothing,
        Sight::Open { from } => Sight::Open { from: from.map(|from| at + from) },
        Sight::Secret { at: found, rest } => Sight::Secret { at: found.start + at..found.end + at, rest },
    }
}

/// Whether `text` begins with `head`; open when it is a beginning of it.
fn begins(text: &[u8], head: &str) -> Option<Sight> {
    let head = head.as_bytes();
    if text.starts_with(head) {
        return None;
    }
    Some(if head.starts_with(text) { Sight::Open { from: None } } else { Sight::Nothing })
}

fn run(text: &[u8], class: fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !class(*byte)).unwrap_or(text.len())
}

fn known_token(text: &[u8], before: u8) -> Sight {
    let mut open = Sight::Nothing;
    for token in TOKENS.iter().filter(|token| token.shown || !word(before)) {
        match begins(text, token.head) {
            Some(Sight::Nothing) => {}
            Some(sight) => open = sight,
            None => return follow(text, token),
        }
    }
    open
}

fn follow(text: &[u8], token: &Token) -> Sight {
    let head = token.head.len();
    let end = head + run(&text[head..], token.class);
    let ended = end < text.len();
    let start = if token.shown { head } else { 0 };
    if end - head >= token.least {
        return Sight::Secret { at: start..end, rest: (!ended).then_some(Rest::Run(token.class)) };
    }
    if ended { Sight::Nothing } else { Sight::Open { from: Some(start) } }
}

fn access_key(text: &[u8], ended: bool) -> Sight {
    let capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let mut sight = Sight::Nothing;
    for head in ACCESS_KEYS {
        match begins(text, head) {
            Some(Sight::Nothing) => {}
            Some(open) => sight = open,
            None => {
                let end = run(text, capital);
                let next = text.get(end).copied();
                return match (end, next) {
                    (..=ACCESS_KEY_BYTES, None) if !(ended && end == ACCESS_KEY_BYTES) => Sight::Open { from: Some(0) },
                    (ACCESS_KEY_BYTES, next) if !next.is_some_and(word) => Sight::Secret { at: 0..end, rest: None },
                    _ => Sight::Nothing,
                };
            }
        }
    }
    sight
}

fn aws_secret(text: &[u8], ended: bool) -> Sight {
    let head = &text[..text.len().min(4)];
    let mut sight = Sight::Nothing;
    if !AWS_SECRET_HEADS.iter().any(|known| known.as_bytes().starts_with(head)) {
        return sight;
    }
    for name in AWS_SECRET_NAMES {
        let common = text.len().min(name.len());
        if !text[..common].eq_ignore_ascii_case(&name.as_bytes()[..common]) {
            continue;
        }
        if common < name.len() {
            sight = Sight::Open { from: None };
            continue;
        }
        let gap = run(&text[common..], |byte| matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'\\' | b':' | b'=' | b'>'));
        let start = common + gap;
        if gap == 0 && start < text.len() || gap > 12 {
            return Sight::Nothing;
        }
        let length = run(&text[start..], |byte| path(byte) || byte == b'+');
        return match (length, start + length < text.len()) {
            (..=AWS_SECRET_BYTES, false) if !(ended && length == AWS_SECRET_BYTES) => Sight::Open { from: Some(start) },
            (AWS_SECRET_BYTES, _) => Sight::Secret { at: start..start + length, rest: None },
            _ => Sight::Nothing,
        };
    }
    sight
}

/// A JSON web token: two objects in base64url and whatever follows them.
fn jwt(text: &[u8]) -> Sight {
    if let Some(sight) = begins(text, "eyJ") {
        return sight;
    }
    if text.get(3).is_some_and(|fourth| !fourth.is_ascii_lowercase() && !fourth.is_ascii_digit()) {
        return Sight::Nothing;
    }
    let end = run(text, dashed);
    if !(end == text.len() && end < JWT_HEADER.end || JWT_HEADER.contains(&end)) {
        return Sight::Nothing;
    }
    match text.get(end..).unwrap_or_default() {
        [] | [b'.'] | [b'.', b'e'] | [b'.', b'e', b'y'] => Sight::Open { from: Some(0) },
        [b'.', b'e', b'y', b'J', ..] => {
            let all = end + run(&text[end..], dotted);
            Sight::Secret { at: 0..all, rest: (all == text.len()).then_some(Rest::Run(dotted)) }
        }
        _ => Sight::Nothing,
    }
}

fn entra(byte: u8) -> bool {
    dotted(byte) || byte == b'~'
}

/// The recognisable part of a client secret of Microsoft's directory: its first three characters
/// stay visible, because nothing says at that point what they will be.
fn entra_secret(text: &[u8], ended: bool) -> Sight {
    match text {
        [_] | [_, b'Q'] => return Sight::Open { from: None },
        [_, b'Q', b'~', ..] => {}
        _ => return Sight::Nothing,
    }
    let length = run(&text[3..], entra);
    if 3 + length == text.len() && length < ENTRA_BYTES.end && !ended {
        return Sight::Open { from: Some(0) };
    }
    if !ENTRA_BYTES.contains(&length) {
        return Sight::Nothing;
    }
    Sight::Secret { at: 0..3 + length, rest: None }
}

fn pem(text: &[u8]) -> Sight {
    if let Some(sight) = begins(text, PEM) {
        return sight;
    }
    let label = &text[PEM.len()..];
    let length = run(label, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    if length > PEM_LABEL_BYTES {
        return Sight::Nothing;
    }
    let rest = &label[length..];
    if rest.len() < 5 && rest.iter().all(|byte| *byte == b'-') {
        return Sight::Open { from: None };
    }
    let label = &label[..length];
    if !rest.starts_with(b"-----") || !(label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK")) {
        return Sight::Nothing;
    }
    let body = PEM.len() + length + 5;
    let mut block = Rest::Pem(Pem::Line);
    match block.advance(&text[body..]) {
        Some(length) => Sight::Secret { at: 0..body + length, rest: None },
        None => Sight::Secret { at: 0..text.len(), rest: Some(block) },
    }
}

/// Follows a secret whose end has not come yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    /// As long as bytes are of this class.
    Run(fn(u8) -> bool),
    /// To the end of a private key's block, or to where it stops looking like one.
    Pem(Pem),
    /// To the end of the line.
    Line,
}

/// Where in a private key's block we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pem {
    /// At the beginning of a line, or in its indentation.
    Line,
    /// After letters that may be data or the name of a header such as `Proc-Type`.
    Data,
    /// In a header's value.
    Header,
    /// After data and a blank: nothing but the line's end may follow.
    Blank,
    /// In the last line, so many dashes after its words.
    End { words: bool, dashes: u8 },
}

impl Rest {
    /// Takes the next bytes; says where the secret ended, if it did.
    pub(super) fn advance(&mut self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Run(class) => text.iter().position(|byte| !class(*byte)),
            Self::Line => text.iter().position(|byte| *byte == b'\n'),
            Self::Pem(state) => {
                for (at, &byte) in text.iter().enumerate() {
                    match state.after(byte) {
                        Some(next) => *state = next,
                        None => return Some(at + usize::from(byte == b'-')),
                    }
                }
                None
            }
        }
    }
}

impl Pem {
    /// The state after `byte`; none where the block is over.
    fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::End { words: true, dashes: 4 }, b'-') => return None,
            (Self::End { words, dashes }, b'-') => Self::End { words, dashes: dashes + u8::from(words) },
            (Self::End { .. }, b' ' | b'A'..=b'Z' | b'0'..=b'9') => Self::End { words: true, dashes: 0 },
            (Self::Line | Self::Data | Self::Header | Self::Blank, b'\n' | b'\r')
            | (Self::Line, b' ' | b'\t' | b'|' | b'>') => Self::Line,
            (Self::Header, _) | (Self::Data, b':') => Self::Header,
            // A dash after data: in a header's name, or the last line where line ends are escaped.
            (Self::Line | Self::Data, b'-') => Self::End { words: false, dashes: 0 },
            (Self::End { .. }, b'a'..=b'z') | (Self::Line | Self::Data, b'\\') => Self::Data,
            (Self::Line | Self::Data, _) if base64(byte) => Self::Data,
            (Self::Data | Self::Blank, b' ' | b'\t') => Self::Blank,
            _ => return None,
        })
    }
}
