//! Cookies: the session's, the flash, theme and shortcuts.
//!
//! All of them are for the whole site, strict about other sites, and encrypted where the server is.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    domain::limits,
    http::{
        Web,
        extract::session_cookie,
        view::frame::{Flash, Theme, Tone},
    },
};

/// What just happened, for the next page.
pub const FLASH: &str = "airlock_flash";
/// Single-letter shortcuts: `off`, or not there.
pub const SHORTCUTS: &str = "airlock_shortcuts";
/// Bytes of a flash: a cookie has at most 4 KiB.
const FLASH_BYTES: usize = 3_500;
/// Seconds that a preference is kept.
const YEAR: u64 = 31_536_000;

/// Sets a cookie that scripts cannot read.
fn set(web: &Web, response: &mut Response, name: &str, value: &str, seconds: u64) {
    put(web, response, name, value, seconds, "; HttpOnly");
}

fn put(web: &Web, response: &mut Response, name: &str, value: &str, seconds: u64, more: &str) {
    let secure = if web.secure() { "; Secure" } else { "" };
    let line = format!("{name}={value}; Path=/; Max-Age={seconds}; SameSite=Lax{more}{secure}");
    if let Ok(line) = HeaderValue::from_str(&line) {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
}

/// Begins a session.
pub fn sign_in(web: &Web, response: &mut Response, token: &str) {
    set(web, response, session_cookie(web), token, limits::SESSION_AGE.as_secs());
}

/// Forgets the session.
pub fn sign_out(web: &Web, response: &mut Response) {
    set(web, response, session_cookie(web), "", 0);
}

/// Keeps a theme. The script that switches at once reads it, too.
pub fn theme(web: &Web, response: &mut Response, theme: Theme) {
    put(web, response, Theme::COOKIE, theme.word(), YEAR, "");
}

pub fn shortcuts(web: &Web, response: &mut Response, on: bool) {
    set(web, response, SHORTCUTS, if on { "" } else { "off" }, if on { 0 } else { YEAR });
}

/// What a flash carries to the next page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    #[serde(default)]
    bad: bool,
    #[serde(default)]
    text: String,
    #[serde(default)]
    link: Option<(String, String)>,
    /// What a bulk action did to each object: name, words, whether it went well.
    #[serde(default)]
    pub outcomes: Vec<(String, String, bool)>,
}

impl Carried {
    pub fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    #[must_use]
    pub fn link(mut self, word: impl Into<String>, href: impl Into<String>) -> Self {
        self.link = Some((word.into(), href.into()));
        self
    }

    pub fn outcomes(outcomes: Vec<(String, String, bool)>) -> Self {
        Self { outcomes, ..Self::default() }
    }

    /// What stands at the top of the page, if anything does.
    pub fn flash(&self) -> Option<Flash> {
        let tone = if self.bad { Tone::Bad } else { Tone::Good };
        let link = self.link.clone().filter(|(_, href)| super::doors::is_ours(href));
        (!self.text.is_empty()).then(|| Flash { tone, text: self.text.clone(), link })
    }

    pub fn read(cookie: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        serde_json::from_slice(&json).ok()
    }

    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Gives it to the next page. A list of outcomes that is too long loses its end, and says so.
    pub fn carry(mut self, web: &Web, response: &mut Response) {
        let all = self.outcomes.len();
        let mut text = self.write();
        while text.len() > FLASH_BYTES && !self.outcomes.is_empty() {
            self.outcomes.pop();
            self.text = format!("{} of {all} are shown; the audit log has all of them.", self.outcomes.len());
            text = self.write();
        }
        if text.len() <= FLASH_BYTES {
            set(web, response, FLASH, &text, 60);
        }
    }
}

/// It was shown.
pub fn forget_flash(web: &Web, response: &mut Response) {
    set(web, response, FLASH, "", 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flash_reads_back_what_was_written_and_leads_nowhere_else() {
        let carried = Carried::good("Run #12 was confirmed.").link("Queue", "/queue");
        let read = Carried::read(&carried.write()).unwrap();
        assert_eq!(read.flash().unwrap().link, Some(("Queue".into(), "/queue".into())));
        let elsewhere = Carried::good("x").link("Go", "//evil.example");
        assert_eq!(elsewhere.flash().unwrap().link, None);
        assert_eq!(Carried::read("no json"), None);
    }
}
