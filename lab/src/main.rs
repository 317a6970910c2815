//! The `lab` binary: the local cluster, the sample application's images, load.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use rollway_lab::cluster::cli::Surroundings;
use rollway_lab::{cluster, demo, image, load};

/// The local cluster that the demo and the cluster tests run on, and what runs on it.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
enum Lab {
    #[command(flatten)]
    Cluster(cluster::cli::Command),
    Demo(demo::cli::Args),
    DemoKpack(demo::kpack::cli::Args),
    Image(image::cli::Args),
    Load(load::cli::Args),
}

fn main() -> ExitCode {
    // It fails only when a provider is installed already, and that is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    run(Lab::parse()).unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(lab: Lab) -> anyhow::Result<ExitCode> {
    let runtime = || tokio::runtime::Runtime::new();
    match lab {
        Lab::Cluster(command) => return cluster::cli::run(command, &surroundings()?),
        Lab::Demo(_) => {
            return runtime()?.block_on(demo::cli::run(&surroundings()?, &std::env::vars().collect()));
        }
        Lab::DemoKpack(_) => {
            let environment = std::env::vars().collect();
            return runtime()?.block_on(demo::kpack::cli::run(&surroundings()?, &environment));
        }
        Lab::Image(args) => writeln!(std::io::stdout(), "{}", runtime()?.block_on(image::cli::run(args))?)?,
        Lab::Load(args) => {
            let report = runtime()?.block_on(load::cli::run(args))?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn surroundings() -> anyhow::Result<Surroundings> {
    Ok(Surroundings {
        executable: std::env::current_exe()?,
        directory: std::env::current_dir()?,
        home: std::env::home_dir(),
        path: std::env::var("PATH").unwrap_or_default(),
    })
}
