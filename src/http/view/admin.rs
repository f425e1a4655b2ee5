//! Audit, users, API keys, credentials.

use askama::Template;

use super::{
    account::SessionRow,
    form::{Choice, Control, Field, Fields, form},
    frame::{Empty, Frame, Pager, Tab},
    status::{Badge, Mark, Moment},
};
use crate::domain::{Look, Role};

form!(
    /// Filters of the audit log.
    AuditFilter {
        actor,
        verb,
        object,
        outcome,
        from,
        to,
    }
);

impl AuditFilter {
    pub fn new() -> Self {
        let outcomes =
            [("", "Any outcome"), ("done", "Done"), ("refused", "Refused")].map(|(v, l)| Choice::new(v, l)).to_vec();
        Self {
            actor: Field::text("actor", "Actor"),
            verb: Field::text("verb", "Verb").placeholder("run.confirm"),
            object: Field::text("object", "Object").placeholder("stack:shop"),
            outcome: Field::new("outcome", "Outcome", Control::Select(outcomes)),
            from: Field::new("from", "From", Control::Date),
            to: Field::new("to", "To", Control::Date),
        }
    }
}

impl Default for AuditFilter {
    fn default() -> Self {
        Self::new()
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    pub number: u64,
    pub at: Moment,
    pub actor: Mark,
    /// Where it came from.
    pub address: Option<String>,
    /// `run.confirm`
    pub verb: String,
    /// Word and address of what it was done to.
    pub object: (String, Option<String>),
    pub refused: bool,
    /// Further facts, one sentence.
    pub detail: String,
    /// First digits of the entry's hash.
    pub hash: String,
}

/// How a refusal looks.
pub fn refused_badge() -> Badge {
    Badge::new(Look::Failed, "Refused")
}

/// Whether the chain of hashes holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainState {
    /// Succeeded: `12 031 entries, verified 2 h ago`; failed: `entry 812 does not fit the one before`.
    pub badge: Badge,
    pub text: String,
    /// First digits of the head.
    pub head: String,
}

/// `/audit`.
#[derive(Clone, Debug, Template)]
#[template(path = "audit.html")]
pub struct AuditPage {
    pub frame: Frame,
    pub filter: AuditFilter,
    pub chain: ChainState,
    pub rows: Vec<AuditRow>,
    /// The same filters as JSON lines.
    pub export: String,
    pub pager: Pager,
    pub partial: bool,
    pub empty: Empty,
}

/// The tabs of the administration.
pub fn admin_tabs(here: &str) -> Vec<Tab> {
    [
        ("Users", "/admin/users"),
        ("API keys", "/admin/keys"),
        ("Contexts", "/admin/contexts"),
        ("Credentials", "/admin/credentials"),
        ("Guests", "/admin/guests"),
        ("Images", "/admin/images"),
        ("Services", "/admin/services"),
        ("Run tasks", "/admin/run-tasks"),
        ("Policies", "/admin/policies"),
        ("Webhooks", "/admin/webhooks"),
    ]
    .into_iter()
    .map(|(word, href)| Tab::new(word, href, word == here))
    .collect()
}

/// A role on each stack: sent as `role.<slug>` = `` | `reader` | `writer` | `admin`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleGrid {
    /// Slug, name, present role.
    pub rows: Vec<(String, String, Option<Role>)>,
}

impl RoleGrid {
    /// The menu of one stack: value, word, whether chosen.
    pub fn choices(present: Option<&Role>) -> Vec<(&'static str, &'static str, bool)> {
        let none = ("", "no access", present.is_none());
        let roles = Role::ALL.iter().map(|role| (role.word(), role.word(), present == Some(role)));
        std::iter::once(none).chain(roles).collect()
    }
}

/// Something that is shown once and never again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    pub title: String,
    pub text: String,
    pub value: String,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub name: String,
    /// This is you: no disabling.
    pub me: bool,
    pub admin: bool,
    /// Active, invited, disabled: as a badge.
    pub badge: Badge,
    /// `reader on 3 stacks, writer on shop`.
    pub roles: String,
    pub grid: RoleGrid,
    pub last_seen: Option<Moment>,
    pub disabled: bool,
    pub invited: bool,
    /// Where they are signed in; one's own are on the page *Account*.
    /// The newest.
    pub sessions: Vec<SessionRow>,
    /// How many there are, where that is more than one.
    pub all_sessions: Option<String>,
}

