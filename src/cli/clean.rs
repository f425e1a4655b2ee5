//! Text that others wrote, on its way to somebody's terminal: data, never commands.
//!
//! Colours may stay. Everything else that a terminal would obey is taken out: it could move the
//! cursor over what was printed before, set titles, write to the clipboard, answer as if typed.

#[cfg(test)]
mod tests;

/// Characters of a sequence's parameters, before it is taken for none.
const PARAMETERS: usize = 64;

/// What becomes of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    Kept,
    Dropped,
}

/// Takes out what terminals obey, whatever pieces the text comes in.
#[derive(Debug)]
pub struct Filter {
    colours: Colours,
    at: At,
    /// Whether a colour is on.
    coloured: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum At {
    Text,
    /// After a carriage return, which ends the line unless a line feed does.
    Return,
    Escape,
    /// Between an escape character with intermediate characters and the final one.
    Intermediate,
    /// In a control sequence, with its parameters.
    Control(String),
    /// In a string for the terminal (title, clipboard, …).
    String,
    StringEscape,
}

impl Filter {
    pub const fn new(colours: Colours) -> Self {
        Self { colours, at: At::Text, coloured: false }
    }

    /// What may be printed of the next piece.
    pub fn push(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            self.take(c, &mut out);
        }
        out
    }

    /// What ends the text: colours do not leak into what follows.
    pub fn finish(&mut self) -> &'static str {
        if std::mem::take(&mut self.coloured) { "\u{1b}[0m" } else { "" }
    }

    fn take(&mut self, c: char, out: &mut String) {
        match (&mut self.at, c) {
            // Whatever was begun ends with the line, so that nothing swallows the rest of a log.
            (_, '\n') => {
                out.push('\n');
                self.at = At::Text;
            }
            (At::Return, _) => {
                out.push('\n');
                self.at = At::Text;
                self.take(c, out);
            }
            (At::Text, _) => self.text(c, out),
            (At::Escape, '[') => self.at = At::Control(String::new()),
            (At::Escape, ']' | 'P' | 'X' | '^' | '_') => self.at = At::String,
            (At::Escape | At::Intermediate, ' '..='/') => self.at = At::Intermediate,
            (At::Control(parameters), '0'..=';') if parameters.len() < PARAMETERS => parameters.push(c),
            (At::Control(_), ' '..='?') => self.at = At::Control("?".repeat(PARAMETERS)),
            (At::Control(_), 'm') => self.colour(out),
            (At::String, '\u{1b}') => self.at = At::StringEscape,
            (At::String, '\u{7}' | '\u{9c}') => self.at = At::Text,
            (At::String, _) => {}
            (At::StringEscape, '\\') => self.at = At::Text,
            (At::StringEscape, _) => self.at = At::String,
            (At::Escape | At::Control(_), '\u{1b}') => self.at = At::Escape,
            (At::Escape | At::Intermediate | At::Control(_), _) => self.at = At::Text,
        }
    }

    fn text(&mut self, c: char, out: &mut String) {
        match c {
            '\u{1b}' => self.at = At::Escape,
            '\u{9b}' => self.at = At::Control(String::new()),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => self.at = At::String,
            '\r' => self.at = At::Return,
            '\t' => out.push(c),
            _ if is_obeyed(c) => {}
            _ => out.push(c),
        }
    }

    /// The end of a sequence that sets colours.
    fn colour(&mut self, out: &mut String) {
        let At::Control(parameters) = std::mem::replace(&mut self.at, At::Text) else { return };
        if self.colours == Colours::Dropped || parameters.contains('?') {
            return;
        }
        self.coloured = !matches!(parameters.as_str(), "" | "0");
        out.push_str("\u{1b}[");
        out.push_str(&parameters);
        out.push('m');
    }
}

/// Whether a terminal, or whoever lays text out, would obey it instead of showing it.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text of several lines, without colours.
pub fn lines(text: &str) -> String {
    Filter::new(Colours::Dropped).push(text)
}

/// A text on one line, without colours.
pub fn line(text: &str) -> String {
    lines(text).replace(['\n', '\t'], " ")
}

/// Bytes into text, whatever pieces they come in.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of a character whose rest has not come.
    begun: Vec<u8>,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.begun.len(),
        };
        let rest = self.begun.split_off(whole);
        String::from_utf8_lossy(&std::mem::replace(&mut self.begun, rest)).into_owned()
    }
}
