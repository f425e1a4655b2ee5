//! As much of Terraform's language as it takes to find a backend: words, braces, and what has to be
//! passed over (comments, strings with templates, heredocs). Whatever is malformed is passed over as
//! well; the vendor itself will complain about it.

use serde_json::Value;

/// Whether a file in HCL holds `terraform { backend "…" {` or `terraform { cloud {`.
pub fn names_backend(text: &[u8]) -> bool {
    let mut scanner = Scanner { text: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text), at: 0 };
    let mut depth = 0_usize;
    let mut in_terraform = false;
    let mut before = [Token::Other, Token::Other];
    while let Some(token) = scanner.next_token() {
        match token {
            Token::Open => {
                match (depth, before) {
                    (0, [_, Token::Word(b"terraform")]) => in_terraform = true,
                    (0, _) => in_terraform = false,
                    (1, [_, Token::Word(b"cloud")] | [Token::Word(b"backend"), Token::Text | Token::Word(_)])
                        if in_terraform =>
                    {
                        return true;
                    }
                    _ => {}
                }
                depth += 1;
            }
            Token::Close => depth = depth.saturating_sub(1),
            Token::Word(_) | Token::Text | Token::Other => {}
        }
        before = [before[1], token];
    }
    false
}

/// The same of a file in the language's JSON form.
pub fn json_names_backend(text: &[u8]) -> bool {
    let Ok(Value::Object(file)) = serde_json::from_slice(text) else { return false };
    let names = |block: &Value| ["backend", "cloud"].iter().any(|key| block.get(key).is_some_and(|v| !v.is_null()));
    match file.get("terraform") {
        Some(Value::Array(blocks)) => blocks.iter().any(names),
        Some(block) => names(block),
        None => false,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a [u8]),
    /// A string or a heredoc.
    Text,
    Open,
    Close,
    Other,
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn next_token(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.text[self.at..];
            let first = *rest.first()?;
            if first.is_ascii_whitespace() {
                self.at += 1;
            } else if first == b'#' || rest.starts_with(b"//") {
                self.pass(b"\n");
            } else if rest.starts_with(b"/*") {
                self.at += 2;
                self.pass(b"*/");
            } else if first == b'"' {
                self.pass_string();
                return Some(Token::Text);
            } else if rest.starts_with(b"<<") {
                self.pass_heredoc();
                return Some(Token::Text);
            } else if is_word(first) {
                let length = rest.iter().take_while(|byte| is_word(**byte) || **byte == b'-').count();
                self.at += length;
                return Some(Token::Word(&rest[..length]));
            } else {
                self.at += 1;
                return Some(match first {
                    b'{' => Token::Open,
                    b'}' => Token::Close,
                    _ => Token::Other,
                });
            }
        }
    }

    /// Moves behind the next `end`, or to the end of the text.
    fn pass(&mut self, end: &[u8]) {
        let rest = &self.text[self.at..];
        let found = rest.windows(end.len()).position(|window| window == end);
        self.at += found.map_or(rest.len(), |at| at + end.len());
    }

    /// Moves behind a quoted string, whose templates may hold strings in turn.
    fn pass_string(&mut self) {
        // One entry for each string that is open: how many braces its template has open.
        let mut open = vec![0_usize];
        self.at += 1;
        while let Some(braces) = open.last_mut() {
            let rest = &self.text[self.at..];
            let Some(&first) = rest.first() else { return };
            let in_template = *braces > 0;
            let mut width = 1;
            match first {
                b'"' if in_template => open.push(0),
                b'"' => {
                    open.pop();
                }
                b'{' if in_template => *braces += 1,
                b'}' if in_template => *braces -= 1,
                b'\\' if !in_template => width = 2,
                b'$' | b'%' if !in_template && rest.get(1) == Some(&first) && rest.get(2) == Some(&b'{') => width = 3,
                b'$' | b'%' if !in_template && rest.get(1) == Some(&b'{') => {
                    *braces = 1;
                    width = 2;
                }
                b'\n' if !in_template => return,
                _ => {}
            }
            self.at = (self.at + width).min(self.text.len());
        }
    }

    /// Moves behind `<<MARK … MARK`.
    fn pass_heredoc(&mut self) {
        self.at += 2;
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let start = self.at;
        self.pass(b"\n");
        let mark = self.text[start..self.at].trim_ascii();
        if mark.is_empty() {
            return;
        }
        while self.at < self.text.len() {
            let line = self.at;
            self.pass(b"\n");
            if self.text[line..self.at].trim_ascii() == mark {
                return;
            }
        }
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}
