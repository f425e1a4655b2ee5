//! What surrounds every page: navigation, breadcrumbs, flash, theme, the live hook.

use std::fmt;

use super::{live::LiveHook, status::Badge, words};
use crate::domain::{Look, Timestamp};

/// Where in the navigation a page belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Home,
    Stacks,
    Runs,
    Tasks,
    Queue,
    Audit,
    Admin,
    Account,
    /// Sign-in, errors, docs.
    Elsewhere,
}

/// One entry of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NavItem {
    pub place: Place,
    pub href: &'static str,
    pub word: &'static str,
    pub icon: &'static str,
}

const NAV: [NavItem; 7] = [
    NavItem { place: Place::Home, href: "/", word: "Home", icon: "home" },
    NavItem { place: Place::Stacks, href: "/stacks", word: "Stacks", icon: "stacks" },
    NavItem { place: Place::Runs, href: "/runs", word: "Runs", icon: "runs" },
    NavItem { place: Place::Tasks, href: "/tasks", word: "Tasks", icon: "tasks" },
    NavItem { place: Place::Queue, href: "/queue", word: "Queue", icon: "queue" },
    NavItem { place: Place::Audit, href: "/audit", word: "Audit", icon: "audit" },
    NavItem { place: Place::Admin, href: "/admin/users", word: "Admin", icon: "admin" },
];

/// A step on the way to the page. The last one is the page itself and has no link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crumb {
    pub word: String,
    pub href: Option<String>,
}

impl Crumb {
    pub fn link(word: impl Into<String>, href: impl Into<String>) -> Self {
        Self { word: word.into(), href: Some(href.into()) }
    }

    pub fn here(word: impl Into<String>) -> Self {
        Self { word: word.into(), href: None }
    }
}

/// What just happened, after a redirect. Names the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    pub tone: Tone,
    pub text: String,
    /// Where to look at it: word and address.
    pub link: Option<(String, String)>,
}

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Bad,
    Neutral,
}

impl Tone {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Neutral => "neutral",
        }
    }
}

/// The reader's theme, from the cookie [`Theme::COOKIE`]; rendered by the server, so nothing flashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    /// Set by `static/app.js` and by the account page.
    pub const COOKIE: &'static str = "airlock_theme";

    pub const fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Anything but a known word means the system's own.
    pub fn from_word(word: &str) -> Self {
        match word {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    pub name: String,
    /// Sees *Admin*.
    pub admin: bool,
}

impl Me {
    pub fn initials(&self) -> String {
        words::initials(&self.name)
    }
}

/// Everything around a page's content.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What the page is about, without the state: `run #12 · shop`.
    pub subject: String,
    /// The state of the object, in the title and the tab's icon.
    pub badge: Option<Badge>,
    pub place: Place,
    /// The page's own path, without the query: forms post to it.
    pub path: String,
    pub crumbs: Vec<Crumb>,
    pub theme: Theme,
    /// Nobody: sign-in, set-up, errors before signing in.
    pub me: Option<Me>,
    /// How many runs wait for this person.
    pub needs_you: u64,
    pub flash: Option<Flash>,
    /// Whether single-letter shortcuts are on.
    pub shortcuts: bool,
    /// When the page was made: the script measures the reader's clock by it.
    pub now: Timestamp,
    /// Where the page hears of changes.
    pub live: Option<LiveHook>,
    /// Made anew for every page, sent along by forms that create something: sending a form twice
    /// creates one thing.
    pub once: String,
}

impl Frame {
    /// A frame with only a subject, for someone who is not signed in.
    pub fn bare(subject: impl Into<String>, path: impl Into<String>, theme: Theme, now: Timestamp) -> Self {
        Self {
            subject: subject.into(),
            badge: None,
            place: Place::Elsewhere,
            path: path.into(),
            crumbs: Vec::new(),
            theme,
            me: None,
            needs_you: 0,
            flash: None,
            shortcuts: true,
            now,
            live: None,
            once: String::new(),
        }
    }

    /// The browser's title: begins with the state.
    pub fn title(&self) -> String {
        match &self.badge {
            Some(badge) => format!("{} {} · Airlock", Badge::sign(badge.look), self.subject),
            None => format!("{} · Airlock", self.subject),
        }
    }

    pub fn favicon(&self) -> &'static str {
        Badge::favicon(self.badge.as_ref().map(|badge| badge.look))
    }

    /// The icon that each look has, so that the script can change it.
    pub fn favicons(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        Look::ALL.into_iter().map(|look| (look.word(), Badge::favicon(Some(look))))
    }

    /// The entries of the navigation that this person has, with whether each is the present place.
    pub fn nav(&self) -> impl Iterator<Item = (NavItem, bool)> {
        let admin = self.me.as_ref().is_some_and(|me| me.admin);
        let here = self.place;
        NAV.into_iter()
            .filter(move |item| admin || item.place != Place::Admin)
            .map(move |item| (item, item.place == here))
    }
}

/// A link among the tabs of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab {
    pub word: String,
    pub href: String,
    pub count: Option<String>,
    pub here: bool,
}

impl Tab {
    pub fn new(word: impl Into<String>, href: impl Into<String>, here: bool) -> Self {
        Self { word: word.into(), href: href.into(), count: None, here }
    }

    #[must_use]
    pub fn counted(mut self, n: u64) -> Self {
        self.count = Some(words::number(n));
        self
    }
}

/// Links to the neighbouring pages of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pager {
    pub newest: Option<String>,
    pub older: Option<String>,
}

/// What to show where there is nothing: what will appear here, and the first step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Empty {
    pub title: String,
    pub text: String,
    /// Word and address.
    pub action: Option<(String, String)>,
}
