//! `rollway harness`: runs resource types and pipelines as Concourse would, without Concourse.

use clap::Subcommand;

use super::Surroundings;
use crate::concourse::Step;
use crate::exit::Code;

mod argument;
mod pipeline;
mod step;

/// Run a resource type, or a whole pipeline, under Concourse's rules and without Concourse
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run `check` once and show the versions it finds
    Check(step::Args),
    /// Run `in` once and show what it fetches
    In(step::Args),
    /// Run `out` once and show what it makes
    Out(step::Args),
    /// Run a pipeline's checks, gets and puts with the executables of this machine
    Pipeline(pipeline::Args),
}

/// Runs the subcommand.
///
/// # Errors
///
/// When it could not run what was asked for; a step that fails is an exit code.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    match args.command {
        Command::Check(args) => step::run(Step::Check, args, surroundings).await,
        Command::In(args) => step::run(Step::Get, args, surroundings).await,
        Command::Out(args) => step::run(Step::Put, args, surroundings).await,
        Command::Pipeline(args) => pipeline::run(args, surroundings).await,
    }
}
