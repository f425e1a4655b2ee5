//! The files in `static/`, inside the binary, under addresses that change with their content.
//!
//! Owns the table of assets. An address is `/static/<name>.<hash>.<ext>`, where the hash is the
//! first ten hexadecimal digits of the content's SHA-256: whoever has it may keep it for ever.

use std::{collections::BTreeMap, sync::LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use include_dir::{Dir, include_dir};

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/static");
static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// A year, and never asked for again: the content cannot change under this address.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// One file with its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    pub bytes: &'static [u8],
    pub content_type: &'static str,
}

#[derive(Debug)]
struct Table {
    /// `app.css` → `/static/app.0a1b2c3d4e.css`.
    urls: BTreeMap<&'static str, String>,
    /// `app.0a1b2c3d4e.css` → the file.
    served: BTreeMap<String, Asset>,
}

impl Table {
    fn new() -> Self {
        let mut table = Self { urls: BTreeMap::new(), served: BTreeMap::new() };
        for file in FILES.files() {
            let Some((stem, name, content_type)) = parts(file.path()) else { continue };
            let hash = hex::encode(&digest(&SHA256, file.contents()).as_ref()[..5]);
            let extension = &name[stem.len()..];
            let hashed = format!("{stem}.{hash}{extension}");
            table.urls.insert(name, format!("/static/{hashed}"));
            table.served.insert(hashed, Asset { bytes: file.contents(), content_type });
        }
        table
    }
}

/// Stem, whole name and type of a file that browsers may have; notes and licences are not served.
fn parts(path: &'static std::path::Path) -> Option<(&'static str, &'static str, &'static str)> {
    let content_type = match path.extension()?.to_str()? {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    };
    Some((path.file_stem()?.to_str()?, path.file_name()?.to_str()?, content_type))
}

/// The address of an asset, for templates: `url("app.css")`.
///
/// A name that does not exist gives an address that answers 404; the gallery test follows them all.
pub fn url(name: &str) -> &str {
    TABLE.urls.get(name).map_or(name, String::as_str)
}

/// The asset behind the part of an address after `/static/`.
pub fn find(hashed_name: &str) -> Option<Asset> {
    TABLE.served.get(hashed_name).copied()
}

/// `GET /static/{name}`.
#[allow(clippy::unused_async, reason = "axum calls nothing else")]
pub async fn serve(Path(name): Path<String>) -> Response {
    match find(&name) {
        Some(asset) => ([(header::CONTENT_TYPE, asset.content_type), (header::CACHE_CONTROL, FOR_EVER)], asset.bytes)
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_carries_the_hash_of_the_content_and_leads_to_it() {
        let address = url("app.css");
        let name = address.strip_prefix("/static/").unwrap();
        assert_eq!(name.split('.').count(), 3, "{name}");
        assert_eq!(find(name).unwrap().content_type, "text/css; charset=utf-8");
        assert_eq!(find("app.css"), None, "without the hash there is nothing to keep for ever");
        assert_eq!(find("htmx.LICENSE.txt"), None);
    }
}
