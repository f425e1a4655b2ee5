//! surveyor: walks through a directory and writes what it found.
//!
//!     surveyor [--title TEXT] [DIRECTORY]
//!
//! DIRECTORY is the workspace's project root when it is left out. Writes `/output/report.json` and
//! `/output/report.html`, and prints a summary. Needs nothing but to read the workspace.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process,
};

/// Files that are looked at in full; larger ones are only measured.
const READ_BYTES: u64 = 4 << 20;
/// Files in the list of the largest.
const LARGEST: usize = 20;
/// Marks that people leave for later.
const MARKS: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];
const OUTPUT: &str = "/output";

#[derive(Default)]
struct Kind {
    files: u64,
    bytes: u64,
    lines: u64,
}

#[derive(Default)]
struct Survey {
    files: u64,
    directories: u64,
    links: u64,
    bytes: u64,
    lines: u64,
    unread: u64,
    kinds: BTreeMap<String, Kind>,
    largest: Vec<(u64, String)>,
    marks: Vec<(String, usize, String)>,
}

fn main() {
    let (title, root) = match arguments() {
        Ok(found) => found,
        Err(why) => fail(64, &why),
    };
    let mut survey = Survey::default();
    if let Err(error) = survey.directory(&root, &root) {
        fail(1, &format!("{}: {}", root.display(), error));
    }
    survey.largest.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    survey.largest.truncate(LARGEST);
    let written = fs::write(Path::new(OUTPUT).join("report.json"), survey.json(&title))
        .and_then(|()| fs::write(Path::new(OUTPUT).join("report.html"), survey.html(&title)));
    if let Err(error) = written {
        fail(1, &format!("the report cannot be written: {}", error));
    }
    println!("{}: {} files in {} directories, {} bytes", title, survey.files, survey.directories, survey.bytes);
    for (name, kind) in &survey.kinds {
        println!("{:>8} files {:>10} lines  {}", kind.files, kind.lines, name);
    }
    println!("{} marks for later; report.json and report.html say where", survey.marks.len());
}

fn arguments() -> Result<(String, PathBuf), String> {
    let workspace = env::var("AIRLOCK_WORKSPACE").unwrap_or_else(|_| "/workspace".to_owned());
    let project = env::var("AIRLOCK_PROJECT_ROOT").unwrap_or_default();
    let (mut title, mut root) = ("Survey".to_owned(), None);
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--title" => title = args.next().ok_or("--title needs a text")?,
            option if option.starts_with('-') => return Err(format!("unknown option {}", option)),
            path if root.is_none() => root = Some(Path::new(&workspace).join(path)),
            more => return Err(format!("one directory is enough: {}", more)),
        }
    }
    Ok((title, root.unwrap_or_else(|| Path::new(&workspace).join(project))))
}

fn fail(code: i32, why: &str) -> ! {
    eprintln!("surveyor: {}", why);
    process::exit(code)
}

impl Survey {
    fn directory(&mut self, root: &Path, at: &Path) -> io::Result<()> {
        self.directories += 1;
        let mut entries = fs::read_dir(at)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (kind, path) = (entry.file_type()?, entry.path());
            if kind.is_symlink() {
                self.links += 1;
            } else if kind.is_dir() {
                if entry.file_name() != ".git" {
                    self.directory(root, &path)?;
                }
            } else if let Err(error) = self.file(root, &path) {
                eprintln!("surveyor: {}: {}", path.display(), error);
                self.unread += 1;
            }
        }
        Ok(())
    }

    fn file(&mut self, root: &Path, path: &Path) -> io::Result<()> {
        let size = fs::metadata(path)?.len();
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let extension = path.extension().map_or("(none)".to_owned(), |text| text.to_string_lossy().to_lowercase());
        let lines = if size <= READ_BYTES { self.lines_of(path, &name)? } else { 0 };
        self.files += 1;
        self.bytes += size;
        self.lines += lines;
        let kind = self.kinds.entry(extension).or_default();
        kind.files += 1;
        kind.bytes += size;
        kind.lines += lines;
        self.largest.push((size, name));
        Ok(())
    }

    /// Counts lines of text, and notes what was left for later.
    fn lines_of(&mut self, path: &Path, name: &str) -> io::Result<u64> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(READ_BYTES).read_to_end(&mut bytes)?;
        let text = match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text,
            _ => return Ok(0),
        };
        for (number, line) in text.lines().enumerate() {
            if MARKS.iter().any(|mark| line.contains(mark)) && self.marks.len() < 1_000 {
                self.marks.push((name.to_owned(), number + 1, line.trim().chars().take(200).collect()));
            }
        }
        Ok(text.lines().count() as u64)
    }

    fn json(&self, title: &str) -> String {
        let kinds = self.kinds.iter().map(|(name, kind)| {
            format!("    {}: {{\"files\": {}, \"bytes\": {}, \"lines\": {}}}", quoted(name), kind.files, kind.bytes, kind.lines)
        });
        let largest = self.largest.iter().map(|(size, name)| format!("    {{\"path\": {}, \"bytes\": {}}}", quoted(name), size));
        let marks = self.marks.iter().map(|(name, line, text)| {
            format!("    {{\"path\": {}, \"line\": {}, \"text\": {}}}", quoted(name), line, quoted(text))
        });
        format!(
            "{{\n  \"title\": {},\n  \"files\": {},\n  \"directories\": {},\n  \"links\": {},\n  \"bytes\": {},\n  \
             \"lines\": {},\n  \"unread\": {},\n  \"kinds\": {{\n{}\n  }},\n  \"largest\": [\n{}\n  ],\n  \"marks\": [\n{}\n  ]\n}}\n",
            quoted(title), self.files, self.directories, self.links, self.bytes, self.lines, self.unread,
            joined(kinds), joined(largest), joined(marks)
        )
    }

    fn html(&self, title: &str) -> String {
        let row = |cells: &[&str]| {
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            format!("<tr>{}</tr>\n", cells)
        };
        let kinds: String = self.kinds.iter()
            .map(|(name, kind)| row(&[name, &kind.files.to_string(), &kind.lines.to_string(), &kind.bytes.to_string()]))
            .collect();
        let largest: String = self.largest.iter().map(|(size, name)| row(&[name, &size.to_string()])).collect();
        let marks: String = self.marks.iter()
            .map(|(name, line, text)| row(&[&format!("{}:{}", name, line), text]))
            .collect();
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title>\
             <style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
             table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}}\
             td+td{{font-variant-numeric:tabular-nums}}</style>\n<h1>{0}</h1>\n\
             <p>{1} files in {2} directories, {3} lines, {4} bytes.</p>\n\
             <h2>Kinds of files</h2><table><tr><th>Kind<th>Files<th>Lines<th>Bytes</tr>\n{5}</table>\n\
             <h2>Largest files</h2><table><tr><th>File<th>Bytes</tr>\n{6}</table>\n\
             <h2>Left for later</h2><table><tr><th>Place<th>Line</tr>\n{7}</table></html>\n",
            escaped(title), self.files, self.directories, self.lines, self.bytes, kinds, largest, marks
        )
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",\n")
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
