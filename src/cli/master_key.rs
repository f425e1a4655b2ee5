//! `airlock master-key`: a new master key, through the server or on the data directory.

use serde_json::{Value, json};

use crate::auth::Permission;

use super::{
    Outcome,
    args::{self, MasterKeyVerb, Place},
    failure::{Done, Failure},
    offline::{self, Site, permitted},
    output,
};

pub(super) fn run(args: &args::MasterKey) -> Done {
    offline::block_on(async {
        match &args.verb {
            MasterKeyVerb::Rotate { place } => rotate(place).await,
        }
    })?;
    Ok(Outcome::Done)
}

async fn rotate(place: &Place) -> Result<(), Failure> {
    let rotated = match Site::find(place)? {
        Site::Server(client) => client.post("/master-key/rotate", &json!({})).await?,
        Site::Data(app) => {
            let permit = permitted(&app, Permission::ManageSystem)?;
            let rotated = app.actions.rotate_master_key(&permit).await?;
            json!({"key": rotated.key, "records": rotated.records, "resumed": rotated.resumed})
        }
    };
    if place.shown.json {
        return output::json(&rotated);
    }
    output::line(&told(&rotated))?;
    output::note("backups made before need the old key: make a new one, and erase those that should not be readable");
    Ok(())
}

fn told(rotated: &Value) -> String {
    let key = super::clean::line(rotated["key"].as_str().unwrap_or_default());
    let records = rotated["records"].as_u64().unwrap_or_default();
    let resumed = if rotated["resumed"] == true { "; a rotation that had been broken off is finished" } else { "" };
    format!("everything is sealed with the master key {key} now ({records} records){resumed}")
}
