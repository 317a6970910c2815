//! `rollway digest`: what a tag points at, for a person or a script.

use super::Surroundings;
use super::access::{RegistryArgs, find};
use crate::exit::Code;
use crate::failure::Failure;
use crate::registry::{self, Client};

/// Print the digest that a tag points at, as `repository@sha256:…`
#[derive(clap::Args)]
pub struct Args {
    /// The image: `repository` or `repository:tag`
    #[arg(value_name = "REPOSITORY[:TAG]")]
    image: String,
    /// Show every request
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the command.
///
/// # Errors
///
/// When the registry cannot be asked, or has no such tag.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let (repository, tag) = registry::split(&args.image);
    let access = args.registry.access(surroundings)?;
    let client = Client::connect(repository, &access, &surroundings.log).map_err(Failure::from)?;
    let client = if args.verbose { client.traced() } else { client };
    surroundings.print(find(&client, repository, tag.unwrap_or("latest")).await?)?;
    Ok(Code::Done)
}
