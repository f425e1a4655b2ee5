//! user, api-key.

use std::{path::PathBuf, str::FromStr};

use clap::Subcommand;

use crate::domain::{KeyId, Role, Slug, UserName};

use super::{Offline, Reach, Shown};

/// People: invite, list, set passwords, switch off
///
/// Through the server that `airlock login` or AIRLOCK_URL names, or on a data directory (`--data`)
/// that no server holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock user add mia --role shop=writer     prints a link with which mia chooses a password
  airlock user add root2 --admin --data /srv/airlock
  airlock user passwd admin --data /srv/airlock
  airlock user disable mia")]
pub struct User {
    #[command(subcommand)]
    pub verb: UserVerb,
}

#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Invite a person: prints a link with which they choose their password
    Add {
        /// Name to sign in with
        name: UserName,
        #[command(flatten)]
        rights: Rights,
        #[command(flatten)]
        place: Place,
    },
    /// Set a password on a data directory; through a server: print a link with which they choose one
    Passwd {
        /// Name to sign in with
        name: UserName,
        #[command(flatten)]
        secret: NewSecret,
        #[command(flatten)]
        place: Place,
    },
    /// List everybody
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Switch a person off; their sessions end, their runs go on
    Disable {
        /// Name to sign in with
        name: UserName,
        #[command(flatten)]
        place: Place,
    },
}

/// The master key, under which everything secret is sealed
///
/// Through the server that `airlock login` or AIRLOCK_URL names, or on a data directory (`--data`)
/// that no server holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock master-key rotate
  airlock master-key rotate --data /srv/airlock")]
pub struct MasterKey {
    #[command(subcommand)]
    pub verb: MasterKeyVerb,
}

#[derive(Debug, Subcommand)]
pub enum MasterKeyVerb {
    /// Make a new key, seal everything with it, erase the old one; runs go on meanwhile
    Rotate {
        #[command(flatten)]
        place: Place,
    },
}

/// API keys: make, list, revoke
///
/// Through the server that `airlock login` or AIRLOCK_URL names, or on a data directory (`--data`)
/// that no server holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples
  airlock api-key create ci --role shop=writer --expires 90d
  airlock api-key list
  airlock api-key revoke key_01K9…")]
pub struct ApiKey {
    #[command(subcommand)]
    pub verb: ApiKeyVerb,
}

#[derive(Debug, Subcommand)]
pub enum ApiKeyVerb {
    /// Make a key; its secret is printed this once
    Create {
        /// What it is for, such as ci
        name: UserName,
        #[command(flatten)]
        rights: Rights,
        /// When it ends: a time (2030-01-31T00:00:00Z), or days, hours from now (90d, 12h)
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// List all keys, the newest first
    List {
        #[command(flatten)]
        place: Place,
    },
    /// End a key at once, with every token made from it
    Revoke {
        /// The key's id, such as key_01K9…
        key: KeyId,
        #[command(flatten)]
        place: Place,
    },
}

/// What somebody may do.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Rights {
    /// May do everything
    #[arg(long)]
    pub admin: bool,
    /// A role on a stack: STACK=reader|writer|admin; may be given several times
    #[arg(long = "role", value_name = "STACK=ROLE")]
    pub roles: Vec<RoleOn>,
}

/// `STACK=ROLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleOn {
    pub stack: Slug,
    pub role: Role,
}

impl FromStr for RoleOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (stack, word) = text.split_once('=').ok_or("is not STACK=ROLE, such as shop=writer")?;
        let role = Role::ALL.into_iter().find(|role| role.word() == word);
        Ok(Self {
            stack: stack.parse().map_err(|error| format!("the stack `{stack}`: {error}"))?,
            role: role.ok_or_else(|| format!("`{word}` is none of reader, writer, admin"))?,
        })
    }
}

/// Where a password comes from. Never from the command line, which others can read.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NewSecret {
    /// Read the password from this file's first line [default: ask on the terminal]
    #[arg(long, value_name = "FILE", requires = "data")]
    pub password_file: Option<PathBuf>,
}

/// The server, or a data directory without one.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Place {
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub offline: Offline,
    #[command(flatten)]
    pub reach: Reach,
}
