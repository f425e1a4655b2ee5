//! The forms in which a secret may turn up: as it is, encoded, escaped, quoted.
//!
//! Owns which forms there are; knows nothing of how they are found. Every temporary copy is
//! overwritten when it is dropped.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use zeroize::Zeroizing;

use crate::domain::limits;

/// Longer values are masked as they are, line by line, and as a whole in the commonest escapes and
/// all encodings; single lines of them are not encoded, and their base64 is not looked for across
/// line wraps.
const SMALL: usize = 8 * limits::KIB as usize;
/// Shortest part of a base64 form that is masked by itself. Tools wrap base64 at some multiple of
/// four characters; a wrapped line's whole windows are found wherever the wraps are.
pub(super) const WINDOW: usize = 16;

type Bytes = Zeroizing<Vec<u8>>;

/// Calls `add` with every form of `value`, some of them twice. Surrounding blanks are no secret.
pub(super) fn each(value: &[u8], add: &mut impl FnMut(&[u8])) {
    let core = value.trim_ascii();
    let whole = if chars(core) >= limits::SECRET_MIN_CHARS { core } else { value };
    if chars(whole) < limits::SECRET_MIN_CHARS {
        return;
    }
    let small = whole.len() <= SMALL;
    escaped(whole, small, add);
    encoded(whole, small, add);
    if !whole.contains(&b'\n') {
        return;
    }
    for line in whole.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii) {
        if non_blank_chars(line) >= limits::SECRET_LINE_CHARS {
            escaped(line, small, add);
            if small {
                encoded(line, false, add);
            }
        }
    }
}

fn chars(value: &[u8]) -> usize {
    value.utf8_chunks().map(|chunk| chunk.valid().chars().count() + usize::from(!chunk.invalid().is_empty())).sum()
}

fn non_blank_chars(line: &[u8]) -> usize {
    chars(line) - line.iter().filter(|byte| byte.is_ascii_whitespace()).count()
}

fn empty(bytes: usize) -> Bytes {
    Zeroizing::new(Vec::with_capacity(bytes))
}

fn escaped(value: &[u8], all: bool, add: &mut impl FnMut(&[u8])) {
    let mut seen: Vec<Bytes> = Vec::new();
    let mut add = |form: &[u8]| {
        if !seen.iter().any(|other| ***other == *form) {
            add(form);
            seen.push(Zeroizing::new(form.to_vec()));
        }
    };
    add(value);
    if value.iter().all(u8::is_ascii_alphanumeric) {
        return;
    }
    shell(value, all, &mut add);
    url(value, all, &mut add);
    if let Ok(text) = str::from_utf8(value) {
        json(text, all, &mut add);
    }
}

/// What encoders leave alone beside letters and digits: RFC 3986's unreserved characters;
/// `encodeURIComponent`; Python's `quote`; forms; Go's user information and path segments;
/// `encodeURI`.
const URL_SAFE: [&[u8]; 7] =
    [b"-_.~", b"-_.~!'()*", b"-_.~/", b"-_.*", b"-_.~$&+,;=", b"-_.~$&+=:@", b"-_.~!'()*;,/?:@&=+$#"];

fn url(value: &[u8], all: bool, add: &mut impl FnMut(&[u8])) {
    for safe in &URL_SAFE[..if all { URL_SAFE.len() } else { 1 }] {
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            for blank in [&b"%20"[..], b"+"] {
                let mut form = empty(value.len() * 3);
                for &byte in value {
                    match byte {
                        b' ' => form.extend_from_slice(blank),
                        _ if byte.is_ascii_alphanumeric() || safe.contains(&byte) => form.push(byte),
                        _ => form.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]),
                    }
                }
                add(&form);
            }
        }
    }
}

/// How a writer of JSON (or of Terraform's language) escapes beyond what the standard demands.
#[derive(Clone, Copy)]
struct Json {
    /// One of [`JSON_CODED`].
    coded: &'static str,
    /// Whether everything beyond ASCII is written as `\uxxxx`.
    ascii: bool,
    /// Whether `/` is written as `\/`.
    slash: bool,
    upper: bool,
    /// Whether `${` and `%{` are doubled, as Terraform does.
    templates: bool,
}

/// What is written as `\u00xx` beyond the standard's demand: nothing; Go's; Gson's.
const JSON_CODED: [&str; 3] = ["", "<>&\u{2028}\u{2029}", "<>&='"];

fn json(text: &str, all: bool, add: &mut impl FnMut(&[u8])) {
    if !all {
        add(&Json::PLAIN.write(text));
        add(&Json { coded: JSON_CODED[1], ..Json::PLAIN }.write(text));
        return;
    }
    for coded in JSON_CODED {
        for ascii in [false, true] {
            for slash in [false, true] {
                for upper in [false, true] {
                    let style = Json { coded, ascii, slash, upper, templates: false };
                    let once = style.write(text);
                    add(&once);
                    if let Ok(inner) = str::from_utf8(&once) {
                        // JSON inside JSON, as in plans.
                        add(&style.write(inner));
                    }
                }
            }
        }
    }
    add(&Json { templates: true, ..Json::PLAIN }.write(text));
}

