//! `lab demo` itself: finds the stage, plays, judges, and writes what was found.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use super::progress::Progress;
use super::stage::{Play, Stage};
use super::{CONTROL, play};
use crate::cluster::cli::Surroundings;

const PLAY: Play = Play { name: "demo", trigger: "image-digest", pipeline: "ci/pipeline.yml" };

/// Roll three apps to new images under load, then show what `kubectl set image` loses.
#[derive(Debug, Parser)]
pub struct Args {}

/// Runs the demo on the cluster and registry that KUBECONFIG and ROLLWAY_REGISTRY name, else in the lab of the
/// checkout around the current directory. Fails when a promise was not kept.
///
/// # Errors
/// What kept the demo from being played to its end.
pub async fn run(
    surroundings: &Surroundings,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    if ["KUBECONFIG", "ROLLWAY_REGISTRY"].iter().any(|key| environment.get(*key).is_none_or(String::is_empty))
    {
        // `lab exec` sets both and enters the network where the node ports answer.
        let this = &surroundings.executable;
        let error = Command::new(this).args(["exec", "--"]).arg(this).arg("demo").exec();
        return Err(error).context("failed to enter the lab");
    }
    let around =
        surroundings.directory.ancestors().find(|directory| directory.join("k8s/app-foo.yml").exists());
    let checkout =
        around.context("the current directory is in no checkout, so there are no manifests to deploy")?;
    let (text, kept) = demonstrate(checkout, environment).await?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays, and returns what to print and whether every promise was kept.
async fn demonstrate(
    checkout: &Path,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<(String, bool)> {
    let progress = Progress::new();
    let stage = Stage::set(checkout, environment, &PLAY)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let outcome = tokio::select! {
        outcome = play(&stage, &progress) => outcome?,
        // Leaving this function ends every process that the demo started.
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("interrupted"),
    };
    let report = stage.keep("report.json", &outcome)?;
    let broken = outcome.broken_promises();
    let mut text = format!("\n{outcome}\n");
    for promise in &broken {
        text.push_str(&format!("BROKEN PROMISE  {promise}\n"));
    }
    let lost: u64 = outcome.control.lanes.iter().map(|lane| lane.lost).sum();
    if broken.is_empty() {
        text.push_str(&format!(
            "Every promise was kept. The control arm, to Java {}, lost {lost}.\n",
            CONTROL.runtime
        ));
    }
    text.push_str(&format!(
        "{:.0} s in all; the report is in {}",
        progress.elapsed().as_secs_f64(),
        report.display()
    ));
    Ok((text, broken.is_empty()))
}
