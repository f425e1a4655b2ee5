//! What all shapes share: links, times, names in paths.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::domain::Timestamp;

/// Characters of a name that stand for themselves in a path.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A name as a segment of a path.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

pub fn project_path(project: &str) -> String {
    format!("/projects/{}", segment(project))
}

pub fn environment_path(project: &str, environment: &str) -> String {
    format!("{}/environments/{}", project_path(project), segment(environment))
}

/// `{"name": {"href": …}}`
pub fn links<const N: usize>(links: [(&str, String); N]) -> Value {
    Value::Object(links.map(|(name, href)| (name.to_owned(), json!({"href": href}))).into_iter().collect::<Map<_, _>>())
}

/// `2026-01-01T00:00:00.000000+00:00`
pub fn time(at: Timestamp) -> String {
    let text = at.to_string();
    let fraction = if text.contains('.') { "000" } else { ".000000" };
    format!("{}{fraction}+00:00", text.trim_end_matches('Z'))
}

/// Text for the HTML in descriptions.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits_and_names_are_one_segment() {
        assert_eq!(time(Timestamp::from_millis(1_767_225_600_000)), "2026-01-01T00:00:00.000000+00:00");
        assert_eq!(time(Timestamp::from_millis(1_767_225_600_120)), "2026-01-01T00:00:00.120000+00:00");
        assert_eq!(environment_path("shop", "feature/x"), "/projects/shop/environments/feature%2Fx");
    }
}
