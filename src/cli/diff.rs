//! `rollway diff`: what changed between two images, from their own labels and configs.

use anyhow::Context as _;
use serde_json::json;

use super::Surroundings;
use super::access::{RegistryArgs, resolve};
use super::output::{Output, OutputArgs};
use crate::exit::Code;
use crate::failure::Failure;
use crate::image::diff::{Diff, Side};
use crate::image::{Pinned, Platform};
use crate::registry::{Access, Client, Description};

/// Show what changed from one image to another: run image, buildpacks, application, config
#[derive(clap::Args)]
pub struct Args {
    /// The image that there was: `repository:tag` or `repository@sha256:…`
    old: String,
    /// The image that there is: the same, or only `:tag` or `@sha256:…` of the same repository
    new: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the command.
///
/// # Errors
///
/// When an image is not in its registry, or is no image.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let access = args.registry.access(surroundings)?;
    let (old, _) = resolve(&args.old, &access, &surroundings.log).await?;
    let new = match args.new.strip_prefix([':', '@']) {
        Some(_) => format!("{}{}", old.repository, args.new),
        None => args.new,
    };
    let (new, _) = resolve(&new, &access, &surroundings.log).await?;
    let (from, to) =
        (describe(&old, &access, surroundings).await?, describe(&new, &access, surroundings).await?);
    let diff = Diff::between(&side(&old, &from)?, &side(&new, &to)?);
    match args.output.output {
        Output::Text => surroundings.print(&diff)?,
        Output::Json => {
            let mut document = json!({"from": old.to_string(), "to": new.to_string()});
            document["diff"] = serde_json::to_value(&diff)?;
            surroundings.print(document)?;
        }
    }
    Ok(Code::Done)
}

async fn describe(
    image: &Pinned,
    access: &Access,
    surroundings: &Surroundings,
) -> anyhow::Result<Description> {
    let client = Client::connect(&image.repository, access, &surroundings.log).map_err(Failure::from)?;
    let platform = Platform::here();
    let described = client.describe(image.digest.as_str(), &platform).await.map_err(Failure::from)?;
    described.with_context(|| format!("`{image}` is not in the registry"))
}

fn side<'a>(image: &'a Pinned, described: &'a Description) -> anyhow::Result<Side<'a>> {
    let config = described.config.as_ref();
    let config = config.with_context(|| format!("`{image}` is not an image: it has no config"))?;
    Ok(Side { digest: &image.digest, config, layers: &described.layers })
}
