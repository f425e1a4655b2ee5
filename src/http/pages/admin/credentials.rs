//! `/admin/credentials`: what opens the sources; stored encrypted, never shown.

use axum::extract::State;

use super::stacks;
use crate::{
    actions::{NewCredential, Secret},
    auth::{Permission, Permit},
    domain::{Refused, Slug, StackId},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            sent::{Form, Sent, Wrong},
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            CredentialsPage,
            admin::{CredentialForm, CredentialRow, admin_tabs},
            form::Fields as _,
            frame::{Empty, Place},
            status::Moment,
        },
    },
    queries::{CredentialKind, CredentialRow as Record, StackRow},
};

const PATH: &str = "/admin/credentials";

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.may_here(Permission::ManageCredentials).await?;
    visitor.page(&page(&web, &visitor, &[])?)
}

fn page(web: &Web, visitor: &Visitor, chosen: &[&str]) -> Result<CredentialsPage, Problem> {
    let rows = web.queries.credentials()?;
    let stacks = stacks(web, visitor)?;
    Ok(CredentialsPage {
        frame: visitor.frame(Place::Admin, "Credentials", super::crumbs("Credentials"))?,
        tabs: admin_tabs("Credentials"),
        credentials: rows.into_iter().map(|row| shown(web, row, &stacks)).collect(),
        form: CredentialForm::new(),
        stacks: choices(&stacks, |slug| chosen.contains(&slug)),
        problems: Vec::new(),
        empty: Empty {
            title: "No credentials yet".to_owned(),
            text: "Tokens and keys with which stacks fetch their sources will appear here, without their secrets."
                .to_owned(),
            action: None,
        },
    })
}

/// Every stack as a choice: slug, name, whether chosen.
fn choices(stacks: &[StackRow], chosen: impl Fn(&str) -> bool) -> Vec<(String, String, bool)> {
    let choice = |row: &StackRow| {
        let slug = row.stack.slug.as_str();
        (slug.to_owned(), row.stack.settings.name.to_string(), chosen(slug))
    };
    stacks.iter().map(choice).collect()
}

fn shown(web: &Web, row: Record, stacks: &[StackRow]) -> CredentialRow {
    let bound: Vec<&str> = row.stacks.iter().filter_map(|(_, slug)| slug.as_ref().map(Slug::as_str)).collect();
    let (kind, detail) = match row.kind {
        CredentialKind::Https => ("HTTPS token", row.user),
        CredentialKind::Ssh => {
            ("SSH key", crate::http::view::words::count(row.known_hosts.lines().count() as u64, "known host"))
        }
    };
    CredentialRow {
        name: row.name.to_string(),
        kind,
        detail,
        stacks: choices(stacks, |slug| bound.contains(&slug)),
        created: Moment::new(row.created_at, web.queries.now()),
        by: crate::http::view::status::Mark { kind: crate::domain::ActorKind::User, name: row.created_by },
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManageCredentials).await?;
    match sent.verb() {
        "create" => create(&web, &visitor, &permit, &sent).await,
        "delete" => {
            let name = Slug::new(sent.text("credential"));
            let name = name.map_err(|_| Problem::not_found("there is no such credential"))?;
            web.actions.delete_credential(&permit, name.clone()).await?;
            visitor.done(PATH, Carried::good(format!("The credential {name} was deleted.")))
        }
        "bind" => bind(&web, &visitor, &permit, &sent).await,
        other => Err(unknown_verb(other)),
    }
}

/// Chooses anew which stacks may use a credential; everything else of it stays.
async fn bind(web: &Web, visitor: &Visitor, permit: &Permit, sent: &Sent) -> Answer {
    let name = sent.text("credential");
    let rows = web.queries.credentials()?;
    let row = rows.into_iter().find(|row| row.name.as_str() == name);
    let row = row.ok_or_else(|| Problem::not_found("there is no such credential"))?;
    let stacks = match chosen_stacks(web, sent)? {
        Ok(stacks) => stacks,
        Err(refused) => return Err(refused.into()),
    };
    let new = NewCredential {
        name: row.name.clone(),
        kind: row.kind,
        user: row.user,
        known_hosts: row.known_hosts,
        secret: None,
        stacks,
    };
    web.actions.put_credential(permit, new).await?;
    visitor.done(PATH, Carried::good(format!("The stacks of the credential {} were saved.", row.name)))
}

/// The stacks that a form chose.
fn chosen_stacks(web: &Web, sent: &Sent) -> Result<Result<Vec<StackId>, Refused>, Problem> {
    let mut stacks = Vec::new();
    for slug in sent.all("stack") {
        let found = Slug::new(slug).ok().map(|slug| web.queries.stack_id(&slug)).transpose()?.flatten();
        match found {
            Some(id) => stacks.push(id),
            None => return Ok(Err(Refused::invalid(format!("there is no stack `{slug}` any more")))),
        }
    }
    Ok(Ok(stacks))
}

async fn create(web: &Web, visitor: &Visitor, permit: &Permit, sent: &Sent) -> Answer {
    let wrong: Wrong = match new_credential(web, sent)? {
        Err(wrong) => wrong,
        Ok(new) => {
            let name = new.name.clone();
            match web.actions.put_credential(permit, new).await {
                Ok(()) => return visitor.done(PATH, Carried::good(format!("The credential {name} is stored."))),
                Err(error) => Wrong::of(error)?,
            }
        }
    };
    let chosen: Vec<&str> = sent.all("stack").collect();
    let mut page = page(web, visitor, &chosen)?;
    page.form.keep(sent.pairs());
    // A secret goes one way only.
    page.form.private_key.value.clear();
    let secret = if sent.text("kind") == "ssh" { "private_key" } else { "token" };
    page.problems = wrong.renamed(&[("user", "username"), ("secret", secret)]).blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

fn new_credential(web: &Web, sent: &Sent) -> Result<Result<NewCredential, Wrong>, Problem> {
    let name = match Slug::new(sent.text("name").trim()) {
        Ok(name) => name,
        Err(error) => return Ok(Err(Refused::field("name", error.to_string()).into())),
    };
    let kind = match sent.text("kind") {
        "https" => CredentialKind::Https,
        "ssh" => CredentialKind::Ssh,
        _ => return Ok(Err(Refused::field("kind", "choose one").into())),
    };
    let stacks = match chosen_stacks(web, sent)? {
        Ok(stacks) => stacks,
        Err(refused) => return Ok(Err(refused.into())),
    };
    let ssh = kind == CredentialKind::Ssh;
    Ok(Ok(NewCredential {
        name,
        kind,
        user: if ssh { String::new() } else { sent.text("username").trim().to_owned() },
        known_hosts: if ssh { sent.text("known_hosts").trim().to_owned() } else { String::new() },
        secret: secret(sent, ssh),
        stacks,
    }))
}

/// The token or the key; none keeps the stored one. A private key ends with a line end.
fn secret(sent: &Sent, ssh: bool) -> Option<Secret<String>> {
    let text = sent.filled(if ssh { "private_key" } else { "token" })?;
    Some(Secret::new(if ssh { format!("{text}\n") } else { text.to_owned() }))
}
