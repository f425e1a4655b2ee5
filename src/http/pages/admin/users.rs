//! `/admin/users`: people come in by invitation, get roles, and are switched off.

use axum::{extract::State, http::StatusCode};

use super::{grid, roles, stacks, words_of};
use crate::{
    actions::{Invited, NewUser},
    auth::{Permission, Permit},
    domain::{FieldError, Look, Refused, UserName},
    http::{
        Problem, Web,
        pages::{
            account::{session_id, session_rows},
            cookies::Carried,
            sent::{Form, Sent, Wrong},
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            UsersPage,
            admin::{InviteForm, Once, UserRow, admin_tabs},
            form::Fields as _,
            frame::Place,
            status::{Badge, Moment},
            words,
        },
    },
    queries::{StackRow, User},
};

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.may_here(Permission::ManageUsers).await?;
    visitor.page(&page(&web, &visitor)?)
}

fn page(web: &Web, visitor: &Visitor) -> Result<UsersPage, Problem> {
    let stacks = stacks(web, visitor)?;
    let users = web.queries.users()?;
    Ok(UsersPage {
        frame: visitor.frame(Place::Admin, "Users", super::crumbs("Users"))?,
        tabs: admin_tabs("Users"),
        users: users.iter().map(|user| row(web, visitor, &stacks, user)).collect::<Result<_, _>>()?,
        invite: InviteForm::new(),
        once: None,
        problems: Vec::new(),
    })
}

/// Sessions of one person that the page lists.
const SESSIONS: usize = 5;

fn row(web: &Web, visitor: &Visitor, stacks: &[StackRow], user: &User) -> Result<UserRow, Problem> {
    let invited = user.password.is_none();
    let badge = match (user.enabled, invited) {
        (false, _) => Badge::new(Look::Dropped, "Disabled"),
        (true, true) => Badge::new(Look::Waiting, "Invited"),
        (true, false) => Badge::new(Look::Succeeded, "Active"),
    };
    let sessions = web.queries.sessions_of(&visitor.who, user.id)?;
    Ok(UserRow {
        name: user.name.to_string(),
        me: visitor.who.user() == Some(user.id),
        admin: user.admin,
        badge,
        roles: words_of(stacks, &user.roles),
        grid: grid(stacks, &user.roles),
        last_seen: user.last_seen.map(|at| Moment::new(at, web.queries.now())),
        disabled: !user.enabled,
        invited: invited && user.enabled,
        sessions: session_rows(web, &sessions[..sessions.len().min(SESSIONS)]),
        all_sessions: (sessions.len() > 1).then(|| words::count(sessions.len() as u64, "session")),
    })
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManageUsers).await?;
    if sent.verb() == "invite" {
        return invite(&web, &visitor, &permit, &sent).await;
    }
    let user = web.queries.user_by_name(sent.text("user"))?;
    let user = user.ok_or_else(|| Problem::not_found("there is no such user"))?;
    let name = user.name.clone();
    match sent.verb() {
        "invite_again" => {
            let invited = web.actions.invite_again(&permit, user.id, None).await?;
            show_link(&web, &visitor, &invited)
        }
        "roles" => {
            let roles = roles(&stacks(&web, &visitor)?, &sent)?;
            web.actions.set_rights(&permit, user.id, user.admin, roles).await?;
            done(&visitor, format!("The roles of {name} were saved. Their sessions ended."))
        }
        "disable" => {
            web.actions.enable_user(&permit, user.id, false).await?;
            done(&visitor, format!("{name} was disabled. Their sessions ended."))
        }
        "enable" => {
            web.actions.enable_user(&permit, user.id, true).await?;
            done(&visitor, format!("{name} was enabled."))
        }
        "revoke_session" => {
            web.actions.revoke_session(&visitor.who, session_id(&sent)?).await?;
            done(&visitor, format!("The session of {name} was ended."))
        }
        "revoke_sessions" => {
            for row in web.queries.sessions_of(&visitor.who, user.id)? {
                web.actions.revoke_session(&visitor.who, row.session.id).await?;
            }
            done(&visitor, format!("Every session of {name} was ended."))
        }
        "revoke_invitation" => {
            web.actions.withdraw_invitation(&permit, user.id).await?;
            done(&visitor, format!("The invitation of {name} was withdrawn."))
        }
        other => Err(unknown_verb(other)),
    }
}

fn done(visitor: &Visitor, text: String) -> Answer {
    visitor.done("/admin/users", Carried::good(text))
}

async fn invite(web: &Web, visitor: &Visitor, permit: &Permit, sent: &Sent) -> Answer {
    let wrong: Wrong = match new_user(web, visitor, sent)? {
        Err(wrong) => wrong,
        Ok(new) => match web.actions.invite(permit, new, None).await {
            Ok(invited) => return show_link(web, visitor, &invited),
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = page(web, visitor)?;
    page.invite.keep(sent.pairs());
    page.problems = wrong.blame(&mut page.invite);
    visitor.page_with(wrong.status, &page)
}

fn new_user(web: &Web, visitor: &Visitor, sent: &Sent) -> Result<Result<NewUser, Wrong>, Problem> {
    let roles = roles(&stacks(web, visitor)?, sent)?;
    Ok(match UserName::new(sent.text("name").trim()) {
        Ok(name) => Ok(NewUser { name, admin: sent.is_on("admin"), roles }),
        Err(error) => {
            let error = FieldError { field: "name".to_owned(), error: error.to_string() };
            Err(Refused::fields(vec![error]).into())
        }
    })
}

/// The link is in this one answer and nowhere else.
fn show_link(web: &Web, visitor: &Visitor, invited: &Invited) -> Answer {
    let mut page = page(web, visitor)?;
    page.once = Some(Once {
        title: format!("Invitation for {}", invited.user.name),
        text: format!(
            "Send it over a way that only they read. It is shown this once, and works until {}.",
            Moment::new(invited.expires_at, web.queries.now()).absolute
        ),
        value: format!("{}/invitation?token={}", web.actions.setup().public_url, invited.token.expose()),
    });
    visitor.page_with(StatusCode::OK, &page)
}
