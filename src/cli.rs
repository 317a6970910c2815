//! The `rollway` command line: the clap tree, what a command may know of its process, and how a
//! command ends. Each subcommand is a file in `cli/` with its `Args` and its `run`.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::concourse::Interrupted;
use crate::concourse::metadata::Variables;
use crate::executable::{colour, process};
use crate::exit::Code;
use crate::failure::Failure;
use crate::log::Log;

pub mod access;
pub mod build;
pub mod builds;
pub mod diff;
pub mod digest;
pub mod harness;
pub mod history;
pub mod live;
pub mod log;
pub mod mapping;
pub mod order;
pub mod output;
pub mod plan;
pub mod roll;
pub mod status;
pub mod workload;

/// Rolls new images out to Kubernetes, and shows what Concourse would do
#[derive(Parser)]
#[command(name = "rollway", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Digest(digest::Args),
    Diff(diff::Args),
    Plan(plan::Args),
    Roll(roll::Args),
    Status(status::Args),
    History(history::Args),
    Build(build::Args),
    Builds(builds::Args),
    Log(log::Args),
    Harness(harness::Args),
}

/// What a command may know of its process; nothing else reads it.
pub struct Surroundings {
    /// The environment.
    pub vars: Variables,
    /// stderr: progress and reasons, coloured where that is shown.
    pub log: Log,
    /// Whether stdout is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether stderr is a terminal that may be drawn on, and so whether a live display makes sense.
    pub stderr_is_live: bool,
    /// Resolves on the first SIGTERM or SIGINT.
    pub interrupted: Interrupted,
    /// The `rollway` binary itself: the resource types' executables are looked for beside it.
    pub executable: Option<PathBuf>,
}

impl Surroundings {
    /// Writes the asked-for output to stdout.
    ///
    /// # Errors
    ///
    /// When stdout is broken: output that nobody got is not a success.
    pub fn print(&self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        let stdout = std::io::stdout();
        let mut stdout = colour::stream(stdout, &self.vars);
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("failed to write to stdout")
    }
}

/// Runs the process; only a `main.rs` calls this.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    vars: impl IntoIterator<Item = (OsString, OsString)>,
    executable: Option<PathBuf>,
) -> ExitCode {
    process::report_panics("rollway");
    process::install_tls_provider();
    let vars = process::texts(vars);
    let log = Log::to(colour::stream(std::io::stderr(), &vars));
    let args: Vec<OsString> = args.into_iter().collect();
    let command = match Cli::try_parse_from(args) {
        Ok(cli) => cli.command,
        Err(error) => return wrong_usage(&error),
    };
    match started(command, vars, &log, executable) {
        Ok(code) => code.into(),
        Err(error) => {
            let code = error.downcast_ref::<Failure>().map_or(Code::Failed, Failure::code);
            print_error(&log, &error);
            code.into()
        }
    }
}

/// Help and version are output; everything else that clap refuses is a wrong command line.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let is_printed = error.print().is_ok();
    if error.use_stderr() || !is_printed { Code::Usage.into() } else { Code::Done.into() }
}

fn started(
    command: Command,
    vars: Variables,
    log: &Log,
    executable: Option<PathBuf>,
) -> anyhow::Result<Code> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let stderr_is_live = colour::is_live(&vars, std::io::stderr().is_terminal());
        let surroundings = Surroundings {
            vars,
            log: log.clone(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_live,
            interrupted: process::interrupted()?,
            executable,
        };
        dispatch(command, &surroundings).await
    });
    // As in an executable, threads that still wait end with the process.
    std::mem::forget(runtime);
    code
}

async fn dispatch(command: Command, surroundings: &Surroundings) -> anyhow::Result<Code> {
    match command {
        Command::Digest(args) => asking(digest::run(args, surroundings), surroundings).await,
        Command::Diff(args) => asking(diff::run(args, surroundings), surroundings).await,
        Command::History(args) => asking(history::run(args, surroundings), surroundings).await,
        Command::Status(args) => asking(status::run(args, surroundings), surroundings).await,
        Command::Builds(args) => asking(builds::run(args, surroundings), surroundings).await,
        Command::Build(args) => build::run(args, surroundings).await,
        Command::Log(args) => log::run(args, surroundings).await,
        Command::Plan(args) => asking(plan::run(args, surroundings), surroundings).await,
        Command::Roll(args) => roll::run(args, surroundings).await,
        Command::Harness(args) => harness::run(args, surroundings).await,
    }
}

/// What only asks has nothing to clean up when it is interrupted.
async fn asking(
    answer: impl Future<Output = anyhow::Result<Code>>,
    surroundings: &Surroundings,
) -> anyhow::Result<Code> {
    tokio::select! {
        answer = answer => answer,
        () = surroundings.interrupted.clone() => Ok(Code::Interrupted),
    }
}

/// A [`Failure`] anywhere in the chain knows the remedy; the rest is the chain on one line.
fn print_error(log: &Log, error: &anyhow::Error) {
    match error.downcast_ref::<Failure>() {
        Some(failure) => process::print_failure(log, failure),
        None => log.line(format_args!("error: {error:#}")),
    }
}
