//! guard: judges a plan, as a run task.
//!
//!     guard [--forbid ACTION,…] [--protect PREFIX]… [--most N]
//!
//! Reads the plan as JSON from standard input, or from `/plan.json` where standard input holds none:
//! a list of changes, Airlock's `{"resources": […]}`, or Terraform's `{"resource_changes": […]}`.
//! What is below a protected prefix of addresses may not be deleted or replaced, nor be touched by a
//! forbidden action anywhere; without options, `delete` and `replace` are forbidden.
//!
//! Prints its verdict as one line of JSON, then the message as the last line; writes
//! `/output/outcomes.json`. Exit code 0: passed; 1: failed; 2: the plan cannot be read.

use std::{
    env, fs,
    io::{self, Read},
    process,
};

/// A run task's answer holds no more.
const OUTCOMES: usize = 250;

struct Rules {
    forbid: Vec<String>,
    protect: Vec<String>,
    most: Option<usize>,
}

struct Change {
    address: String,
    action: String,
}

fn main() {
    let rules = rules().unwrap_or_else(|why| fail(64, &why));
    let plan = plan().unwrap_or_else(|why| fail(2, &why));
    let changes = changes(&plan).unwrap_or_else(|| fail(2, "the plan is none of the known shapes"));
    let found = judge(&rules, &changes);
    let passed = found.is_empty();
    let message = if passed {
        format!("{} changes, none of them forbidden", changes.len())
    } else {
        format!("{} of {} changes are not allowed: {}", found.len(), changes.len(), found[0].1)
    };
    let outcomes: Vec<String> = found
        .iter()
        .take(OUTCOMES)
        .enumerate()
        .map(|(n, (address, why))| {
            format!(
                "{{\"type\":\"task-result-outcomes\",\"attributes\":{{\"outcome-id\":\"GUARD-{}\",\"description\":{},\"body\":{}}}}}",
                n + 1, quoted(why), quoted(address)
            )
        })
        .collect();
    // Without the grant to write there is nobody to read them either.
    let _ = fs::write("/output/outcomes.json", format!("[{}]\n", outcomes.join(",")));
    let violations: Vec<String> = found.iter().map(|(_, why)| quoted(why)).collect();
    println!(
        "{{\"passed\":{},\"changes\":{},\"message\":{},\"violations\":[{}]}}",
        passed, changes.len(), quoted(&message), violations.join(",")
    );
    println!("{}", message);
    process::exit(if passed { 0 } else { 1 })
}

fn fail(code: i32, why: &str) -> ! {
    println!("{}", why);
    process::exit(code)
}

fn rules() -> Result<Rules, String> {
    let mut rules = Rules { forbid: Vec::new(), protect: Vec::new(), most: None };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or(format!("{} needs a value", arg))?;
        match arg.as_str() {
            "--forbid" => rules.forbid.extend(value.split(',').map(str::to_owned)),
            "--protect" => rules.protect.push(value),
            "--most" => rules.most = Some(value.parse().map_err(|_| format!("{} is no number", value))?),
            _ => return Err(format!("unknown option {}", arg)),
        }
    }
    if rules.forbid.is_empty() && rules.protect.is_empty() && rules.most.is_none() {
        rules.forbid = vec!["delete".to_owned(), "replace".to_owned()];
    }
    Ok(rules)
}

fn plan() -> Result<Json, String> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input: {}", error))?;
    let given = if text.trim().is_empty() { None } else { Some(parse(&text)?) };
    match given {
        Some(json) if changes(&json).is_some() => Ok(json),
        _ => {
            let text = fs::read_to_string("/plan.json").map_err(|error| format!("there is no plan: {}", error))?;
            parse(&text)
        }
    }
}