form!(
    /// Posts `do=invite`.
    InviteForm {
        name,
        admin,
    }
);

impl InviteForm {
    pub fn new() -> Self {
        Self {
            name: Field::text("name", "User name").hint("Letters, digits and - _ . @ +").required(),
            admin: Field::toggle("admin", "Administrator")
                .hint("May do everything, on every stack. Others get a role on each stack, here in the list."),
        }
    }
}

impl Default for InviteForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/admin/users`. Posts `do=invite|roles|disable|enable|revoke_invitation|invite_again`, `user`.
#[derive(Clone, Debug, Template)]
#[template(path = "users.html")]
pub struct UsersPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub users: Vec<UserRow>,
    pub invite: InviteForm,
    /// The link of a fresh invitation.
    pub once: Option<Once>,
    pub problems: Vec<String>,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub id: String,
    pub name: String,
    pub admin: bool,
    pub roles: String,
    pub created: Moment,
    pub by: Mark,
    pub expires: Option<Moment>,
    pub last_used: Option<Moment>,
    /// Active, expired, revoked.
    pub badge: Badge,
    pub revoked: bool,
}

form!(
    /// Posts `do=create`.
    KeyForm {
        name,
        admin,
        expires,
    }
);

impl KeyForm {
    pub fn new() -> Self {
        Self {
            name: Field::text("name", "Name").hint("What uses it.").placeholder("ci-deploy").required(),
            admin: Field::toggle("admin", "Administrator").hint("May do everything; leave it off and choose roles."),
            expires: Field::new("expires_at", "Expires", Control::Date).hint("Empty: never."),
        }
    }
}

impl Default for KeyForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/admin/keys`. Posts `do=create|revoke`, `key`.
#[derive(Clone, Debug, Template)]
#[template(path = "keys.html")]
pub struct KeysPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub keys: Vec<KeyRow>,
    pub form: KeyForm,
    pub grid: RoleGrid,
    pub once: Option<Once>,
    pub problems: Vec<String>,
    pub empty: Empty,
}

/// A stored credential for sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRow {
    pub name: String,
    /// `HTTPS token`, `SSH key`.
    pub kind: &'static str,
    /// `ops-bot`, or a key's fingerprint.
    pub detail: String,
    /// All stacks: slug, name, whether it may use it.
    pub stacks: Vec<(String, String, bool)>,
    pub created: Moment,
    pub by: Mark,
}

form!(
    /// Posts `do=create`; the stacks as repeated `stack`.
    CredentialForm {
        name,
        kind,
        username,
        token,
        private_key,
        known_hosts,
    }
);

impl CredentialForm {
    pub fn new() -> Self {
        let kinds = vec![
            Choice::new("https", "HTTPS").hint("User name and token"),
            Choice::new("ssh", "SSH").hint("Private key and known hosts"),
        ];
        Self {
            name: Field::text("name", "Name").placeholder("infra-read").required(),
            kind: Field::new("kind", "Kind", Control::Radio(kinds)).value("https"),
            username: Field::code("username", "User name"),
            token: Field::password("token", "Token", "off").hint("Stored encrypted, never shown again."),
            private_key: Field::code_area("private_key", "Private key", 4)
                .hint("In OpenSSH's format, without a passphrase. Stored encrypted, never shown again."),
            known_hosts: Field::code_area("known_hosts", "Known hosts", 2)
                .hint("Lines as ssh-keyscan prints them. A host that is not listed is refused."),
        }
    }
}

impl Default for CredentialForm {
    fn default() -> Self {
        Self::new()
    }
}

impl CredentialRow {
    /// `for shop, dns`.
    fn bound(&self) -> String {
        let names: Vec<_> = self.stacks.iter().filter(|stack| stack.2).map(|stack| stack.0.as_str()).collect();
        if names.is_empty() { "used by no stack".to_owned() } else { format!("for {}", names.join(", ")) }
    }
}

/// `/admin/credentials`. Posts `do=create|bind|delete`, `credential`, `stack` (repeated).
#[derive(Clone, Debug, Template)]
#[template(path = "credentials.html")]
pub struct CredentialsPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub credentials: Vec<CredentialRow>,
    pub form: CredentialForm,
    /// Slug, name, whether chosen.
    pub stacks: Vec<(String, String, bool)>,
    pub problems: Vec<String>,
    pub empty: Empty,
}
