//! `lab demo` itself: finds the stage, plays, judges, and writes what was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use super::outcome::Outcome;
use super::progress::Progress;
use super::stage::Stage;
use super::{CONTROL, play};

/// Roll three apps to new images under load, then show what `kubectl set image` loses.
#[derive(Debug, Parser)]
pub struct Args {}

/// Runs the demo on the cluster and registry that KUBECONFIG and ROLLWAY_REGISTRY name, with its files from
/// `checkout`. Returns what to print, and whether every promise was kept.
///
/// # Errors
/// What kept the demo from being played to its end.
pub async fn run(checkout: &Path, environment: &BTreeMap<String, String>) -> anyhow::Result<(String, bool)> {
    let progress = Progress::new();
    let stage = Stage::set(checkout, environment)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let outcome = tokio::select! {
        outcome = play(&stage, &progress) => outcome?,
        // Leaving this function ends every process that the demo started.
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("interrupted"),
    };
    let report = write(&stage, &outcome)?;
    let broken = outcome.broken_promises();
    let mut text = format!("\n{outcome}\n");
    for promise in &broken {
        writeln!(text, "BROKEN PROMISE  {promise}")?;
    }
    let lost: u64 = outcome.control.lanes.iter().map(|lane| lane.lost).sum();
    if broken.is_empty() {
        writeln!(text, "Every promise was kept. The control arm, to Java {}, lost {lost}.", CONTROL.runtime)?;
    }
    write!(text, "{:.0} s in all; the report is in {}", progress.elapsed().as_secs_f64(), report.display())?;
    Ok((text, broken.is_empty()))
}

fn write(stage: &Stage, outcome: &Outcome) -> anyhow::Result<PathBuf> {
    let path = stage.output.join("report.json");
    let text = serde_json::to_string_pretty(outcome)?;
    std::fs::write(&path, text + "\n").with_context(|| format!("failed to write `{}`", path.display()))?;
    Ok(path)
}
