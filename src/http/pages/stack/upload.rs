//! An uploaded source on its way to a file: streamed, bounded, never held in memory.

use std::path::{Path, PathBuf};

use axum::extract::{FromRequest as _, Multipart, Request, multipart::Field};
use tokio::io::AsyncWriteExt as _;
use ulid::Ulid;

use crate::{
    domain::{Refused, RefusedKind, limits, verdict::bytes},
    http::{Problem, Web},
};

/// A file that is removed unless somebody takes it over.
#[derive(Debug)]
pub struct Scratch(Option<PathBuf>);

impl Scratch {
    /// Whoever takes the path removes the file.
    pub fn into_path(mut self) -> PathBuf {
        self.0.take().unwrap_or_default()
    }

    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(%error, "a scratch file was gone already");
        }
    }
}

/// Writes the file of an upload's form where it may be taken over.
pub async fn receive(web: &Web, request: Request) -> Result<Result<Scratch, Refused>, Problem> {
    if !web.actions.has_room() {
        return Err(Problem::unavailable("the disk is nearly full; nothing new is stored"));
    }
    let mut form = Multipart::from_request(request, web).await.map_err(|error| refused(&error.body_text()))?;
    loop {
        match form.next_field().await {
            Err(error) => return Ok(Err(Refused::invalid(format!("the upload was cut short: {}", error.body_text())))),
            Ok(None) => return Ok(Err(Refused::field("source", "choose a file"))),
            Ok(Some(field)) if field.name() == Some("source") => return write(web, field).await,
            Ok(Some(_)) => {}
        }
    }
}

fn refused(text: &str) -> Problem {
    Refused::invalid(format!("the form cannot be read: {text}")).into()
}

async fn write(web: &Web, mut field: Field<'_>) -> Result<Result<Scratch, Refused>, Problem> {
    let failed = |error: std::io::Error| {
        tracing::error!(%error, "an upload could not be written");
        Problem::internal()
    };
    let dir = web.actions.upload_scratch();
    tokio::fs::create_dir_all(&dir).await.map_err(failed)?;
    let scratch = Scratch(Some(dir.join(Ulid::generate().to_string())));
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(scratch.path()).await.map_err(failed)?;
    let mut written = 0;
    loop {
        match field.chunk().await {
            Err(error) => return Ok(Err(Refused::invalid(format!("the upload was cut short: {}", error.body_text())))),
            Ok(None) => break,
            Ok(Some(piece)) => {
                written += piece.len() as u64;
                if written > limits::SOURCE_BYTES {
                    let why = format!("the file has more than {}", bytes(limits::SOURCE_BYTES));
                    return Ok(Err(Refused::new(RefusedKind::TooLarge, why)));
                }
                file.write_all(&piece).await.map_err(failed)?;
            }
        }
    }
    file.flush().await.map_err(failed)?;
    if written == 0 {
        return Ok(Err(Refused::field("source", "choose a file")));
    }
    Ok(Ok(scratch))
}
