//! `airlock guest import|list|remove`: the guests of a server.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cli::{
        Outcome,
        args::{GuestImport, GuestList, GuestRemove},
        clean,
        failure::{Done, Failure},
        offline, output,
        table::Table,
    },
    domain::verdict::bytes,
};

use super::{Client, show};

pub fn import(args: &GuestImport) -> Done {
    offline::block_on(async {
        let name = match &args.name {
            Some(name) => name.clone(),
            None => named(&args.file)?,
        };
        let client = Client::new(&args.how.reach)?;
        let path = format!("/guests?name={}&interpreter={}", Client::part(&name), args.interpreter);
        let guest = client.send_file(client.request(Method::POST, &path), "application/wasm", &args.file).await?;
        if args.how.shown.json {
            return output::json(&guest);
        }
        let (name, kind, size) = (show::text(&guest, "name"), show::text(&guest, "kind"), size(&guest));
        output::line(&format!("{name} is registered ({kind}, {size})\n  {}", show::text(&guest, "digest")))
    })?;
    Ok(Outcome::Done)
}

/// What a file is called, without its ending.
fn named(file: &Path) -> Result<String, Failure> {
    let name = file.file_stem().and_then(|name| name.to_str()).map(str::to_lowercase);
    name.ok_or_else(|| Failure::usage("give the guest a name: --name NAME"))
}

pub fn list(args: &GuestList) -> Done {
    offline::block_on(async {
        let guests = Client::new(&args.how.reach)?.list("/guests", &[], usize::MAX).await?;
        if args.how.shown.json {
            return output::json(&json!({"items": guests, "next": null}));
        }
        let mut table = Table::new(&["NAME", "KIND", "SIZE", "DIGEST", "IMPORTED BY"]);
        for guest in &guests {
            let by = guest["imported_by"].as_str().unwrap_or("comes with Airlock");
            let digest: String = show::text(guest, "digest").chars().take(19).collect();
            table.row([show::text(guest, "name"), show::text(guest, "kind"), size(guest), digest, clean::line(by)]);
        }
        output::line(&table.to_string())
    })?;
    Ok(Outcome::Done)
}

pub fn remove(args: &GuestRemove) -> Done {
    offline::block_on(async {
        Client::new(&args.how.reach)?.delete(&format!("/guests/{}", Client::part(args.name.as_str()))).await?;
        if args.how.shown.json { output::json(&json!({})) } else { output::line(&format!("{} is removed", args.name)) }
    })?;
    Ok(Outcome::Done)
}

fn size(guest: &Value) -> String {
    guest["size"].as_u64().map(bytes).unwrap_or_default()
}
