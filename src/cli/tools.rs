//! `airlock completions`, `airlock man`.

use std::{fs, path::Path};

use clap::CommandFactory as _;

use super::{
    Outcome,
    args::{Args, Completions, Man},
    failure::{Done, Failure},
    output,
};

pub(super) fn completions(args: &Completions) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "airlock", &mut script);
    output::raw(&script)?;
    Ok(Outcome::Done)
}

pub(super) fn man(args: &Man) -> Done {
    match &args.dir {
        Some(dir) => write_all(dir)?,
        None => output::raw(&page(Args::command())?)?,
    }
    Ok(Outcome::Done)
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).manual("Airlock").render(&mut page).map_err(Failure::failed)?;
    Ok(page)
}

/// `airlock.1`, `airlock-run.1`, `airlock-run-trigger.1`, …
fn write_all(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::file("make", dir, &error))?;
    clap_mangen::generate_to(Args::command(), dir).map_err(|error| Failure::file("write pages into", dir, &error))
}
