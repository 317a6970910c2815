//! The `lab` binary: the local cluster, the sample application's images, load.

use std::io::Write as _;

use clap::Parser;
use rollway_lab::{image, load};

/// The local cluster that the demo and the cluster tests run on, and what runs on it.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
enum Lab {
    Image(image::cli::Args),
    Load(load::cli::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Lab::parse() {
        Lab::Image(args) => writeln!(std::io::stdout(), "{}", image::cli::run(args).await?)?,
        Lab::Load(args) => {
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&load::cli::run(args).await?)?)?;
        }
    }
    Ok(())
}
