//! What happens without anybody asking: at the start, and as time goes by.
//!
//! Slots are given in the transaction that frees or asks for one (`actions`); this module only looks
//! after what no transaction triggers: runs that wait for the disk, things whose time is up, and
//! what a crash left behind.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{actions::Actions, dispatch};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(15);
/// Ticks between two clean-ups of the disk.
const SWEEP_EVERY: u64 = 240;

/// Puts right what a crash may have left: every waiting run is looked at again.
pub async fn recover(actions: &Actions) -> Result<(), crate::actions::Error> {
    resume_rotation(actions).await;
    actions.make_entropy().await?;
    actions.look_again().await?;
    actions.sweep_sealed()?;
    actions.clear_incoming();
    actions.clear_drafts().await?;
    actions.clear_images()?;
    clear_strays(actions);
    Ok(())
}

/// Removes what belongs to no run any more: guests that were compiled or judged, branches that were
/// looked up.
fn clear_strays(actions: &Actions) {
    // Whoever cannot be looked up may be one.
    let is_run = |id| actions.is_run(id).unwrap_or(true);
    if let Err(error) = dispatch::clear_strays(&actions.live_runs(), is_run) {
        tracing::warn!(%error, "what a killed server left cannot be removed");
    }
}

/// Goes on with a rotation of the master key that was broken off. What keeps it from ending (a full
/// disk, a record that cannot be opened) does not keep the server from serving: both keys are there.
async fn resume_rotation(actions: &Actions) {
    match actions.resume_rotation().await {
        Ok(None) => {}
        Ok(Some(rotated)) => tracing::info!(key = rotated.key, "a rotation of the master key was finished"),
        Err(error) => tracing::error!(%error, "the rotation of the master key cannot be finished"),
    }
}

/// Looks after time, after what follows from runs that ended, and after who is told of what, until the
/// server stops.
pub async fn run(actions: Actions, stop: CancellationToken) {
    tokio::join!(
        time(actions.clone(), stop.clone()),
        followers(actions.clone(), stop.clone()),
        listeners(actions, stop)
    );
}

/// Asks notification policies about changes of state.
async fn listeners(actions: Actions, stop: CancellationToken) {
    let mut bell = actions.bells().hear_work();
    loop {
        bell.mark_unchanged();
        let told = tokio::select! {
            () = stop.cancelled() => return,
            told = actions.tell() => told,
        };
        if let Err(error) = told {
            tracing::error!(%error, "nobody can be told of changes of state");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = bell.changed() => if changed.is_err() { return },
        }
    }
}

/// Asks trigger policies about runs that have ended, and triggers what they say.
async fn followers(actions: Actions, stop: CancellationToken) {
    let mut bell = actions.bells().hear_work();
    loop {
        bell.mark_unchanged();
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = actions.follow_up() => done,
        };
        if let Err(error) = done {
            tracing::error!(%error, "what follows a run cannot be triggered");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = bell.changed() => if changed.is_err() { return },
        }
    }
}

async fn time(actions: Actions, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0_u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        tick(&actions, count).await;
        count += 1;
    }
    actions.write_strangers().await;
}

async fn tick(actions: &Actions, count: u64) {
    let told = |what: &str, result: Result<(), crate::actions::Error>| {
        if let Err(error) = result {
            tracing::error!(%error, "cannot {what}");
        }
    };
    told("expire what is too old", actions.expire().await.map(drop));
    told("look at waiting runs", actions.look_again().await);
    // Chores that failed, such as on a full disk, are tried again.
    actions.bells().ring_work();
    if count % 4 == 3 {
        resume_rotation(actions).await;
        actions.write_strangers().await;
    }
    if count % SWEEP_EVERY == 1 {
        told("remove old uploads", actions.sweep_uploads().map(drop));
        told("remove old images", actions.sweep_images().map(drop));
        told("remove what guests left", actions.sweep_artifacts().await.map(drop));
        told("remove what deleted stacks left", actions.sweep_stacks().map(drop));
        told("remove old logs", actions.sweep_logs().await.map(drop));
    }
}
