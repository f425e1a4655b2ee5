//! People.

use axum::{
    Json,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging},
    merge,
    shape::{Nothing, RoleShape},
    words,
};
use crate::{
    actions::{Invited, NewUser},
    auth::Permission,
    domain::{Refused, Timestamp, UserId, UserName},
    http::{
        Problem, Web,
        extract::{Asker, At, Body, Params},
    },
    queries::User,
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list, invite)).routes(routes!(show, change)).routes(routes!(invite_again))
}

/// A person.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
struct UserShape {
    #[schema(value_type = String)]
    id: UserId,
    #[schema(value_type = String)]
    name: UserName,
    admin: bool,
    enabled: bool,
    /// Whether they still have to choose a password.
    invited: bool,
    roles: Vec<RoleShape>,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::maybe_time)]
    last_seen: Option<Timestamp>,
}

impl UserShape {
    fn new(web: &Web, user: User) -> Answer<Self> {
        Ok(Self {
            id: user.id,
            admin: user.admin,
            enabled: user.enabled,
            invited: user.password.is_none(),
            roles: RoleShape::all_of(web, &user.roles)?,
            created_at: user.created_at,
            last_seen: user.last_seen,
            name: user.name,
        })
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Everybody, by name. For admins.
#[utoipa::path(get, path = "/users", params(ListParams), responses((status = 200, body = List<UserShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<UserShape>>> {
    asker.may_here(Permission::ManageUsers).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.users()?;
    let key = |user: &User| user.name.as_str().to_lowercase();
    Ok(Json(List::by_key(rows, &paging, key, |user| UserShape::new(&asker.web, user))?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
struct UserInput {
    #[schema(value_type = String)]
    name: UserName,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    roles: Vec<RoleShape>,
}

/// A person and the link by which they choose a password. It is shown this once.
#[derive(Serialize, ToSchema)]
struct Invitation {
    user: UserShape,
    invitation: InvitationLink,
}

#[derive(Serialize, ToSchema)]
struct InvitationLink {
    url: String,
    #[schema(schema_with = words::time)]
    expires_at: Timestamp,
}

impl Invitation {
    fn new(web: &Web, invited: Invited) -> Answer<Self> {
        let url = format!("{}/invitation?token={}", web.actions.setup().public_url, invited.token.expose());
        let invitation = InvitationLink { url, expires_at: invited.expires_at };
        Ok(Self { user: UserShape::new(web, invited.user)?, invitation })
    }
}

/// Invite a person.
#[utoipa::path(post, path = "/users", request_body = UserInput, responses((status = 201, body = Invitation)))]
async fn invite(
    asker: Asker,
    headers: HeaderMap,
    Body { input, bytes }: Body<UserInput>,
) -> Answer<(StatusCode, Json<Invitation>)> {
    let permit = asker.may_here(Permission::ManageUsers).await?;
    let once = asker.once(&headers, "/users", &bytes)?;
    let roles = RoleShape::read_all(&asker.web, &input.roles)?;
    let new = NewUser { name: input.name, admin: input.admin, roles };
    let invited = asker.web.actions.invite(&permit, new, once).await?;
    Ok((StatusCode::CREATED, Json(Invitation::new(&asker.web, invited)?)))
}

/// A person by id or by name.
pub(super) fn find(web: &Web, named: &str) -> Answer<User> {
    let found = match named.parse::<UserId>() {
        Ok(id) => web.queries.user(id)?,
        Err(_) => web.queries.user_by_name(named)?,
    };
    found.ok_or_else(|| Problem::from(Refused::not_found("this user")))
}

/// One person.
#[utoipa::path(get, path = "/users/{user}", responses((status = 200, body = UserShape)))]
async fn show(asker: Asker, At(named): At<String>) -> Answer<Json<UserShape>> {
    asker.may_here(Permission::ManageUsers).await?;
    Ok(Json(UserShape::new(&asker.web, find(&asker.web, &named)?)?))
}

/// What a merge patch may change.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserPatch {
    #[serde(default)]
    admin: bool,
    /// All of their roles.
    #[serde(default)]
    roles: Vec<RoleShape>,
    #[serde(default = "yes")]
    enabled: bool,
}

const fn yes() -> bool {
    true
}

/// Change what a person may do, or switch them off: a JSON merge patch (RFC 7396). Their sessions end.
#[utoipa::path(patch, path = "/users/{user}", request_body = UserPatch, responses((status = 200, body = UserShape)))]
async fn change(
    asker: Asker,
    At(named): At<String>,
    Body { input: patch, .. }: Body<Map<String, Value>>,
) -> Answer<Json<UserShape>> {
    let permit = asker.may_here(Permission::ManageUsers).await?;
    let mut user = find(&asker.web, &named)?;
    let actions = &asker.web.actions;
    let roles = RoleShape::all_of(&asker.web, &user.roles)?;
    let before = UserPatch { admin: user.admin, roles, enabled: user.enabled };
    let before = serde_json::to_value(before).expect("rights are JSON");
    let named = |name: &str| patch.contains_key(name);
    let (of_rights, of_enabled) = (named("admin") || named("roles"), named("enabled"));
    let after: UserPatch = merge::patched(before, patch)?;
    if of_rights {
        let roles = RoleShape::read_all(&asker.web, &after.roles)?;
        user = actions.set_rights(&permit, user.id, after.admin, roles).await?;
    }
    if of_enabled {
        user = actions.enable_user(&permit, user.id, after.enabled).await?;
    }
    Ok(Json(UserShape::new(&asker.web, user)?))
}

/// A new link for a person who lost theirs, or who forgot their password.
#[utoipa::path(post, path = "/users/{user}/invite", request_body = Nothing, responses((status = 200, body = Invitation)))]
async fn invite_again(
    asker: Asker,
    At(named): At<String>,
    headers: HeaderMap,
    body: Body<Nothing>,
) -> Answer<Json<Invitation>> {
    let permit = asker.may_here(Permission::ManageUsers).await?;
    let user = find(&asker.web, &named)?;
    let once = asker.once(&headers, &format!("/users/{}/invite", user.id), &body.bytes)?;
    let invited = asker.web.actions.invite_again(&permit, user.id, once).await?;
    Ok(Json(Invitation::new(&asker.web, invited)?))
}
