//! What a run's guests may do, did and left; and the page of registered guests.

use askama::Template;

use super::{
    form::{Control, Field, Fields, form},
    frame::{Empty, Frame, Tab},
    status::{Mark, Moment},
    words,
};
use crate::domain::{
    Look,
    guest::{Caps, Denial, DenialKind, PatchSummary, Receipt},
    limits,
    verdict::bytes,
};

/// One line of what a guest was given: what kind of thing, which, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub name: String,
    pub value: String,
    pub code: bool,
    /// `read, write`, `3 requests`.
    pub note: String,
}

impl Given {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), code: false, note: String::new() }
    }

    pub fn code(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { code: true, ..Self::new(name, value) }
    }

    #[must_use]
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// How much of a cap was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub name: &'static str,
    /// `3.12 G`
    pub used: String,
    /// `10 G`
    pub of: String,
    /// Per cent.
    pub share: u64,
    /// All digits: `3 120 044 912 of 10 000 000 000`.
    pub exact: String,
}

impl Used {
    /// How it looks: fine, nearly used up, used up.
    pub const fn look(&self) -> Look {
        match self.share {
            0..90 => Look::Succeeded,
            90..100 => Look::NeedsYou,
            _ => Look::Failed,
        }
    }
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `path`, `write`, `host`, `cap`.
    pub kind: &'static str,
    pub tried: String,
    pub count: u64,
}

/// One guest of a run.
#[derive(Clone, Debug)]
pub struct GuestPart {
    /// `Performing`
    pub phase: &'static str,
    /// Its name, as long as it is registered under one.
    pub name: Option<String>,
    /// `sha256:9c41…e07b`, and all of it.
    pub digest: Option<(String, String)>,
    /// What it may do.
    pub may: Vec<Given>,
    /// How it ended, in words; none while it has not.
    pub verdict: Option<String>,
    pub good: bool,
    pub used: Vec<Used>,
    pub refusals: Vec<Refusal>,
    pub refusals_dropped: u64,
}

/// A file that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactLink {
    pub path: String,
    pub href: String,
    pub size: String,
    pub digest: String,
}

/// One line of a patch, with what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchLine {
    /// `file`, `hunk`, `add`, `delete`, `same`.
    pub kind: &'static str,
    pub text: String,
}

/// What a guest changed in its workspace.
#[derive(Clone, Debug)]
pub struct PatchView {
    /// `1 file added, 2 changed`
    pub sentence: String,
    pub lines: Vec<PatchLine>,
    /// Lines that only the whole patch has.
    pub hidden: usize,
    pub href: String,
    /// Why nobody can propose it, where somebody might wish to.
    pub no_propose: Option<String>,
    pub expired: bool,
}

/// The tab *Guest*.
#[derive(Clone, Debug)]
pub struct GuestView {
    pub rev: u64,
    pub parts: Vec<GuestPart>,
    pub artifacts: Vec<ArtifactLink>,
    pub expired: bool,
    pub patch: Option<PatchView>,
}

/// Lines of a patch that the page shows.
const PATCH_LINES: usize = 600;

/// Characters of a line of a patch that the page shows.
const PATCH_CHARS: usize = 4_000;

