//! `airlock login`: showing who one is, and having it remembered.

use serde_json::{Value, json};

use crate::{
    cli::{
        Outcome,
        args::Login,
        clean,
        failure::{Done, Failure},
        offline, output,
        secret::{ask, ask_openly},
        shape::time,
    },
    crypt::Secret,
};

use super::{
    Client,
    address::{self, Trust, address},
};

pub fn run(args: &Login) -> Done {
    if args.forget {
        return forget(args);
    }
    let url = address(args.url.as_deref().unwrap_or_default())?;
    let trust = address::asked(&args.reach).unwrap_or_default();
    let mut client = Client::to(&url, &trust)?;
    let ends = offline::block_on(async {
        if args.token { by_token(&mut client).await } else { by_password(&mut client, args).await }
    })?;
    let Some(token) = client.token else { return Err(Failure::failed("nothing was shown to the server")) };
    let path = address::store(&address::Login {
        url: url.clone(),
        token,
        ca_cert: absolute(&trust)?,
        insecure: trust == Trust::Blind,
    })?;
    if args.shown.json {
        output::json(&json!({"url": url, "expires_at": ends, "stored": path}))?;
    } else {
        let until = if ends.is_null() { String::new() } else { format!(", until {}", time(&ends)) };
        output::line(&format!("signed in to {url}{until}; remembered in {}", path.display()))?;
    }
    Ok(Outcome::Done)
}

/// The file is found again from wherever the next verb is run.
fn absolute(trust: &Trust) -> Result<Option<std::path::PathBuf>, Failure> {
    let Trust::Only(file) = trust else { return Ok(None) };
    file.canonicalize().map(Some).map_err(|error| Failure::file("find", file, &error))
}

async fn by_password(client: &mut Client, args: &Login) -> Result<Value, Failure> {
    let user = match &args.user {
        Some(user) => user.to_string(),
        None => ask_openly("User")?,
    };
    let password = ask("Password")?;
    let shown = json!({"username": user, "password": password.expose()});
    let answer = client.post("/login", &shown).await.map_err(|failure| match failure.outcome {
        Outcome::Refused => failure.next("nothing was stored; try again"),
        _ => failure,
    })?;
    let token = answer["token"].as_str().ok_or_else(|| super::answer::stranger(&client.base))?;
    client.token = Some(Secret::new(token.to_owned()));
    Ok(answer["expires_at"].clone())
}

/// A key proves itself by being used.
async fn by_token(client: &mut Client) -> Result<Value, Failure> {
    client.token = Some(ask("API key or token")?);
    client.get("/stacks", &[("limit", "1".to_owned())]).await?;
    Ok(Value::Null)
}

/// Ends the session where it is one, and forgets it in any case.
fn forget(args: &Login) -> Done {
    let ended = match address::stored() {
        Ok(Some(login)) => {
            let trust = address::asked(&args.reach).unwrap_or_else(|| login.trust());
            let mut client = Client::to(&login.url, &trust)?;
            client.token = Some(login.token);
            offline::block_on(end_session(&client)).is_ok()
        }
        Ok(None) | Err(_) => false,
    };
    let path = address::forget()?;
    if args.shown.json {
        output::json(&json!({"forgotten": path, "session_ended": ended}))?;
        return Ok(Outcome::Done);
    }
    output::line(&match (path, ended) {
        (None, _) => "there was nothing to forget".to_owned(),
        (Some(path), true) => format!("{} is gone, and the session with it", path.display()),
        (Some(path), false) => format!("{} is gone; no session was ended", path.display()),
    })?;
    Ok(Outcome::Done)
}

async fn end_session(client: &Client) -> Result<(), Failure> {
    let sessions = client.list("/sessions", &[], usize::MAX).await?;
    let present = sessions.iter().find(|session| session["present"] == true).and_then(|session| session["id"].as_str());
    match present {
        Some(id) => client.delete(&format!("/sessions/{}", Client::part(&clean::line(id)))).await,
        None => Err(Failure::failed("there is no session")),
    }
}
