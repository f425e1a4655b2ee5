//! Declared tasks with what they may do, and the services that they are connected to.

use askama::Template;

use super::{
    form::{Field, Fields as _, form},
    frame::{Empty, Frame, Tab},
    status::Moment,
};

/// One declared task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredRow {
    /// Slug and name of its stack.
    pub stack: (String, String),
    pub name: String,
    /// `native`, `wasi:python`.
    pub kind: String,
    pub command: String,
    /// `1 h`, `64 MiB of memory`, `db.internal:5432`: its bounds and what it may reach.
    pub caps: Vec<String>,
    pub may_run: bool,
    /// Variables that were sent and refused, and why: its form is open then.
    pub refused: Option<(String, String)>,
}

impl DeclaredRow {
    /// The id of its field for variables.
    pub(super) fn field(&self) -> String {
        format!("variables-{}-{}", self.stack.0, self.name)
    }
}

/// The declared tasks of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredList {
    pub rows: Vec<DeclaredRow>,
    /// Show which stack each is of.
    pub names_stacks: bool,
    /// What is wrong with sources whose files cannot be understood.
    pub mistakes: Vec<String>,
}

impl DeclaredList {
    /// Keeps what was sent for a task, with what is wrong with it; false if there is no such task.
    pub fn keep(&mut self, stack: &str, task: &str, variables: &str, why: String) -> bool {
        let row = self.rows.iter_mut().find(|row| row.may_run && row.stack.0 == stack && row.name == task);
        row.map(|row| row.refused = Some((variables.to_owned(), why))).is_some()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.mistakes.is_empty()
    }
}

/// A registered service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    pub name: String,
    pub scheme: String,
    /// `db.internal:5432`
    pub address: String,
    /// `as app, with a password`
    pub detail: String,
    pub updated: Moment,
}

form!(
    /// Posts `do=put`.
    ServiceForm {
        name,
        scheme,
        host,
        port,
        path,
        username,
        password,
    }
);

impl ServiceForm {
    pub fn new() -> Self {
        Self {
            name: Field::text("name", "Name").placeholder("maindb").required(),
            scheme: Field::code("scheme", "Scheme").placeholder("postgresql").required(),
            host: Field::code("host", "Host").placeholder("db.internal").required(),
            port: Field::code("port", "Port").placeholder("5432").required(),
            path: Field::code("path", "Path").hint("The database's name, or the path of an address."),
            username: Field::code("username", "User name"),
            password: Field::password("password", "Password", "off")
                .hint("Stored encrypted, never shown again. Empty keeps the stored one."),
        }
    }
}

impl Default for ServiceForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/admin/services`. Posts `do=put|delete`, `service`.
#[derive(Clone, Debug, Template)]
#[template(path = "services.html")]
pub struct ServicesPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub services: Vec<ServiceRow>,
    pub form: ServiceForm,
    pub problems: Vec<String>,
    pub empty: Empty,
}
