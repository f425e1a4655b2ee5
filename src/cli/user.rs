//! `airlock user`: people, through the server or on the data directory.

use serde_json::{Value, json};

use crate::{
    actions::NewUser,
    app::App,
    auth::Permission,
    domain::UserName,
    queries::{RoleOnStack, User},
};

use super::{
    Outcome,
    args::{self, NewSecret, Place, Rights, UserVerb},
    client::Client,
    failure::{Done, Failure},
    offline::{self, Site, permitted},
    output, secret,
    shape::{role_words, roles, time},
    table::Table,
};

pub(super) fn run(args: &args::User) -> Done {
    offline::block_on(async {
        match &args.verb {
            UserVerb::Add { name, rights, place } => add(name, rights, place).await,
            UserVerb::Passwd { name, secret, place } => passwd(name, secret, place).await,
            UserVerb::List { place } => list(place).await,
            UserVerb::Disable { name, place } => disable(name, place).await,
        }
    })?;
    Ok(Outcome::Done)
}

async fn add(name: &UserName, rights: &Rights, place: &Place) -> Result<(), Failure> {
    let invited = match Site::find(place)? {
        Site::Server(client) => {
            let body = json!({"name": name, "admin": rights.admin, "roles": role_words(&rights.roles)});
            client.create("/users", &body).await?
        }
        Site::Data(app) => {
            let permit = permitted(&app, Permission::ManageUsers)?;
            let new = NewUser { name: name.clone(), admin: rights.admin, roles: offline::roles(&app, &rights.roles)? };
            let invited = app.actions.invite(&permit, new, None).await?;
            invitation(&app, invited)?
        }
    };
    tell_invitation(&invited, place)
}

async fn passwd(name: &UserName, secret: &NewSecret, place: &Place) -> Result<(), Failure> {
    match Site::find(place)? {
        Site::Server(client) => {
            let invited = client.post(&format!("/users/{}/invite", Client::part(name.as_str())), &json!({})).await?;
            tell_invitation(&invited, place)
        }
        Site::Data(app) => {
            let user = find(&app, name)?;
            let permit = permitted(&app, Permission::ManageUsers)?;
            let password = secret::new_password(secret.password_file.as_deref(), name.as_str())?;
            app.actions.set_password(&permit, user.id, password).await?;
            tell(&offline_user(&app, name)?, place, &format!("{name} has a new password; their sessions have ended"))
        }
    }
}

async fn list(place: &Place) -> Result<(), Failure> {
    let users = match Site::find(place)? {
        Site::Server(client) => client.list("/users", &[], usize::MAX).await?,
        Site::Data(app) => {
            app.queries.users()?.iter().map(|user| shape(&app, user)).collect::<Result<Vec<_>, Failure>>()?
        }
    };
    if place.shown.json {
        return output::json(&json!({"items": users, "next": null}));
    }
    let mut table = Table::new(&["NAME", "MAY", "STATE", "LAST SEEN"]);
    for user in &users {
        let text = |name: &str| user[name].as_str().unwrap_or_default();
        table.row([text("name"), &rights_of(user), state_of(user), &time(&user["last_seen"])]);
    }
    output::line(&table.to_string())
}

async fn disable(name: &UserName, place: &Place) -> Result<(), Failure> {
    let user = match Site::find(place)? {
        Site::Server(client) => {
            client.patch(&format!("/users/{}", Client::part(name.as_str())), &json!({"enabled": false})).await?
        }
        Site::Data(app) => {
            let user = find(&app, name)?;
            let permit = permitted(&app, Permission::ManageUsers)?;
            app.actions.enable_user(&permit, user.id, false).await?;
            offline_user(&app, name)?
        }
    };
    tell(&user, place, &format!("{name} is switched off; their sessions have ended, their runs go on"))
}

fn find(app: &App, name: &UserName) -> Result<User, Failure> {
    let found = app.queries.user_by_name(name.as_str())?;
    found.ok_or_else(|| {
        Failure::new(Outcome::NotFound, format_args!("{name}: there is no such user"))
            .next("`airlock user list` shows everybody")
    })
}

fn tell(user: &Value, place: &Place, sentence: &str) -> Result<(), Failure> {
    if place.shown.json { output::json(user) } else { output::line(sentence) }
}

fn tell_invitation(invited: &Value, place: &Place) -> Result<(), Failure> {
    if place.shown.json {
        return output::json(invited);
    }
    let name = invited["user"]["name"].as_str().unwrap_or_default();
    let (url, ends) = (&invited["invitation"]["url"], &invited["invitation"]["expires_at"]);
    output::note(&format!("{name} chooses a password with this link; it works once, until {}:", time(ends)));
    output::line(&super::clean::line(url.as_str().unwrap_or_default()))
}

/// The shape of `POST /users`.
fn invitation(app: &App, invited: crate::actions::Invited) -> Result<Value, Failure> {
    let url = format!("{}/invitation?token={}", app.actions.setup().public_url, invited.token.expose());
    Ok(json!({
        "user": shape(app, &invited.user)?,
        "invitation": {"url": url, "expires_at": invited.expires_at},
    }))
}

fn offline_user(app: &App, name: &UserName) -> Result<Value, Failure> {
    shape(app, &find(app, name)?)
}

/// The shape of `GET /users`.
fn shape(app: &App, user: &User) -> Result<Value, Failure> {
    Ok(json!({
        "id": user.id,
        "name": user.name,
        "admin": user.admin,
        "enabled": user.enabled,
        "invited": user.password.is_none(),
        "roles": roles_of(app, &user.roles)?,
        "created_at": user.created_at,
        "last_seen": user.last_seen,
    }))
}

pub(super) fn roles_of(app: &App, held: &[RoleOnStack]) -> Result<Vec<Value>, Failure> {
    let mut shown = Vec::new();
    for role in held {
        shown.extend(app.queries.slug_of(role.stack)?.map(|stack| json!({"stack": stack, "role": role.role})));
    }
    Ok(shown)
}

/// What somebody may do, in a cell.
pub(super) fn rights_of(holder: &Value) -> String {
    if holder["admin"] == true { "admin".to_owned() } else { roles(&holder["roles"]) }
}

fn state_of(user: &Value) -> &'static str {
    match (user["enabled"] == true, user["invited"] == true) {
        (false, _) => "switched off",
        (true, true) => "invited",
        (true, false) => "active",
    }
}
