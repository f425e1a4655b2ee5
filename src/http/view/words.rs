//! Numbers and times as people read them.

use std::time::Duration;

use crate::domain::Timestamp;

/// A length of time: `12ms`, `0.4s`, `8s`, `1m 04s`, `2h 03m`, `3d 04h`.
pub fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 if (1..50).contains(&length.as_millis()) => format!("{}ms", length.as_millis()),
        0..10 if length.subsec_millis() >= 50 => format!("{:.1}s", length.as_secs_f64()),
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// How long ago, or how soon: `just now`, `12 min ago`, `in 3 h`, `yesterday`, `5 days ago`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        return match distance(at.since(now)) {
            None => "in a moment".to_owned(),
            Some(words) => format!("in {words}"),
        };
    }
    let past = now.since(at);
    match (past.as_secs() / 86_400, distance(past)) {
        (_, None) => "just now".to_owned(),
        (1, _) => "yesterday".to_owned(),
        (_, Some(words)) => format!("{words} ago"),
    }
}

/// `None` below ten seconds.
fn distance(span: Duration) -> Option<String> {
    let seconds = span.as_secs();
    let words = match seconds {
        0..10 => return None,
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        86_400..5_184_000 => count(seconds / 86_400, "day"),
        5_184_000..63_072_000 => count(seconds / 2_592_000, "month"),
        _ => count(seconds / 31_536_000, "year"),
    };
    Some(words)
}

/// A point in time with its date: `2026-02-03 14:05:09 UTC`.
pub fn absolute(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {} UTC", text.get(..10).unwrap_or_default(), text.get(11..19).unwrap_or_default())
}

/// A number and its noun: `1 resource`, `3 resources`.
pub fn count(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(n))
}

/// A number with narrow blanks between its thousands: `1 204`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A large number with three digits that count: `3.12 G`, `61 M`, `1 204`.
pub fn short_number(n: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    let Some((unit, word)) = UNITS.into_iter().find(|(unit, _)| n >= *unit && n >= 10_000) else { return number(n) };
    let (whole, hundredths) = (n / unit, n % unit * 100 / unit);
    match (whole, hundredths) {
        (_, 0) | (100.., _) => format!("{whole} {word}"),
        (10.., _) if hundredths / 10 == 0 => format!("{whole} {word}"),
        (10.., _) => format!("{whole}.{} {word}", hundredths / 10),
        _ => format!("{whole}.{hundredths:02} {word}"),
    }
}

/// A small number at the beginning of a sentence: `Two`, `Seven`, `14`.
pub fn capital_number(n: u64) -> String {
    const WORDS: [&str; 13] =
        ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"];
    usize::try_from(n).ok().and_then(|n| WORDS.get(n)).map_or_else(|| number(n), |word| (*word).to_owned())
}

/// Enough of an id for people to tell it from its neighbours: `run_01K…0042`.
pub fn short_id(id: &str) -> String {
    match (id.get(..7), id.len().checked_sub(4).and_then(|at| id.get(at..))) {
        (Some(head), Some(tail)) if id.len() > 14 => format!("{head}…{tail}"),
        _ => id.to_owned(),
    }
}

/// Up to two letters that stand for a name: `OL` for `ops-lead`.
pub fn initials(name: &str) -> String {
    name.split(|c: char| !c.is_alphanumeric())
        .filter_map(|part| part.chars().next())
        .take(2)
        .flat_map(char::to_uppercase)
        .collect()
}

/// At most `most` characters of a text's first line.
pub fn first_line(text: &str, most: usize) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    if line.chars().count() <= most && line.len() == text.trim().len() {
        return line.to_owned();
    }
    let short: String = line.chars().take(most).collect();
    format!("{}…", short.trim_end())
}

/// The pieces of a text, each with whether it stood between backticks. A backtick without its pair is text.
pub fn ticked(text: &str) -> Vec<(&str, bool)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('`') {
        let Some((code, after)) = after.split_once('`') else { break };
        pieces.extend([(before, false), (code, true)]);
        rest = after;
    }
    pieces.push((rest, false));
    pieces.retain(|(piece, _)| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short_and_keep_their_width() {
        let text = |millis| span(Duration::from_millis(millis));
        assert_eq!(text(0), "0s");
        assert_eq!(text(12), "12ms");
        assert_eq!(text(50), "0.1s");
        assert_eq!(text(412), "0.4s");
        assert_eq!(text(9_960), "10.0s");
        assert_eq!(text(31_200), "31s");
        assert_eq!(text(64_000), "1m 04s");
        assert_eq!(text(7_380_000), "2h 03m");
        assert_eq!(text(273_600_000), "3d 04h");
    }

    #[test]
    fn distances_are_told_from_now_in_both_directions() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let text = |seconds: i64| relative(Timestamp::from_millis(now.millis() - seconds * 1_000), now);
        assert_eq!(text(3), "just now");
        assert_eq!(text(12 * 60), "12 min ago");
        assert_eq!(text(2 * 3_600), "2 h ago");
        assert_eq!(text(30 * 3_600), "yesterday");
        assert_eq!(text(5 * 86_400), "5 days ago");
        assert_eq!(text(-3 * 3_600), "in 3 h");
        assert_eq!(absolute(now), "2023-11-14 22:13:20 UTC");
    }

    #[test]
    fn what_stands_between_backticks_is_code() {
        assert_eq!(ticked("`state`: is not"), [("state", true), (": is not", false)]);
        assert_eq!(ticked("use `a` or `b`"), [("use ", false), ("a", true), (" or ", false), ("b", true)]);
        assert_eq!(ticked("one ` alone"), [("one ` alone", false)]);
        assert!(ticked("").is_empty());
    }

    #[test]
    fn numbers_and_nouns_agree() {
        assert_eq!(count(1, "resource"), "1 resource");
        assert_eq!(count(1_204, "line"), "1\u{202f}204 lines");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(short_number(9_999), "9\u{202f}999");
        assert_eq!(short_number(3_120_044_912), "3.12 G");
        assert_eq!(short_number(10_000_000_000), "10 G");
        assert_eq!(short_number(61_230_000), "61.2 M");
        assert_eq!(short_number(214_900), "214 k");
        assert_eq!(capital_number(2), "Two");
        assert_eq!(initials("ops-lead"), "OL");
        assert_eq!(short_id("run_01K00000000000000000000042"), "run_01K…0042");
        assert_eq!(short_id("größe"), "größe");
        assert_eq!(first_line("one\ntwo", 80), "one…");
        assert_eq!(first_line("a long line", 6), "a long…");
    }
}
