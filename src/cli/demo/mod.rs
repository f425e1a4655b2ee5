//! `airlock demo`: a server with example stacks whose runs are at different places of their lives.
//!
//! Only a directory that was made by a demo is taken for one: a new password for `admin` is nothing
//! that anybody should get by a wrong `--data`.

mod example;
mod gates;
mod story;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::sync::oneshot;

use crate::{
    app::{self, App},
    auth::Permission,
    config::{Config, Flags},
    crypt::Secret,
    domain::UserName,
};

use super::{
    Outcome,
    args::Demo,
    failure::{Done, Failure},
    host, offline, output, serve,
};

/// Where a demo is kept when nobody says where.
const DIRECTORY: &str = "./airlock-demo";
/// Marks a data directory as one of a demo.
const MARK: &str = "demo";
/// Who signs in.
const USER: &str = "admin";

pub(super) fn run(args: &Demo) -> Done {
    output::start_logging();
    let data = args.data.clone().unwrap_or_else(|| PathBuf::from(DIRECTORY));
    let flags = Flags { data: Some(data), listen: args.listen, ..Flags::default() };
    let config = Config { admin_password_file: None, ..Config::load(&flags).map_err(Failure::usage)? };
    check_mark(&config.data)?;
    let app = host::open(config)?;
    fs::write(app.data.join(MARK), "").map_err(|error| Failure::file("write", &app.data.join(MARK), &error))?;
    let runtime = serve::runtime()?;
    let served = runtime.block_on(async {
        let password = words::password();
        let user = UserName::new(USER).map_err(Failure::failed)?;
        sign_in_with(&app, &user, &password).await?;
        tell(app, &user, &password).await
    });
    runtime.shutdown_timeout(serve::THREADS_END);
    served?;
    Ok(Outcome::Done)
}

/// Refuses a data directory that is in use for something else.
fn check_mark(data: &Path) -> Result<(), Failure> {
    if !data.join("airlock.redb").exists() || data.join(MARK).exists() {
        return Ok(());
    }
    Err(Failure::refused(format_args!("{}: is the data directory of a server, not of a demo", data.display()))
        .next("choose another with `--data DIR`; `airlock serve` serves this one"))
}

/// Makes the admin, or gives the one who is there another password.
async fn sign_in_with(app: &App, user: &UserName, password: &Secret<String>) -> Result<(), Failure> {
    if app.actions.bootstrap_admin(user.clone(), password.clone()).await? {
        return Ok(());
    }
    let Some(found) = app.queries.user_by_name(user.as_str())? else {
        return Err(Failure::refused(format_args!("{}: has no user {user} any more", app.data.display()))
            .next("remove the directory to begin anew"));
    };
    let permit = offline::permitted(app, Permission::ManageUsers)?;
    Ok(app.actions.set_password(&permit, found.id, password.clone()).await?)
}

/// Serves, and makes the examples once the server is ready.
async fn tell(app: App, user: &UserName, password: &Secret<String>) -> Result<(), Failure> {
    let (ready, waiting) = oneshot::channel();
    let mut serving = std::pin::pin!(app::serve(app, |app| {
        serve::ready(app);
        greet(app, user, password);
        // Nobody waits only if the server is ending already.
        let _ = ready.send(app.clone());
    }));
    let examples = async {
        if let Ok(app) = waiting.await {
            story::tell_all(&app, user).await;
        }
    };
    tokio::select! {
        served = &mut serving => return Ok(served?),
        () = examples => {}
    }
    Ok(serving.await?)
}

fn greet(app: &App, user: &UserName, password: &Secret<String>) {
    let url = &app.actions.setup().public_url;
    let text = format!(
        "\n  Address   {url}\n  User      {user}\n  Password  {}\n\n\
         Everything is kept in {}; Ctrl-C ends the server, `airlock demo` goes on with it.\n",
        password.expose(),
        app.data.display()
    );
    // Nobody may be reading: the server serves all the same.
    let _ = output::line(&text);
}