/// Each line of a unified diff, as far as a page shows it; and how many are left.
///
/// Whoever made the patch is not trusted: a changed line is shown whatever it looks like, a line that is
/// cut says so, and what would hide or turn text is shown as a number.
pub fn patch_lines(text: &str) -> (Vec<PatchLine>, usize) {
    let mut lines = Vec::new();
    let mut all = text.lines();
    // Lines of the hunk that are to come, on the old and the new side.
    let mut left = (0_usize, 0_usize);
    for line in all.by_ref().take(PATCH_LINES) {
        let kind = if left == (0, 0) {
            match line.as_bytes() {
                [b'd', b'i', b'f', b'f', ..] => "file",
                [b'@', ..] => {
                    left = hunk(line);
                    "hunk"
                }
                [b'+', b'+', b'+', b' ', ..] | [b'-', b'-', b'-', b' ', ..] => continue,
                _ => "same",
            }
        } else {
            match line.as_bytes() {
                [b'+', ..] => {
                    left.1 = left.1.saturating_sub(1);
                    "add"
                }
                [b'-', ..] => {
                    left.0 = left.0.saturating_sub(1);
                    "delete"
                }
                [b'\\', ..] => "same",
                _ => {
                    left = (left.0.saturating_sub(1), left.1.saturating_sub(1));
                    "same"
                }
            }
        };
        lines.push(PatchLine { kind, text: visible(line) });
    }
    (lines, all.count())
}

/// `@@ -1,4 +1,5 @@`: how many lines of each side follow.
fn hunk(line: &str) -> (usize, usize) {
    let mut sides = line.split(' ').skip(1).take(2).map(|side| match side.split_once(',') {
        Some((_, count)) => count.parse().unwrap_or(0),
        None => 1,
    });
    (sides.next().unwrap_or(0), sides.next().unwrap_or(0))
}

/// A line as nobody can misread it.
fn visible(line: &str) -> String {
    let hides = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::new();
    for c in line.chars().take(PATCH_CHARS) {
        match hides(c) {
            true => shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
            false => shown.push(c),
        }
    }
    match line.chars().count().saturating_sub(PATCH_CHARS) {
        0 => shown,
        more => format!("{shown} … {} more characters", words::number(more as u64)),
    }
}

/// `1 file added, 2 changed, 1 deleted`
pub fn patch_sentence(patch: PatchSummary) -> String {
    let parts = [(patch.added, "added"), (patch.changed, "changed"), (patch.deleted, "deleted")];
    let parts = parts.into_iter().filter(|(n, _)| *n > 0);
    let parts: Vec<_> = parts.map(|(n, verb)| format!("{} {verb}", words::count(u64::from(n), "file"))).collect();
    let unshown = match patch.unshown {
        0 => String::new(),
        n => format!("; {n} of them binary or too large, and only named"),
    };
    format!("{}{unshown}", parts.join(", "))
}

/// What a guest used, beside what it might have.
pub fn used(receipt: &Receipt) -> Vec<Used> {
    let caps = receipt.caps;
    let one = |name, used: u64, of: u64, show: fn(u64) -> String| Used {
        name,
        used: show(used),
        of: show(of),
        share: (u128::from(used) * 100 / u128::from(of.max(1))).min(100) as u64,
        exact: format!("{} of {}", words::number(used), words::number(of)),
    };
    let seconds = |ms: u64| match ms % 1_000 / 10 {
        _ if (1..10).contains(&ms) => format!("{ms} ms"),
        0 if ms > 0 => format!("{} s", words::number(ms / 1_000)),
        part => format!("{}.{part:02} s", words::number(ms / 1_000)),
    };
    let mut rows = Vec::new();
    rows.extend(receipt.fuel_used.map(|fuel| one("Fuel", fuel, caps.fuel, words::short_number)));
    rows.extend(receipt.peak_memory_bytes.map(|peak| one("Memory", peak, caps.memory_bytes, bytes)));
    rows.push(one("Wall time", receipt.wall_ms, caps.wall_seconds.saturating_mul(1_000), seconds));
    rows.push(one("Output", receipt.output_bytes, caps.output_bytes, bytes));
    rows
}

/// The caps as a list, before anything was used.
pub fn caps(caps: Caps) -> Vec<Given> {
    vec![
        Given::new("Fuel", words::number(caps.fuel)),
        Given::new("Memory", bytes(caps.memory_bytes)),
        Given::new("Wall time", format!("{} s", words::number(caps.wall_seconds))),
        Given::new("Output", bytes(caps.output_bytes)),
        Given::new("Files", format!("{} in {}", bytes(caps.files_bytes), words::count(caps.files, "file"))),
    ]
}

