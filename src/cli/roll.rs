//! `rollway roll`: what the rollout resource's put does, for a person at a terminal.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Surroundings;
use super::access::{ClusterArgs, RegistryArgs, resolve};
use super::live::Live;
use super::order::OrderArgs;
use super::output::{Output, OutputArgs};
use super::workload::Workload;
use crate::exit::Code;
use crate::failure::Failure;
use crate::rollout::driver::lines::Lines;
use crate::rollout::driver::record::Recorder;
use crate::rollout::driver::{self, Site};
use crate::rollout::outcome::Report;
use crate::rollout::report::Reporter;
use crate::rollout::{Ending, Target};

/// What the exit codes mean, below the help.
const CODES: &str = "\
Exit codes:
  0    every pod runs the image, now or already
  1    it could not be tried, or failed for a reason of its own
  2    the command line is wrong
  4    a rule forbids to start; nothing was written
  5    the new pods did not come up; the image from before is back
  6    the new pods did not come up; the new image stays
  7    somebody else wrote another image meanwhile
  8    the workload's owner put the image from before back
  9    somebody paused the workload meanwhile
  10   the API server was out of sight for too long; the outcome is unknown
  143  interrupted; what was left behind is on stderr";

/// Roll a workload to an image and prove that every pod runs it
#[derive(clap::Args)]
#[command(after_help = CODES)]
pub struct Args {
    /// The workload: a Deployment's name, `statefulset/NAME` or `daemonset/NAME`
    workload: Workload,
    /// The image: `repository@sha256:…`, or `repository:tag` to use what the tag points at now
    image: String,
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Write what each verdict is made from to this file, to be played back by a test
    #[arg(long, hide = true, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// When the rollout did not end with every pod on the image.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let output = args.output.output;
    match (report(args, surroundings).await, output) {
        (Ok(report), Output::Text) => {
            let outcome = report.into_result().map_err(Failure::from)?;
            for field in outcome.fields {
                surroundings.print(format_args!("{:<11} {}", field.name, field.value))?;
            }
        }
        (Ok(report), Output::Json) => {
            surroundings.print(serde_json::to_value(&report)?)?;
            report.into_result().map_err(Failure::from)?;
        }
        (Err(error), Output::Text) => return Err(error),
        (Err(error), Output::Json) => {
            surroundings.print(refused(&error))?;
            return Err(error);
        }
    }
    Ok(Code::Done)
}

/// Returns what a program reads when it did not even come to a rollout.
fn refused(error: &anyhow::Error) -> Value {
    let failure = error.downcast_ref::<Failure>();
    let code = failure.map_or(Code::Failed, Failure::code);
    let words = failure.map_or_else(|| format!("{error:#}"), ToString::to_string);
    let mut document = json!({ "outcome": Ending::Failed, "exit": code as u8, "words": words });
    if let Some(hint) = failure.and_then(Failure::hint) {
        document["hint"] = json!(hint);
    }
    document
}

async fn report(args: Args, surroundings: &Surroundings) -> anyhow::Result<Report> {
    args.order.allowed()?;
    let access = args.registry.access(surroundings)?;
    let (image, tag) = resolve(&args.image, &access, &surroundings.log).await?;
    let cluster = args.cluster.connect(surroundings).await?;
    let target = Target {
        namespace: cluster.namespace.clone(),
        kind: args.workload.kind,
        name: args.workload.name,
        containers: args.order.container.clone(),
    };
    let order = args.order.order(image, tag)?;
    let title = format!("{}/{} → {}", target.namespace, target.name, order.image.digest.short());
    let mut reporter = reporter(&title, surroundings);
    if let Some(path) = &args.record {
        reporter = Box::new(Recorder::create(path, reporter)?);
    }
    let site = Site {
        cluster: &cluster,
        registry: &access,
        log: &surroundings.log,
        reporter: reporter.as_ref(),
        interrupted: surroundings.interrupted.clone(),
    };
    Ok(driver::roll(&site, &target, &order).await)
}

fn reporter(title: &str, surroundings: &Surroundings) -> Box<dyn Reporter> {
    if surroundings.stderr_is_live {
        Box::new(Live::start(title))
    } else {
        Box::new(Lines::to(surroundings.log.clone()))
    }
}
