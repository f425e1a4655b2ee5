//! image.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::How;
use crate::domain::ImageName;

/// Roots with other programs than the host's, for stacks and tasks
#[derive(Clone, Debug, Args)]
pub struct Image {
    #[command(subcommand)]
    pub verb: ImageVerb,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ImageVerb {
    Import(ImageImport),
    List(ImageList),
    Remove(ImageRemove),
}

/// Unpack an image on a server
///
/// What has the name already is replaced; runs that have begun go on with what they began with. Stacks
/// name an image as `executor.image`, declared tasks as `type: image:NAME`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples
  docker save tools:1 -o tools.tar && airlock image import tools.tar --name tools:1
  airlock image import rootfs.tar.zst")]
pub struct ImageImport {
    /// What `docker save` writes, an OCI layout as tar, or a root as tar; plain, gzip or zstd
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What stacks and tasks will call it [default: the file's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub how: How,
}

/// List the images that stacks and tasks may name
#[derive(Clone, Debug, Args)]
pub struct ImageList {
    #[command(flatten)]
    pub how: How,
}

/// Remove an image that no stack names any more
#[derive(Clone, Debug, Args)]
pub struct ImageRemove {
    /// Its name
    pub name: ImageName,
    #[command(flatten)]
    pub how: How,
}
