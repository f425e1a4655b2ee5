//! `/admin/keys`: API keys are made once, shown once, revoked.

use axum::extract::State;

use super::{grid, roles, stacks, words_of};
use crate::{
    actions::{MintedKey, NewKey},
    auth::{Permission, Permit},
    domain::{FieldError, KeyId, Look, Refused, UserName},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            doors::{again, wants_again},
            lists::day,
            sent::{Asked, Form, Sent, Wrong},
            show::mark,
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            KeysPage,
            admin::{KeyForm, KeyRow, Once, admin_tabs},
            form::Fields as _,
            frame::{Empty, Place},
            status::{Badge, Moment},
        },
    },
    queries::{ApiKey, StackRow},
};

pub async fn get(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    visitor.may_here(Permission::SeeKeys).await?;
    let mut page = page(&web, &visitor)?;
    // Back from showing the password once more: what was typed is still there.
    if !asked.pairs().is_empty() {
        refill(&web, &visitor, &mut page, &asked)?;
    }
    visitor.page(&page)
}

fn page(web: &Web, visitor: &Visitor) -> Result<KeysPage, Problem> {
    let stacks = stacks(web, visitor)?;
    let keys = web.queries.keys()?;
    Ok(KeysPage {
        frame: visitor.frame(Place::Admin, "API keys", super::crumbs("API keys"))?,
        tabs: admin_tabs("API keys"),
        keys: keys.iter().map(|key| row(web, &stacks, key)).collect(),
        form: KeyForm::new(),
        grid: grid(&stacks, &[]),
        once: None,
        problems: Vec::new(),
        empty: Empty {
            title: "No API keys yet".to_owned(),
            text: "Keys let programs in. Those that you make will appear here, without their secrets.".to_owned(),
            action: None,
        },
    })
}

fn row(web: &Web, stacks: &[StackRow], key: &ApiKey) -> KeyRow {
    let now = web.queries.now();
    let expired = key.expires_at.is_some_and(|end| end <= now);
    let badge = match (key.revoked, expired) {
        (true, _) => Badge::new(Look::Dropped, "Revoked"),
        (false, true) => Badge::new(Look::Dropped, "Expired"),
        (false, false) => Badge::new(Look::Succeeded, "Active"),
    };
    KeyRow {
        id: key.id.to_string(),
        name: key.name.to_string(),
        admin: key.admin,
        roles: words_of(stacks, &key.roles),
        created: Moment::new(key.created_at, now),
        by: mark(&key.created_by),
        expires: key.expires_at.map(|at| Moment::new(at, now)),
        last_used: key.used_at.map(|at| Moment::new(at, now)),
        badge,
        revoked: key.revoked,
    }
}

fn refill(web: &Web, visitor: &Visitor, page: &mut KeysPage, sent: &Sent) -> Result<(), Problem> {
    page.form.keep(sent.pairs());
    let stacks = stacks(web, visitor)?;
    page.grid = grid(&stacks, &roles(&stacks, sent).unwrap_or_default());
    Ok(())
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = match visitor.may_here(Permission::ManageKeys).await {
        Err(problem) if wants_again(&problem) => return again("/admin/keys", &sent),
        permitted => permitted?,
    };
    match sent.verb() {
        "create" => create(&web, &visitor, &permit, &sent).await,
        "revoke" => {
            let id: KeyId = sent.text("key").parse().map_err(|_| Problem::not_found("there is no such key"))?;
            web.actions.revoke_key(&permit, id).await?;
            visitor.done("/admin/keys", Carried::good(format!("The key {id} was revoked.")))
        }
        other => Err(unknown_verb(other)),
    }
}

async fn create(web: &Web, visitor: &Visitor, permit: &Permit, sent: &Sent) -> Answer {
    let wrong: Wrong = match new_key(web, visitor, sent)? {
        Err(wrong) => wrong,
        Ok(new) => match web.actions.create_key(permit, new, None).await {
            Ok(minted) => return show_secret(web, visitor, &minted),
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = page(web, visitor)?;
    refill(web, visitor, &mut page, sent)?;
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

fn new_key(web: &Web, visitor: &Visitor, sent: &Sent) -> Result<Result<NewKey, Wrong>, Problem> {
    let roles = roles(&stacks(web, visitor)?, sent)?;
    let name = UserName::new(sent.text("name").trim());
    let expires_at = day(sent, "expires_at");
    Ok(match (name, expires_at) {
        (Ok(name), Ok(expires_at)) => Ok(NewKey { name, admin: sent.is_on("admin"), roles, expires_at }),
        (name, expires_at) => {
            let error = name.err().map(|error| FieldError { field: "name".to_owned(), error: error.to_string() });
            let errors = error.into_iter().chain(expires_at.err().into_iter().flat_map(|problem| problem.errors));
            Err(Refused::fields(errors.collect()).into())
        }
    })
}

/// The secret is in this one answer and nowhere else.
fn show_secret(web: &Web, visitor: &Visitor, minted: &MintedKey) -> Answer {
    let mut page = page(web, visitor)?;
    page.once = Some(Once {
        title: format!("Secret of {}", minted.key.name),
        text: "Keep it where programs keep secrets: it is shown this once.".to_owned(),
        value: minted.secret.expose().clone(),
    });
    visitor.page(&page)
}
