//! `rollway plan`: everything that a rollout would look at before its first write, and what it would
//! then do. Nothing is written.

use super::Surroundings;
use super::access::{ClusterArgs, RegistryArgs};
use super::order::OrderArgs;
use super::output::{Output, OutputArgs};
use super::workload::Workload;
use crate::exit::Code;
use crate::failure::Failure;
use crate::rollout::Target;
use crate::rollout::driver::lines::Lines;
use crate::rollout::driver::{self, Site};
use crate::rollout::preflight::facts::Facts;
use crate::rollout::report::plan::Plan;

/// What the exit codes mean, below the help.
const CODES: &str = "\
Exit codes:
  0  a rollout would start (warnings stop it only with --strict)
  1  it could not be found out
  2  the command line is wrong
  3  warnings stop it, because of --strict
  4  a rule stops it";

/// Show what a rollout would change, what the rules say about it, and how it would go
#[derive(clap::Args)]
#[command(after_help = CODES)]
pub struct Args {
    /// The workload: a Deployment's name, `statefulset/NAME` or `daemonset/NAME`
    workload: Workload,
    /// The image: `repository@sha256:…`, or `repository:tag` to use what the tag points at now
    image: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the command.
///
/// # Errors
///
/// When the image or the workload is not there, or nobody answers.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let terms = args.order.terms()?;
    let access = args.registry.access(surroundings)?;
    let order = terms.order(&args.image, &access, &surroundings.log).await?;
    let cluster = args.cluster.connect(surroundings).await?;
    let target = Target {
        namespace: cluster.namespace.clone(),
        kind: args.workload.kind,
        name: args.workload.name.clone(),
        containers: args.order.containers(),
    };
    let reporter = Lines::to(surroundings.log.clone());
    let site = Site {
        cluster: &cluster,
        registry: &access,
        log: &surroundings.log,
        reporter: &reporter,
        interrupted: surroundings.interrupted.clone(),
    };
    let found = driver::plan(&site, &target, &order).await.map_err(Failure::from)?;
    if let Some(why) = &found.registry_trouble {
        surroundings.log.line(format_args!("warning: cannot ask the registry about {}: {why}", order.image));
    }
    let facts =
        Facts { snapshot: &found.snapshot, order: &order, choice: &found.choice, survey: &found.survey };
    let command = format!(
        "rollway roll {}/{} {}{}{}{}",
        target.kind.word(),
        target.name,
        order.image,
        args.cluster.options(&target.namespace),
        args.registry.options(),
        args.order.options(&order)
    );
    let plan = Plan { facts, findings: &found.findings, command: &command };
    match args.output.output {
        Output::Text => surroundings.print(plan.lines().join("\n"))?,
        Output::Json => surroundings.print(plan.json())?,
    }
    Ok(plan.outlook().code())
}
