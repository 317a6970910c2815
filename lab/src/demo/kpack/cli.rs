//! `lab demo-kpack` itself: finds the lab and its kpack, plays, judges, and writes what was found.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use super::fleet::Fleet;
use super::play;
use crate::cluster::Lab;
use crate::cluster::cli::Surroundings;
use crate::demo::progress::Progress;
use crate::demo::stage::{Play, Stage};

const PLAY: Play = Play { name: "demo-kpack", trigger: "kpack-trigger", pipeline: "pipelines/kpack.yml" };

/// Let kpack patch three apps, and their pipelines roll them, under load.
#[derive(Debug, Parser)]
pub struct Args {}

/// Runs the demo in the lab of the checkout around the current directory, which must have a kpack. Fails when a
/// promise was not kept.
///
/// # Errors
/// What kept the demo from being played to its end.
pub async fn run(
    surroundings: &Surroundings,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let around = surroundings.directory.ancestors().find(|directory| directory.join("kpack/images").exists());
    let checkout = around.context("the current directory is in no checkout, so there is nothing to build")?;
    let lab = Lab::load(checkout)?;
    let kpack = lab.kpack.context("the lab has no kpack; `make lab-down lab-up WITH=kpack` starts one")?;
    if environment.get("ROLLWAY_REGISTRY") != Some(&lab.registry.plain) {
        // `lab exec` sets it and enters the network where the node ports answer.
        let this = &surroundings.executable;
        let error = Command::new(this).args(["exec", "--"]).arg(this).arg("demo-kpack").exec();
        return Err(error).context("failed to enter the lab");
    }
    let progress = Progress::new();
    let stage = Stage::set(checkout, environment, &PLAY)?;
    let fleet = Fleet { kubectl: &stage.kubectl, manifests: &kpack.manifests };
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let outcome = tokio::select! {
        outcome = play(&stage, &fleet, &progress) => outcome?,
        // Leaving this function ends every process that the demo started.
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("interrupted"),
    };
    let report = stage.keep("report.json", &outcome)?;
    let broken = outcome.broken_promises();
    let mut text = format!("\n{outcome}");
    for promise in &broken {
        text.push_str(&format!("BROKEN PROMISE  {promise}\n"));
    }
    if broken.is_empty() {
        text.push_str("Every promise was kept.\n");
    }
    let seconds = progress.elapsed().as_secs_f64();
    writeln!(std::io::stdout(), "{text}{seconds:.0} s in all; the report is in {}", report.display())?;
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
