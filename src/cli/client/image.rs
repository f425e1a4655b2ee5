//! `airlock image import|list|remove`: the images of a server.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cli::{
        Outcome,
        args::{Image, ImageImport, ImageList, ImageRemove, ImageVerb},
        clean,
        failure::{Done, Failure},
        offline, output,
        table::Table,
    },
    domain::verdict::bytes,
};

use super::{Client, show};

/// Endings of archives, the longer ones first.
const ENDINGS: [&str; 4] = [".tar.zst", ".tar.gz", ".tgz", ".tar"];

pub fn verb(args: &Image) -> Done {
    match &args.verb {
        ImageVerb::Import(args) => import(args),
        ImageVerb::List(args) => list(args),
        ImageVerb::Remove(args) => remove(args),
    }
}

fn import(args: &ImageImport) -> Done {
    offline::block_on(async {
        let name = match &args.name {
            Some(name) => name.clone(),
            None => named(&args.file)?,
        };
        let client = Client::new(&args.how.reach)?;
        let path = format!("/images?name={}", Client::part(&name));
        let image = client.send_file(client.request(Method::POST, &path), "application/x-tar", &args.file).await?;
        if args.how.shown.json {
            return output::json(&image);
        }
        let (name, size, layers) = (show::text(&image, "name"), size(&image), &image["layers"]);
        output::line(&format!("{name} is unpacked ({size}, layers: {layers})\n  {}", show::text(&image, "digest")))
    })?;
    Ok(Outcome::Done)
}

/// What a file is called, without its ending.
fn named(file: &Path) -> Result<String, Failure> {
    let name = file.file_name().and_then(|name| name.to_str()).map(str::to_lowercase);
    let name = name.ok_or_else(|| Failure::usage("give the image a name: --name NAME"))?;
    let plain = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
    Ok(plain.unwrap_or(&name).to_owned())
}

fn list(args: &ImageList) -> Done {
    offline::block_on(async {
        let images = Client::new(&args.how.reach)?.list("/images", &[], usize::MAX).await?;
        if args.how.shown.json {
            return output::json(&json!({"items": images, "next": null}));
        }
        let mut table = Table::new(&["NAME", "SIZE", "LAYERS", "DIGEST", "IMPORTED BY"]);
        for image in &images {
            let by = clean::line(image["imported_by"].as_str().unwrap_or_default());
            let digest: String = show::text(image, "digest").chars().take(19).collect();
            table.row([show::text(image, "name"), size(image), image["layers"].to_string(), digest, by]);
        }
        output::line(&table.to_string())
    })?;
    Ok(Outcome::Done)
}

fn remove(args: &ImageRemove) -> Done {
    offline::block_on(async {
        Client::new(&args.how.reach)?.delete(&format!("/images/{}", Client::part(args.name.as_str()))).await?;
        if args.how.shown.json { output::json(&json!({})) } else { output::line(&format!("{} is removed", args.name)) }
    })?;
    Ok(Outcome::Done)
}

fn size(image: &Value) -> String {
    image["size"].as_u64().map(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_called_what_its_file_is_called() {
        for (file, name) in [("a/Tools.tar.gz", "tools"), ("tools-1.2.tar", "tools-1.2"), ("odd", "odd")] {
            assert_eq!(named(Path::new(file)).unwrap(), name);
        }
    }
}