/// The changes of any of the known shapes.
fn changes(plan: &Json) -> Option<Vec<Change>> {
    let (list, nested) = match plan {
        Json::List(list) => (list.as_slice(), false),
        _ => match (plan.list("resources"), plan.list("resource_changes")) {
            (Some(list), _) => (list, false),
            (None, Some(list)) => (list, true),
            (None, None) => return None,
        },
    };
    let mut changes = Vec::new();
    for item in list {
        let address = item.text("address")?.to_owned();
        let action = if nested { terraform(item.get("change")?.list("actions")?) } else { item.text("action")?.to_owned() };
        if action != "no-op" && action != "read" {
            changes.push(Change { address, action });
        }
    }
    Some(changes)
}

/// Terraform says `["delete", "create"]` for a replacement.
fn terraform(actions: &[Json]) -> String {
    match actions {
        [Json::Text(one)] => one.clone(),
        [_, _] => "replace".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn judge(rules: &Rules, changes: &[Change]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for change in changes {
        let destroys = change.action == "delete" || change.action == "replace";
        if rules.forbid.contains(&change.action) {
            found.push((change.address.clone(), format!("{}: {} is forbidden", change.address, change.action)));
        } else if destroys && rules.protect.iter().any(|prefix| change.address.starts_with(prefix.as_str())) {
            found.push((change.address.clone(), format!("{}: it is protected from {}", change.address, change.action)));
        }
    }
    if let Some(most) = rules.most.filter(|most| changes.len() > *most) {
        found.push((String::new(), format!("{} changes at once; at most {} are allowed", changes.len(), most)));
    }
    found
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// JSON, as far as a plan needs it: numbers keep their text.
enum Json {
    Null,
    Bool,
    Number,
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    fn list(&self, name: &str) -> Option<&[Json]> {
        match self.get(name)? {
            Json::List(list) => Some(list),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

const DEPTH: usize = 200;

fn parse(text: &str) -> Result<Json, String> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    if reader.at < reader.bytes.len() { Err(reader.wrong("nothing more")) } else { Ok(value) }
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, wanted: &str) -> String {
        format!("the plan is not JSON: {} is expected at byte {}", wanted, self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().map_or(false, |byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, String> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.wrong("a value"))
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > DEPTH {
            return Err(format!("the plan is nested deeper than {}", DEPTH));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.text().map(Json::Text),
            Some(b't') => self.word("true", Json::Bool),
            Some(b'f') => self.word("false", Json::Bool),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => {
                while self.peek().map_or(false, |byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
                    self.at += 1;
                }
                Ok(Json::Number)
            }
            _ => Err(self.wrong("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut members = Vec::new();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a name"));
            }
            let name = self.text()?;
            if !self.take(b':') {
                return Err(self.wrong("`:`"));
            }
            members.push((name, self.value(depth + 1)?));
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.take(b',') {
                return Err(self.wrong("`,` or `}`"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Json::List(items));
            }
            if !self.take(b',') {
                return Err(self.wrong("`,` or `]`"));
            }
        }
    }

    fn text(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let byte = self.peek().ok_or_else(|| self.wrong("`\"`"))?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(bytes).map_err(|_| self.wrong("text")),
                b'\\' => self.escape(&mut bytes)?,
                byte => bytes.push(byte),
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let byte = self.peek().ok_or_else(|| self.wrong("an escape"))?;
        self.at += 1;
        let plain = match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let mut unit = self.unit()?;
                if (0xd800..0xdc00).contains(&unit) && self.bytes[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    unit = 0x10000 + ((unit - 0xd800) << 10) + (self.unit()?.wrapping_sub(0xdc00) & 0x3ff);
                }
                let c = char::from_u32(unit).unwrap_or('\u{fffd}');
                bytes.extend(c.to_string().bytes());
                return Ok(());
            }
            other => other,
        };
        bytes.push(plain);
        Ok(())
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or_else(|| self.wrong("four digits"))?;
        let digits = std::str::from_utf8(digits).map_err(|_| self.wrong("four digits"))?;
        let unit = u32::from_str_radix(digits, 16).map_err(|_| self.wrong("four digits"))?;
        self.at += 4;
        Ok(unit)
    }
}
