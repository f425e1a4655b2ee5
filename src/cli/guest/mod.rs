//! `airlock guest`: WASI guests at hand, without a server.
//!
//! | file | what |
//! | --- | --- |
//! | `run` | what the flags ask for, as a chain with one guest |
//! | `trial` | that chain, carried out by a runner of its own in a directory of its own |
//! | `show` | how it ended, for people and as JSON |
//! | `inspect` | what a file is |

mod inspect;
mod run;
mod show;
mod trial;

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::{
    args::{Guest, GuestVerb},
    client,
    failure::{Done, Failure},
};
use crate::{
    domain::{limits, verdict::bytes},
    guest::bundled,
};

pub fn verb(args: &Guest) -> Done {
    match &args.verb {
        GuestVerb::Import(args) => client::guest_import(args),
        GuestVerb::List(args) => client::guest_list(args),
        GuestVerb::Remove(args) => client::guest_remove(args),
        GuestVerb::Run(args) => run::run(args),
        GuestVerb::Inspect(args) => inspect::run(args),
    }
}

/// The bytes of a guest: of a file, else of the bundled guest of that name.
fn code(file: &Path) -> Result<Vec<u8>, Failure> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let named = file.to_str().and_then(bundled).ok_or_else(|| Failure::file("open", file, &error))?;
            return Ok(named.code.to_vec());
        }
        Err(error) => return Err(Failure::file("open", file, &error)),
    };
    let mut code = Vec::new();
    opened
        .take(limits::GUEST_CODE_BYTES + 1)
        .read_to_end(&mut code)
        .map_err(|error| Failure::file("read", file, &error))?;
    if code.len() as u64 > limits::GUEST_CODE_BYTES {
        let most = bytes(limits::GUEST_CODE_BYTES);
        return Err(Failure::refused(format_args!("{}: a guest has at most {most}", file.display())));
    }
    Ok(code)
}