/// What it wrote, beside what it may write.
pub fn files(receipt: &Receipt) -> Given {
    let caps = receipt.caps;
    let most = format!("at most {} in {}", bytes(caps.files_bytes), words::count(caps.files, "file"));
    Given::new("Files", most).noted(format!("{} written", words::number(receipt.files_written)))
}

pub fn refusal(denial: &Denial) -> Refusal {
    let kind = match denial.kind {
        DenialKind::Path => "path",
        DenialKind::Write => "write",
        DenialKind::Http => "host",
        DenialKind::Cap => "cap",
    };
    Refusal { kind, tried: denial.tried.clone(), count: denial.count }
}

/// A registered guest.
#[derive(Clone, Debug)]
pub struct GuestRow {
    pub name: String,
    /// `core module`, `component`
    pub kind: &'static str,
    pub size: String,
    pub digest: (String, String),
    /// What it does, for one that came with Airlock.
    pub about: Option<&'static str>,
    pub interpreter: bool,
    /// Slugs of stacks that name it.
    pub stacks: Vec<String>,
    pub imported: Option<(Moment, Mark)>,
}

form!(
    /// Posts `do=import` with the file as `guest`.
    GuestForm {
        name,
        guest,
        interpreter,
    }
);

impl GuestForm {
    pub fn new() -> Self {
        let most = format!(
            "A core module (WASI preview 1) or a component (preview 2) of at most {}. It is compiled before it is kept.",
            bytes(limits::GUEST_IMPORT_BYTES)
        );
        Self {
            name: Field::code("name", "Name").required().placeholder("python").hint("What stacks and tasks call it."),
            guest: Field::new("guest", "File", Control::File { accept: ".wasm,application/wasm" })
                .required()
                .hint(&most),
            interpreter: Field::toggle("interpreter", "It interprets scripts")
                .hint("An instruction of a script costs many of the guest's: it gets fifty times the fuel."),
        }
    }
}

impl Default for GuestForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/admin/guests`. Posts `do=import` (multipart) or `do=remove`, `guest`.
#[derive(Clone, Debug, Template)]
#[template(path = "guests.html")]
pub struct GuestsPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub guests: Vec<GuestRow>,
    pub form: GuestForm,
    pub problems: Vec<String>,
    /// Shown where nobody has imported one yet.
    pub empty: Option<Empty>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(patch: &str) -> Vec<String> {
        patch_lines(patch).0.into_iter().map(|line| format!("{}: {}", line.kind, line.text)).collect()
    }

    #[test]
    fn a_changed_line_is_shown_whatever_it_looks_like() {
        let patch = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- a comment\n same\n+++ surprise()\n\
                     diff --git a/y b/y\nnew file mode 100644\n--- /dev/null\n+++ b/y\n@@ -0,0 +1 @@\n+@@ diff\n\
                     \\ No newline at end of file\n";
        assert_eq!(
            shown(patch),
            [
                "file: diff --git a/x b/x",
                "hunk: @@ -1,2 +1,2 @@",
                "delete: --- a comment",
                "same:  same",
                "add: +++ surprise()",
                "file: diff --git a/y b/y",
                "same: new file mode 100644",
                "hunk: @@ -0,0 +1 @@",
                "add: +@@ diff",
                "same: \\ No newline at end of file",
            ]
        );
    }

    #[test]
    fn what_hides_text_is_seen_and_a_cut_is_said() {
        let patch = format!("@@ -0,0 +1,2 @@\n+a\u{202e}b\x1b[2Jc\r\n+{}\n", "x".repeat(PATCH_CHARS));
        let lines = shown(&patch);
        assert_eq!(lines[1], "add: +a⟨U+202E⟩b⟨U+001B⟩[2Jc");
        assert!(lines[2].ends_with("x … 1 more characters"), "{}", lines[2]);
    }
}
