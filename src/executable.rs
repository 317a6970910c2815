//! Runs a resource type as a process: finds the step, reads the request, writes one document. Every
//! `resource/*/main.rs` is one call of [`run`]; nothing here knows what a resource does.

use std::ffi::OsString;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::future::FutureExt;

use crate::concourse::metadata::Variables;
use crate::concourse::{Build, Context, Interrupted, Request, Resource, Step, response};
use crate::exit::Code;
use crate::failure::{Explain, Failure};
use crate::log::Log;

mod arguments;
pub mod colour;
pub mod process;

use arguments::{Arguments, Wanted};

/// How long a put may use to leave things in order after SIGTERM: Concourse kills after 10 s.
const GRACE: Duration = Duration::from_secs(8);

/// Why a step could not even be tried, or its answer not be given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `in` or `out` without `argv[1]`.
    #[error("no directory given: {step} needs one as its argument")]
    NoDirectory {
        /// The step's executable.
        step: &'static str,
    },
    /// `argv[1]` names nothing, or a file.
    #[error("`{}` is not a directory", path.display())]
    NotADirectory {
        /// What `argv[1]` says.
        path: PathBuf,
    },
    /// stdin broke.
    #[error("failed to read the request from stdin")]
    Stdin(#[source] std::io::Error),
    /// stdout broke.
    #[error("failed to write the answer to stdout")]
    Stdout(#[source] std::io::Error),
    /// No runtime.
    #[error("failed to start")]
    Start(#[source] std::io::Error),
    /// SIGTERM, and the step had nothing to put in order or did not get done with it.
    #[error("interrupted")]
    Interrupted,
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoDirectory { step: "in" } => {
                Some("`in DIR` writes the version's files into DIR".to_owned())
            }
            Self::NoDirectory { .. } => Some("`out DIR` resolves the params' paths in DIR".to_owned()),
            _ => None,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Interrupted => Code::Interrupted,
            _ => Code::Failed,
        }
    }
}

/// Runs `resource` as the process `name` with the process's arguments and environment.
pub fn run<R: Resource>(
    resource: R,
    name: &'static str,
    args: impl IntoIterator<Item = OsString>,
    vars: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    process::report_panics(name);
    process::install_tls_provider();
    let vars: Variables = process::texts(vars);
    let log = Log::to(colour::stream(std::io::stderr(), &vars));
    let wanted = arguments::wanted(args);
    let arguments = match wanted {
        Wanted::Step(arguments) => arguments,
        Wanted::Help => return printed(&log, &arguments::usage(name)),
        Wanted::Version => return printed(&log, &format!("{name} {}", env!("CARGO_PKG_VERSION"))),
        Wanted::Nothing => {
            log.line(arguments::usage(name));
            return Code::Usage.into();
        }
    };
    match step(&resource, arguments, &vars, &log) {
        Ok(()) => Code::Done.into(),
        Err(failure) => {
            process::print_failure(&log, &failure);
            failure.code().of_a_resource().into()
        }
    }
}

fn printed(log: &Log, text: &str) -> ExitCode {
    match write_answer(text) {
        Ok(()) => Code::Done.into(),
        Err(error) => {
            process::print_failure(log, &error.into());
            Code::Failed.into()
        }
    }
}

fn step<R: Resource>(resource: &R, arguments: Arguments, vars: &Variables, log: &Log) -> Result<(), Failure> {
    let directory = directory(&arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let result = runtime.block_on(async {
        let interrupted = process::interrupted().map_err(Error::Start)?;
        if std::io::stdin().is_terminal() {
            log.line("reading the request from the terminal; Ctrl-D ends it");
        }
        let text = or_interrupted(process::read_stdin(), &interrupted).await?.map_err(Error::Stdin)?;
        let request = Request::parse(&text)?;
        let build = Build::from_variables(vars);
        let variables = Arc::new(vars.clone());
        let context = Context { directory, build, variables, log: log.clone(), interrupted };
        answer(resource, arguments.step, &request, &context).await
    });
    // A thread may still be blocked on stdin, and waiting for it would outlive SIGTERM; another may fetch what
    // nobody reads any more, and would panic in a runtime that shuts down. They end with the process.
    std::mem::forget(runtime);
    Ok(write_answer(&result?)?)
}

fn directory(arguments: &Arguments) -> Result<PathBuf, Error> {
    match (arguments.step, &arguments.directory) {
        (Step::Check, _) => Ok(PathBuf::new()),
        (step, None) => Err(Error::NoDirectory { step: step.executable() }),
        (_, Some(path)) if path.is_dir() => Ok(path.clone()),
        (_, Some(path)) => Err(Error::NotADirectory { path: path.clone() }),
    }
}

async fn answer<R: Resource>(
    resource: &R,
    step: Step,
    request: &Request,
    context: &Context,
) -> Result<String, Failure> {
    let interrupted = &context.interrupted;
    match step {
        Step::Check => {
            request.without_params()?;
            let check = resource.check(request.source()?, request.cursor()?, context);
            Ok(response::versions(&or_interrupted(check, interrupted).await??)?)
        }
        Step::Get => {
            let params = request.params()?;
            let get = resource.get(request.source()?, request.version()?, params, context);
            Ok(response::fetched(&or_interrupted(get, interrupted).await??)?)
        }
        Step::Put => {
            let put = resource.put(request.source()?, request.params()?, context);
            Ok(response::fetched(&with_grace(put, context).await??)?)
        }
    }
}

/// A check or a get leaves nothing behind that anyone reads, so it ends at once.
async fn or_interrupted<T>(work: impl Future<Output = T>, interrupted: &Interrupted) -> Result<T, Error> {
    tokio::select! {
        biased;
        result = work => Ok(result),
        () = interrupted.clone() => Err(Error::Interrupted),
    }
}

/// A put looks at `context.interrupted` itself and gets the time to leave things in order.
async fn with_grace<T>(work: impl Future<Output = T>, context: &Context) -> Result<T, Error> {
    let mut work = pin!(work.fuse());
    tokio::select! {
        biased;
        result = &mut work => return Ok(result),
        () = context.interrupted.clone() => {}
    }
    tokio::time::timeout(GRACE, work).await.map_err(|_| Error::Interrupted)
}

fn write_answer(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(Error::Stdout)
}
