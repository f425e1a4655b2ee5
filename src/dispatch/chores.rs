//! What runs leave to be done: seals to destroy, workspaces to remove, logs to file away.

use std::{fs, io, path::Path};

use crate::{
    actions::{Actions, Chore, Chores},
    domain::RunId,
    log, protocol,
    workspace::{self, SealPaths},
};

/// Does everything that waits. What fails stays and is tried again, and so does the filing away of a run
/// that is still attended to; whoever attends rings when it is done.
pub(super) async fn perform(actions: &Actions, is_attended: impl Fn(RunId) -> bool) {
    let waiting = match actions.chores() {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::error!(%error, "chores cannot be looked up");
            return;
        }
    };
    for chores in waiting {
        let run = chores.run;
        // Asked after the row was read: who begins to attend from now on sees first that the chain is over.
        let leave = is_attended(run);
        let done = match tokio::task::spawn_blocking(move || carry_out(&chores, leave)).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%run, %error, "a chore ended in a panic");
                continue;
            }
        };
        if done == Chore::default() {
            continue;
        }
        if let Err(error) = actions.chores_done(run, done).await {
            tracing::error!(%run, %error, "a chore was done but could not be crossed off");
        }
    }
}

/// Does what it can; says what is done.
fn carry_out(chores: &Chores, leave_directory: bool) -> Chore {
    let mut done = Chore::default();
    let tried = |what: &str, result: io::Result<()>| match result {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(run = %chores.run, %error, "cannot {what}");
            false
        }
    };
    if chores.what.destroy_seal {
        let erased = workspace::erase(&SealPaths { sealed: chores.sealed.clone(), erase: chores.erase.clone() })
            .map_err(io::Error::other);
        done.destroy_seal = tried("destroy a seal", erased);
    }
    if chores.what.remove_workspace {
        done.remove_workspace = tried("remove a workspace", remove_trees(chores));
    }
    if chores.what.file_away && chores.ended && !leave_directory {
        done.file_away = tried("file logs away", file_away(chores));
    }
    done
}

fn remove_trees(chores: &Chores) -> io::Result<()> {
    for (_, dir) in &chores.chains {
        workspace::remove_tree(&dir.join(protocol::file::TREE)).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Compresses every log, then removes everything live of the run.
fn file_away(chores: &Chores) -> io::Result<()> {
    fs::create_dir_all(&chores.logs)?;
    for (chain, number, phase) in &chores.phases {
        let Some((_, dir)) = chores.chains.iter().find(|(n, _)| n == chain) else { continue };
        let text = dir.join(protocol::file::log(*number, *phase));
        let index = dir.join(protocol::file::index(*number, *phase));
        let place = finished_log(&chores.logs, *number);
        if text.exists() && !place.exists() {
            log::compress(&text, &index, &place).map_err(io::Error::other)?;
        }
    }
    remove_trees(chores)?;
    match fs::remove_dir_all(&chores.live) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where a finished log lies.
fn finished_log(logs: &Path, number: u32) -> std::path::PathBuf {
    logs.join(format!("{number:02}.log.zst"))
}
