//! `airlock api-key`: keys for programs, through the server or on the data directory.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    actions::NewKey,
    app::{App, SystemClock},
    auth::Permission,
    domain::{Clock as _, KeyId, Timestamp, UserName},
    queries::ApiKey,
};

use super::{
    Outcome,
    args::{self, ApiKeyVerb, Place, Rights},
    failure::{Done, Failure},
    offline::{self, Site, permitted},
    output,
    shape::{actor, role_words, time},
    table::Table,
    user::{rights_of, roles_of},
};

pub(super) fn run(args: &args::ApiKey) -> Done {
    offline::block_on(async {
        match &args.verb {
            ApiKeyVerb::Create { name, rights, expires, place } => {
                create(name, rights, expires.as_deref(), place).await
            }
            ApiKeyVerb::List { place } => list(place).await,
            ApiKeyVerb::Revoke { key, place } => revoke(*key, place).await,
        }
    })?;
    Ok(Outcome::Done)
}

async fn create(name: &UserName, rights: &Rights, expires: Option<&str>, place: &Place) -> Result<(), Failure> {
    let expires_at = expires.map(|when| ends(when, SystemClock.now())).transpose()?;
    let minted = match Site::find(place)? {
        Site::Server(client) => {
            let roles = role_words(&rights.roles);
            let body = json!({"name": name, "admin": rights.admin, "roles": roles, "expires_at": expires_at});
            client.create("/api-keys", &body).await?
        }
        Site::Data(app) => {
            let permit = permitted(&app, Permission::ManageKeys)?;
            let roles = offline::roles(&app, &rights.roles)?;
            let new = NewKey { name: name.clone(), admin: rights.admin, roles, expires_at };
            let minted = app.actions.create_key(&permit, new, None).await?;
            json!({"id": minted.key.id, "secret": minted.secret.expose()})
        }
    };
    if place.shown.json {
        return output::json(&minted);
    }
    output::note(&format!("{} is {name}'s; this is the only time its secret is shown:", text(&minted, "id")));
    output::line(&text(&minted, "secret"))
}

async fn list(place: &Place) -> Result<(), Failure> {
    let keys = match Site::find(place)? {
        Site::Server(client) => client.list("/api-keys", &[], usize::MAX).await?,
        Site::Data(app) => app.queries.keys()?.iter().map(|key| shape(&app, key)).collect::<Result<Vec<_>, _>>()?,
    };
    if place.shown.json {
        return output::json(&json!({"items": keys, "next": null}));
    }
    let mut table = Table::new(&["KEY", "NAME", "MAY", "STATE", "MADE BY", "LAST USED", "ENDS"]);
    for key in &keys {
        let state = if key["revoked"] == true { "revoked" } else { "active" };
        table.row([
            text(key, "id"),
            text(key, "name"),
            rights_of(key),
            state.to_owned(),
            actor(&key["created_by"]),
            time(&key["used_at"]),
            time(&key["expires_at"]),
        ]);
    }
    output::line(&table.to_string())
}

async fn revoke(key: KeyId, place: &Place) -> Result<(), Failure> {
    match Site::find(place)? {
        Site::Server(client) => client.delete(&format!("/api-keys/{key}")).await?,
        Site::Data(app) => app.actions.revoke_key(&permitted(&app, Permission::ManageKeys)?, key).await?,
    }
    if place.shown.json {
        return output::json(&json!({"id": key, "revoked": true}));
    }
    output::line(&format!("{key} is revoked: it opens nothing any more, nor does any token made from it"))
}

fn text(value: &Value, name: &str) -> String {
    super::clean::line(value[name].as_str().unwrap_or_default())
}

/// The shape of `GET /api-keys`.
fn shape(app: &App, key: &ApiKey) -> Result<Value, Failure> {
    Ok(json!({
        "id": key.id,
        "name": key.name,
        "admin": key.admin,
        "roles": roles_of(app, &key.roles)?,
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
        "used_at": key.used_at,
        "revoked": key.revoked,
    }))
}

/// A time, or a number of days or hours from now.
fn ends(when: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let span = |unit: char, seconds: u64| {
        let count = when.strip_suffix(unit)?.parse::<u64>().ok()?;
        count.checked_mul(seconds).map(|seconds| now.plus(Duration::from_secs(seconds)))
    };
    span('d', 86_400).or_else(|| span('h', 3_600)).or_else(|| when.parse().ok()).ok_or_else(|| {
        Failure::usage(format_args!("--expires: `{when}` is neither a time nor a span"))
            .next("write 90d, 12h, or 2030-01-31T00:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_or_a_span_from_now() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        assert_eq!(ends("2d", now).unwrap().since(now), Duration::from_secs(172_800));
        assert_eq!(ends("12h", now).unwrap().since(now), Duration::from_secs(43_200));
        assert_eq!(ends("2030-01-31T00:00:00Z", now).unwrap().to_string(), "2030-01-31T00:00:00.000Z");
        assert_eq!(ends("soon", now).unwrap_err().outcome, Outcome::Usage);
        assert_eq!(ends("99999999999999999999d", now).unwrap_err().outcome, Outcome::Usage);
    }
}
