//! Colours of terminals, as names of classes. No HTML here, and no other escape sequences: they
//! vanish.
//!
//! | class | means |
//! | --- | --- |
//! | `g` `y` `rd` `b` | green, yellow, red, blue (and what is near them) |
//! | `m` | muted: grey, or dim |
//! | `st` | strong: bold, or reversed |
//! | `u` | underlined |

#[cfg(test)]
mod tests;

use std::str::Chars;

/// A piece of a line with one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Names of classes, apart by blanks; empty for plain text.
    pub class: String,
    pub text: String,
}

/// The look that one line leaves to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ansi {
    colour: Option<Colour>,
    bold: bool,
    dim: bool,
    underline: bool,
    reverse: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    Green,
    Blue,
    Yellow,
    Red,
    Muted,
}

/// A line without its escape sequences and overwritten parts.
pub fn plain(line: &str) -> String {
    Ansi::default().line(line).into_iter().map(|span| span.text).collect()
}

impl Ansi {
    /// The spans of one line (without its line end). Of a line that overwrote itself, as progress
    /// bars do, only the last state is there.
    pub fn line(&mut self, line: &str) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut returned = false;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                '\u{1b}' => self.escape(&mut chars),
                '\u{9b}' => self.control(&mut chars),
                '\r' => returned = true,
                '\u{8}' => drop(spans.last_mut().map(|span| span.text.pop())),
                _ if c.is_control() && c != '\t' => {}
                _ => {
                    if std::mem::take(&mut returned) {
                        spans.clear();
                    }
                    self.put(c, &mut spans);
                }
            }
        }
        spans.retain(|span| !span.text.is_empty());
        spans
    }

    fn put(self, c: char, spans: &mut Vec<Span>) {
        let class = self.class();
        match spans.last_mut() {
            Some(last) if last.class == class => last.text.push(c),
            _ => spans.push(Span { class, text: c.to_string() }),
        }
    }

    fn class(self) -> String {
        let colour = match self.colour {
            Some(Colour::Green) => "g",
            Some(Colour::Blue) => "b",
            Some(Colour::Yellow) => "y",
            Some(Colour::Red) => "rd",
            Some(Colour::Muted) => "m",
            None if self.dim => "m",
            None => "",
        };
        let strong = if self.bold || self.reverse { "st" } else { "" };
        let underline = if self.underline { "u" } else { "" };
        let names: Vec<_> = [colour, strong, underline].into_iter().filter(|name| !name.is_empty()).collect();
        names.join(" ")
    }

    /// What follows an escape character (ECMA-48).
    fn escape(&mut self, chars: &mut Chars<'_>) {
        match chars.next() {
            Some('[') => self.control(chars),
            // A string for the terminal, to its end or to the end of the line.
            Some(']' | 'P' | 'X' | '^' | '_') => while chars.next().is_some_and(|c| !ends_string(c, chars)) {},
            // An intermediate character and a final one.
            Some(' '..='/') => while chars.next().is_some_and(|c| matches!(c, ' '..='/')) {},
            Some(_) | None => {}
        }
    }

    /// A control sequence; `m` sets the look, all others vanish.
    fn control(&mut self, chars: &mut Chars<'_>) {
        let mut parameters = String::new();
        for c in chars.by_ref() {
            match c {
                '0'..='?' => parameters.push(c),
                ' '..='/' => {}
                'm' => return self.select(&parameters),
                _ => return,
            }
        }
    }

    /// Selects the look (`SGR`).
    fn select(&mut self, parameters: &str) {
        let numbers: Vec<u16> = parameters.split([';', ':']).map(|number| number.parse().unwrap_or(0)).collect();
        let mut rest = numbers.as_slice();
        while let [number, after @ ..] = rest {
            rest = after;
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                4 | 21 => self.underline = true,
                7 => self.reverse = true,
                22 => (self.bold, self.dim) = (false, false),
                24 => self.underline = false,
                27 => self.reverse = false,
                30..=37 => self.colour = basic(number - 30),
                38 => self.colour = extended(&mut rest),
                39 => self.colour = None,
                48 | 58 => drop(extended(&mut rest)),
                90..=97 => self.colour = basic(number - 90 + 8),
                _ => {}
            }
        }
    }
}

fn ends_string(c: char, chars: &mut Chars<'_>) -> bool {
    match c {
        '\u{7}' | '\u{9c}' => true,
        '\u{1b}' => {
            if chars.as_str().starts_with('\\') {
                chars.next();
            }
            true
        }
        _ => false,
    }
}

/// The sixteen colours. White and black are the text's own colour, whatever the theme.
fn basic(number: u16) -> Option<Colour> {
    match number {
        1 | 9 => Some(Colour::Red),
        2 | 10 => Some(Colour::Green),
        3 | 11 => Some(Colour::Yellow),
        4 | 5 | 6 | 12 | 13 | 14 => Some(Colour::Blue),
        8 => Some(Colour::Muted),
        _ => None,
    }
}

/// `5;n` of the 256 colours, or `2;r;g;b`.
fn extended(rest: &mut &[u16]) -> Option<Colour> {
    match **rest {
        [5, number, ref after @ ..] => {
            *rest = after;
            indexed(number)
        }
        [2, red, green, blue, ref after @ ..] => {
            *rest = after;
            nearest([red, green, blue].map(i32::from))
        }
        _ => {
            *rest = &[];
            None
        }
    }
}

fn indexed(number: u16) -> Option<Colour> {
    match number {
        0..=15 => basic(number),
        16..=231 => {
            let level = |step: u16| if step == 0 { 0 } else { 55 + i32::from(step) * 40 };
            let cube = number - 16;
            nearest([level(cube / 36), level(cube / 6 % 6), level(cube % 6)])
        }
        _ => nearest([8 + i32::from(number.min(255) - 232) * 10; 3]),
    }
}

/// The class nearest in hue; greys are muted, or plain when they are near black or white.
fn nearest([red, green, blue]: [i32; 3]) -> Option<Colour> {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most - least < 40 {
        return (80..200).contains(&most).then_some(Colour::Muted);
    }
    let part = |a: i32, b: i32| 60 * (a - b) / (most - least);
    let hue = match most {
        _ if most == red => part(green, blue).rem_euclid(360),
        _ if most == green => 120 + part(blue, red),
        _ => 240 + part(red, green),
    };
    Some(match hue {
        0..25 | 330.. => Colour::Red,
        25..75 => Colour::Yellow,
        75..165 => Colour::Green,
        _ => Colour::Blue,
    })
}
