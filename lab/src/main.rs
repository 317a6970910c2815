//! The `lab` binary: the local cluster, the sample application's images, load.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use rollway_lab::{demo, image, load};

/// The local cluster that the demo and the cluster tests run on, and what runs on it.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
enum Lab {
    Demo(demo::cli::Args),
    Image(image::cli::Args),
    Load(load::cli::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Lab::parse() {
        Lab::Demo(_) => {
            let checkout = std::env::current_dir()?;
            let (text, kept) = demo::cli::run(&checkout, &std::env::vars().collect()).await?;
            writeln!(std::io::stdout(), "{text}")?;
            return Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Lab::Image(args) => writeln!(std::io::stdout(), "{}", image::cli::run(args).await?)?,
        Lab::Load(args) => {
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&load::cli::run(args).await?)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
