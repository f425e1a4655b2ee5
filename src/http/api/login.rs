//! Tokens for a name and a password, and the sessions behind them.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging, newest_first},
    users, words,
};
use crate::{
    actions::{Secret, SignIn},
    auth::Permission,
    domain::{SessionId, Timestamp},
    http::{
        Web,
        extract::{Asker, At, Body, Params},
        shield::From as Sender,
    },
    queries::{SessionKind, SessionRow},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(sessions))
        .routes(routes!(sessions_of))
        .routes(routes!(revoke))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    #[schema(value_type = String)]
    password: Secret<String>,
}

/// A token that lives like a session.
#[derive(Serialize, ToSchema)]
struct LoginAnswer {
    token: String,
    #[schema(schema_with = words::time)]
    expires_at: Timestamp,
}

/// Sign in with a name and a password.
#[utoipa::path(post, path = "/login", request_body = Login, responses((status = 200, body = LoginAnswer)), security(()))]
async fn login(
    State(web): State<Web>,
    axum::Extension(Sender(address)): axum::Extension<Sender>,
    headers: HeaderMap,
    Body { input, .. }: Body<Login>,
) -> Answer<Json<LoginAnswer>> {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let shown = SignIn {
        user: input.username,
        password: input.password,
        kind: SessionKind::Token,
        address,
        agent: agent.to_owned(),
    };
    let signed_in = web.actions.sign_in(shown).await?;
    Ok(Json(LoginAnswer { token: signed_in.token.expose().clone(), expires_at: signed_in.expires_at }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// One place where somebody is signed in.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionShape {
    #[schema(value_type = String)]
    id: SessionId,
    /// `cookie` or `token`.
    kind: &'static str,
    /// The one that asks.
    present: bool,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::time)]
    used_at: Timestamp,
    /// When the password was last shown.
    #[schema(schema_with = words::time)]
    signed_in_at: Timestamp,
    address: String,
    agent: String,
}

impl From<SessionRow> for SessionShape {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.session.id,
            kind: match row.session.kind {
                SessionKind::Cookie => "cookie",
                SessionKind::Token => "token",
                SessionKind::Exchanged => "exchanged",
            },
            present: row.present,
            created_at: row.session.created_at,
            used_at: row.session.used_at,
            signed_in_at: row.session.signed_in_at,
            address: row.session.address,
            agent: row.session.agent,
        }
    }
}

/// Your sessions, the newest first.
#[utoipa::path(get, path = "/sessions", params(ListParams), responses((status = 200, body = List<SessionShape>)))]
async fn sessions(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<SessionShape>>> {
    listed(asker.web.queries.sessions(&asker.who)?, params)
}

/// A person's sessions, the newest first. For admins.
#[utoipa::path(get, path = "/users/{user}/sessions", params(ListParams), responses((status = 200, body = List<SessionShape>)))]
async fn sessions_of(
    asker: Asker,
    At(named): At<String>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<SessionShape>>> {
    asker.may_here(Permission::ManageUsers).await?;
    let user = users::find(&asker.web, &named)?;
    listed(asker.web.queries.sessions_of(&asker.who, user.id)?, params)
}

fn listed(rows: Vec<SessionRow>, params: ListParams) -> Answer<Json<List<SessionShape>>> {
    let paging = Paging::new(params.limit, params.cursor)?;
    let key = |row: &SessionRow| newest_first(row.session.id.number());
    Ok(Json(List::by_key(rows, &paging, key, |row| Ok(row.into()))?))
}

/// End one of your sessions; as an admin, anybody's.
#[utoipa::path(delete, path = "/sessions/{session}", responses((status = 204, description = "It is over")))]
async fn revoke(asker: Asker, At(session): At<SessionId>) -> Answer<StatusCode> {
    asker.web.actions.revoke_session(&asker.who, session).await?;
    Ok(StatusCode::NO_CONTENT)
}