impl Json {
    const PLAIN: Self = Self { coded: "", ascii: false, slash: false, upper: false, templates: false };

    fn write(self, text: &str) -> Bytes {
        let mut form = empty(text.len() * 6);
        let mut next = text.chars().peekable();
        while let Some(c) = next.next() {
            match c {
                '"' | '\\' => form.extend([b'\\', c as u8]),
                '\n' => form.extend(b"\\n"),
                '\r' => form.extend(b"\\r"),
                '\t' => form.extend(b"\\t"),
                '\u{8}' => form.extend(b"\\b"),
                '\u{c}' => form.extend(b"\\f"),
                '/' if self.slash => form.extend(b"\\/"),
                '$' | '%' if self.templates && next.peek() == Some(&'{') => form.extend([c as u8, c as u8]),
                _ if c.is_ascii_control() || self.coded.contains(c) || (self.ascii && !c.is_ascii()) => {
                    self.code(c, &mut form);
                }
                _ => form.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        form
    }

    fn code(self, c: char, form: &mut Bytes) {
        let digits = if self.upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        for unit in c.encode_utf16(&mut [0; 2]) {
            form.extend(b"\\u");
            form.extend([12, 8, 4, 0].map(|shift| digits[usize::from(*unit >> shift & 15)]));
        }
    }
}

/// Inside single quotes in two spellings, inside double quotes, by backslashes, and as `$'…'`.
fn shell(value: &[u8], all: bool, add: &mut impl FnMut(&[u8])) {
    if !all || value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@%+,".contains(byte)) {
        return;
    }
    let quoted = |escape: &dyn Fn(u8) -> Option<Vec<u8>>| {
        let mut form = empty(value.len() * 5);
        for &byte in value {
            match escape(byte) {
                Some(instead) => form.extend(instead),
                None => form.push(byte),
            }
        }
        form
    };
    let backslashed = |byte: u8| Some(vec![b'\\', byte]);
    add(&quoted(&|byte| (byte == b'\'').then(|| b"'\\''".to_vec())));
    add(&quoted(&|byte| (byte == b'\'').then(|| b"'\"'\"'".to_vec())));
    add(&quoted(&|byte| if b"\"$`\\".contains(&byte) { backslashed(byte) } else { None }));
    add(&quoted(&|byte| if b"\"$`\\!".contains(&byte) { backslashed(byte) } else { None }));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    add(&quoted(&|byte| if plain(byte) || b"-_./:@%+,=".contains(&byte) { None } else { backslashed(byte) }));
    add(&quoted(&|byte| if plain(byte) || b"-_./:@%+=".contains(&byte) { None } else { backslashed(byte) }));
    add(&quoted(&|byte| match byte {
        b'\n' => Some(b"\\n".to_vec()),
        b'\r' => Some(b"\\r".to_vec()),
        b'\t' => Some(b"\\t".to_vec()),
        b'\'' | b'\\' => backslashed(byte),
        0..0x20 | 0x7f => Some(format!("\\{byte:03o}").into_bytes()),
        _ => None,
    }));
}

/// Base64 in its alignments and alphabets, and hexadecimal.
fn encoded(value: &[u8], wrapped: bool, add: &mut impl FnMut(&[u8])) {
    let mut both = |form: &[u8]| {
        add(form);
        if form.iter().any(|byte| matches!(byte, b'+' | b'/')) {
            let mut other = empty(form.len());
            other.extend(form.iter().map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            }));
            add(&other);
        }
    };
    for alignment in 0..3 {
        base64(value, alignment, wrapped, &mut both);
    }
    let lower = Zeroizing::new(hex::encode(value));
    add(lower.as_bytes());
    add(Zeroizing::new(lower.to_ascii_uppercase()).as_bytes());
}

/// The characters of base64 that depend on nothing but `value`, when `before` bytes (mod 3) stand
/// before it; and what they are when nothing, or a line end, follows.
fn base64(value: &[u8], before: usize, wrapped: bool, add: &mut impl FnMut(&[u8])) {
    let mut source = empty(before + value.len() + 1);
    source.resize(before, 0);
    source.extend_from_slice(value);
    let first = (before * 8).div_ceil(6);
    let inner = source.len() * 8 / 6;
    let padded = Zeroizing::new(STANDARD.encode(&source).into_bytes());
    let open = padded.iter().position(|byte| *byte == b'=').unwrap_or(padded.len());
    source.push(b'\n');
    let with_line_end = Zeroizing::new(STANDARD_NO_PAD.encode(&source).into_bytes());
    add(&padded[first..inner]);
    if open > inner {
        add(&padded[first..open]);
        add(&padded[first..]);
        add(&with_line_end[first..=inner]);
    }
    if !wrapped {
        return;
    }
    for start in std::iter::once(first).chain((first.next_multiple_of(4)..inner).step_by(4)) {
        if start + WINDOW <= inner {
            add(&padded[start..start + WINDOW]);
            if start + WINDOW + 4 > inner {
                add(&padded[start..inner]);
                add(&padded[start..open]);
                add(&padded[start..]);
                add(&with_line_end[start..(inner + 1).min(with_line_end.len())]);
            }
        }
    }
}
