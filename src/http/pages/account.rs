//! `/account`: sessions, password, theme, shortcuts.

use axum::extract::State;

use super::{
    cookies::{self, Carried},
    doors::repeat_error,
    sent::{Form, Sent, Wrong},
    visitor::{Answer, Visitor, redirect, unknown_verb},
};
use crate::{
    actions::Secret,
    auth::Who,
    domain::{Refused, SessionId},
    http::{
        Problem, Web,
        view::{
            AccountPage,
            account::{PasswordForm, SessionRow},
            frame::{Crumb, Place, Theme},
            status::Moment,
            words,
        },
    },
    queries::{self, Session, SessionKind},
};

const PATH: &str = "/account";

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.page(&page(&web, &visitor)?)
}

fn page(web: &Web, visitor: &Visitor) -> Result<AccountPage, Problem> {
    Ok(AccountPage {
        frame: visitor.frame(Place::Account, "Account", vec![Crumb::here("Account")])?,
        name: visitor.who.actor.name().to_owned(),
        role: role(web, &visitor.who)?,
        sessions: session_rows(web, &web.queries.sessions(&visitor.who)?),
        password: PasswordForm::new(),
        problems: Vec::new(),
    })
}

/// Sessions as they are listed.
pub(super) fn session_rows(web: &Web, found: &[queries::SessionRow]) -> Vec<SessionRow> {
    let now = web.queries.now();
    let row = |row: &queries::SessionRow| SessionRow {
        id: row.session.id.to_string(),
        client: client(&row.session),
        address: row.session.address.clone(),
        signed_in: Moment::new(row.session.created_at, now),
        last_used: Moment::new(row.session.used_at, now),
        this: row.present,
    };
    found.iter().map(row).collect()
}

/// What somebody may do, in a few words.
fn role(web: &Web, who: &Who) -> Result<String, Problem> {
    let Some(stacks) = who.visible() else { return Ok("administrator".to_owned()) };
    let names = web.queries.stack_names(stacks.iter().copied())?;
    let mut roles: Vec<String> =
        stacks.iter().filter_map(|id| Some(format!("{} on {}", who.role_on(*id)?, names.get(id)?))).collect();
    roles.sort();
    roles.dedup();
    Ok(match roles.len() {
        0 => "member without a role on a stack".to_owned(),
        1..=4 => format!("member: {}", roles.join(", ")),
        more => format!("member with roles on {}", words::count(more as u64, "stack")),
    })
}

/// What a session is used with: the browser and its system, as far as they say.
fn client(session: &Session) -> String {
    if session.kind == SessionKind::Token {
        return "a program".to_owned();
    }
    let says = |words: &[(&str, &'static str)]| {
        words.iter().find(|(sign, _)| session.agent.contains(sign)).map(|(_, word)| *word)
    };
    let browser = says(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = says(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, Some(system)) => format!("a browser on {system}"),
        (None, None) => "an unknown client".to_owned(),
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    match sent.verb() {
        "theme" => theme(&web, &visitor, &sent),
        "shortcuts" => shortcuts(&web, &visitor, &sent),
        "sign_out" => sign_out(&web, &visitor).await,
        "revoke" => revoke(&web, &visitor, &sent).await,
        "revoke_others" => revoke_others(&web, &visitor).await,
        "password" => password(&web, &visitor, &sent).await,
        other => Err(unknown_verb(other)),
    }
}

/// Also the menu of every page sends this: it comes back there.
fn theme(web: &Web, visitor: &Visitor, sent: &Sent) -> Answer {
    let mut response = redirect(visitor.from.as_deref().unwrap_or(PATH));
    cookies::theme(web, &mut response, Theme::from_word(sent.text("theme")));
    Ok(response)
}

fn shortcuts(web: &Web, visitor: &Visitor, sent: &Sent) -> Answer {
    let on = sent.is_on("shortcuts");
    let text = if on { "Single-letter shortcuts are on." } else { "Single-letter shortcuts are off." };
    let mut response = visitor.done(PATH, Carried::good(text))?;
    cookies::shortcuts(web, &mut response, on);
    Ok(response)
}

async fn sign_out(web: &Web, visitor: &Visitor) -> Answer {
    web.actions.sign_out(&visitor.who).await?;
    let mut response = redirect("/sign-in");
    cookies::sign_out(web, &mut response);
    Ok(response)
}

/// The session that a form is about.
pub(super) fn session_id(sent: &Sent) -> Result<SessionId, Problem> {
    sent.text("session").parse().map_err(|_| Problem::not_found("there is no such session"))
}

async fn revoke(web: &Web, visitor: &Visitor, sent: &Sent) -> Answer {
    web.actions.revoke_session(&visitor.who, session_id(sent)?).await?;
    visitor.done(PATH, Carried::good("The session was ended."))
}

async fn revoke_others(web: &Web, visitor: &Visitor) -> Answer {
    let mut ended = 0;
    for row in web.queries.sessions(&visitor.who)?.into_iter().filter(|row| !row.present) {
        web.actions.revoke_session(&visitor.who, row.session.id).await?;
        ended += 1;
    }
    visitor.done(PATH, Carried::good(format!("{} ended.", words::count(ended, "other session"))))
}

async fn password(web: &Web, visitor: &Visitor, sent: &Sent) -> Answer {
    let wrong: Wrong = match repeat_error(sent) {
        Some(error) => Refused::fields(vec![error]).into(),
        None => {
            let secret = |name: &str| Secret::new(sent.text(name).to_owned());
            match web.actions.change_password(&visitor.who, secret("current"), secret("password")).await {
                Ok(()) => return visitor.done(PATH, Carried::good("Your password was changed; other sessions ended.")),
                Err(error) => Wrong::of(error)?,
            }
        }
    };
    let mut page = page(web, visitor)?;
    page.problems = wrong.renamed(&[("present", "current")]).blame(&mut page.password);
    visitor.page_with(wrong.status, &page)
}
