//! `rollway digest`: what a tag points at, for a person or a script.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use secrecy::SecretString;

use super::Surroundings;
use crate::exit::Code;
use crate::failure::Failure;
use crate::image::Pinned;
use crate::registry::{self, Access, Client};

/// Print the digest that a tag points at, as `repository@sha256:…`
#[derive(clap::Args)]
pub struct Args {
    /// The image: `repository` or `repository:tag`
    #[arg(value_name = "REPOSITORY[:TAG]")]
    image: String,
    /// The registry's user; the password is $ROLLWAY_REGISTRY_PASSWORD
    #[arg(long, value_name = "USER")]
    registry_username: Option<String>,
    /// Also try plain http
    #[arg(long)]
    insecure: bool,
    /// A file of PEM certificates to trust beside the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    ca_cert: Vec<PathBuf>,
    /// Show every request
    #[arg(short, long)]
    verbose: bool,
}

/// Runs the command.
///
/// # Errors
///
/// When the registry cannot be asked, or has no such tag.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let (repository, tag) = registry::split(&args.image);
    let tag = tag.unwrap_or("latest");
    let client = Client::connect(repository, &access(&args, surroundings)?, &surroundings.log);
    let client = client.map_err(Failure::from)?;
    let client = if args.verbose { client.traced() } else { client };
    let Some(digest) = client.head(tag).await.map_err(Failure::from)? else {
        bail!("`{repository}:{tag}` is not in the registry");
    };
    surroundings.print(Pinned { repository: repository.to_owned(), digest })?;
    Ok(Code::Done)
}

fn access(args: &Args, surroundings: &Surroundings) -> anyhow::Result<Access> {
    let password = surroundings.vars.get("ROLLWAY_REGISTRY_PASSWORD").cloned().unwrap_or_default();
    let certificates = args.ca_cert.iter().map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))
    });
    Ok(Access {
        username: args.registry_username.clone().unwrap_or_default(),
        password: SecretString::from(password),
        insecure: args.insecure,
        ca_certs: certificates.collect::<anyhow::Result<_>>()?,
    })
}
