//! Coming in and staying in: set-up, sign-in, invitation, the own account, signing in again.

use askama::Template;

use super::{
    form::{Field, Fields, form},
    frame::{Frame, Theme},
    status::Moment,
};
use crate::domain::limits::PASSWORD_MIN_CHARS;

fn new_password(label: &'static str) -> Field {
    Field::password("password", label, "new-password")
        .hint(format!("At least {PASSWORD_MIN_CHARS} characters. A few words are better than signs."))
        .required()
}

form!(
    /// A name and a password to come.
    NewUserForm {
        username,
        password,
        repeat,
    }
);

impl NewUserForm {
    pub fn new() -> Self {
        Self {
            username: Field::text("username", "User name")
                .hint("Letters, digits and - _ . @ +")
                .autocomplete("username")
                .required()
                .autofocus(),
            password: new_password("Password"),
            repeat: Field::password("repeat", "Password again", "new-password").required(),
        }
    }
}

impl Default for NewUserForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/setup?token=…`: the first administrator.
#[derive(Clone, Debug, Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    pub frame: Frame,
    /// Of the one-time link; sent along.
    pub token: String,
    pub form: NewUserForm,
    /// The link is used or wrong: no form, and where the right one is.
    pub refused: Option<String>,
    pub problems: Vec<String>,
}

/// `/invitation?token=…`: a further person chooses a password.
#[derive(Clone, Debug, Template)]
#[template(path = "invitation.html")]
pub struct InvitationPage {
    pub frame: Frame,
    pub token: String,
    /// The name is given.
    pub username: String,
    pub invited_by: String,
    pub expires: Option<Moment>,
    pub form: NewUserForm,
    pub refused: Option<String>,
    pub problems: Vec<String>,
}

form!(
    /// Posts name and password.
    SignInForm {
        username,
        password,
    }
);

impl SignInForm {
    pub fn new() -> Self {
        Self {
            username: Field::text("username", "User name").autocomplete("username").required().autofocus(),
            password: Field::password("password", "Password", "current-password").required(),
        }
    }
}

impl Default for SignInForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/sign-in?next=…`.
#[derive(Clone, Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    pub frame: Frame,
    /// Where to go then: a path of ours.
    pub next: String,
    pub form: SignInForm,
    /// Wrong name or password, slowed down: one sentence.
    pub refused: Option<String>,
}

/// `/sign-in/again?next=…`: something dangerous asks for a recent sign-in.
#[derive(Clone, Debug, Template)]
#[template(path = "reauthenticate.html")]
pub struct ReauthenticatePage {
    pub frame: Frame,
    /// `delete the stack shop`
    pub purpose: String,
    pub username: String,
    pub next: String,
    pub password: Field,
    pub refused: Option<String>,
}

impl ReauthenticatePage {
    pub fn password_field() -> Field {
        Field::password("password", "Password", "current-password").required().autofocus()
    }
}

/// A sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub id: String,
    /// `Firefox on Linux`, `airlock command line`.
    pub client: String,
    pub address: String,
    pub signed_in: Moment,
    pub last_used: Moment,
    pub this: bool,
}

form!(
    /// Posts `do=password`.
    PasswordForm {
        current,
        password,
        repeat,
    }
);

impl PasswordForm {
    pub fn new() -> Self {
        Self {
            current: Field::password("current", "Present password", "current-password").required(),
            password: new_password("New password"),
            repeat: Field::password("repeat", "New password again", "new-password").required(),
        }
    }
}

impl Default for PasswordForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/account`. Posts `do=password|theme|shortcuts|revoke|revoke_others|sign_out`, `session`, `theme`,
/// `shortcuts`.
#[derive(Clone, Debug, Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    pub frame: Frame,
    pub name: String,
    /// `administrator`, or `member: writer on shop, reader on 3 stacks`.
    pub role: String,
    pub sessions: Vec<SessionRow>,
    pub password: PasswordForm,
    pub problems: Vec<String>,
}

impl AccountPage {
    /// Every theme with its words and whether it is the present one.
    pub fn themes(&self) -> [(Theme, &'static str, bool); 3] {
        [(Theme::System, "As the system"), (Theme::Light, "Light"), (Theme::Dark, "Dark")]
            .map(|(theme, words)| (theme, words, theme == self.frame.theme))
    }
}
