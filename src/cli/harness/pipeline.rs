//! `rollway harness pipeline`: a whole pipeline, loaded as `fly set-pipeline` loads it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use futures::future::FutureExt;
use serde_json::{Value, json};

use crate::cli::Surroundings;
use crate::concourse::Interrupted;
use crate::exit::Code;
use crate::failure::Failure;
use crate::harness::pipeline::book::{Book, Status};
use crate::harness::pipeline::build::Engine;
use crate::harness::pipeline::cache::Cache;
use crate::harness::pipeline::programs::{self, Places};
use crate::harness::pipeline::schedule::Mode;
use crate::harness::pipeline::transcript::Event;
use crate::harness::pipeline::variables::{Kind, Variables};
use crate::harness::pipeline::{Config, Error, Plan, duration};
use crate::yaml;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The pipeline's file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// A file of variables; of several, the later wins
    #[arg(short = 'l', long = "load-vars-from", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A variable; wins over every file
    #[arg(short, long = "var", value_name = "NAME=TEXT")]
    var: Vec<String>,
    /// A variable whose value is YAML; wins over every file
    #[arg(short, long = "yaml-var", value_name = "NAME=YAML")]
    yaml_var: Vec<String>,
    /// The pipeline's name [default: the file's]
    #[arg(short, long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Run this job, whatever its triggers say; with --watch, watch this job alone
    #[arg(short, long, value_name = "JOB")]
    job: Option<String>,
    /// Keep checking and building until the interrupt
    #[arg(long)]
    watch: bool,
    /// With --watch: end when so many builds have finished
    #[arg(long, value_name = "COUNT", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    builds: Option<u64>,
    /// How often resources without `check_every` are checked, 1s or more
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = interval)]
    interval: Duration,
    /// The executable, directory or image (a .tar) of a resource type [default: NAME beside rollway]
    #[arg(long = "resource-type", value_name = "NAME=PATH")]
    resource_types: Vec<String>,
    /// The CA directory that images see at /etc/ssl/certs
    #[arg(long, value_name = "DIR", default_value = "/etc/ssl/certs")]
    certs: PathBuf,
    /// Where versions, builds and what was fetched are kept [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where Concourse would be, for BUILD_URL
    #[arg(long, value_name = "URL", default_value = "http://localhost:8080")]
    external_url: String,
    /// Print what happens as JSON lines
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Some(interval) if interval >= Duration::from_secs(1) => Ok(interval),
        Some(_) => Err("resources are not checked more often than every second".to_owned()),
        None => Err("a duration looks like 10s or 1m30s".to_owned()),
    }
}

pub(super) async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let config = load(&args)?;
    let places = Places {
        named: pairs(&args.resource_types, "resource-type")?
            .into_iter()
            .map(|(name, path)| (name, path.into()))
            .collect(),
        beside: surroundings.executable.as_deref().and_then(Path::parent).map(Path::to_owned),
        certificates: args.certs.clone(),
    };
    let programs = programs::find(&config, &places).map_err(Failure::from)?;
    let temporary = tempfile::tempdir().context("failed to create a temporary directory")?;
    let state = args.state.clone().unwrap_or_else(|| temporary.path().to_owned());
    let state = std::path::absolute(&state)?;
    std::fs::create_dir_all(&state).with_context(|| format!("failed to create `{}`", state.display()))?;
    let book = state.join("state.json");
    let broken = RefCell::new(None);
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let listener = |event: &Event| {
        if let Err(error) = tell(event, args.json, surroundings) {
            broken.borrow_mut().get_or_insert(error);
            let _ = stop.send(true);
        }
    };
    // A transcript that nobody can read ends a watch as an interrupt does.
    let interrupted = surroundings.interrupted.clone();
    let interrupted: Interrupted = async move {
        tokio::select! {
            () = interrupted => {}
            Ok(_) = stopped.wait_for(|stop| *stop) => {}
        }
    }
    .boxed()
    .shared();
    let engine = Engine {
        config,
        programs,
        book: RefCell::new(Book::read(&book).map_err(Failure::from)?),
        cache: Cache::at(state.join("cache")),
        work: state.join("work"),
        listener: &listener,
        host: surroundings.vars.clone(),
        name: name(&args),
        external_url: args.external_url.trim_end_matches('/').to_owned(),
    };
    let mode = if args.watch { Mode::Watch(args.builds) } else { Mode::Once };
    let plan = Plan { job: args.job.clone(), mode, interval: args.interval };
    let last = engine.keep(&plan, &interrupted, &book).await.map_err(Failure::from)?;
    match broken.take() {
        Some(error) => Err(error),
        None => Ok(code(last, mode)),
    }
}

/// An interrupt is how a watch ends; anything else it ends early.
fn code(last: Option<Status>, mode: Mode) -> Code {
    match (last, mode) {
        (Some(Status::Succeeded), _) | (None, Mode::Watch(_)) => Code::Done,
        (Some(Status::Failed | Status::Errored), _) => Code::Failed,
        (Some(Status::Aborted), _) | (None, Mode::Once) => Code::Interrupted,
    }
}

fn load(args: &Args) -> anyhow::Result<Config> {
    let mut variables = Variables::default();
    for path in &args.files {
        variables.add(read(path)?);
    }
    for (name, text) in pairs(&args.var, "var")? {
        variables.set(&name, Value::String(text));
    }
    for (name, text) in pairs(&args.yaml_var, "yaml-var")? {
        variables.set(&name, yaml::read(&text).with_context(|| format!("--yaml-var `{name}` is not YAML"))?);
    }
    let filled = variables.fill(&read(&args.config)?, Kind::Pipeline).map_err(Failure::from)?;
    Ok(Config::parse(&filled).map_err(Failure::from)?)
}

fn read(path: &Path) -> Result<Value, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(yaml::read(&text).map_err(|source| Error::Yaml { path: path.to_owned(), source })?)
}

/// Splits `NAME=VALUE`; the last of a name wins.
fn pairs(texts: &[String], flag: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').with_context(|| format!("--{flag} is not NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    texts.iter().map(pair).collect()
}

fn name(args: &Args) -> String {
    let stem = args.config.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    args.pipeline.clone().or(stem).unwrap_or_default()
}

/// Prints one event: a JSON line for machines, or lines for people.
fn tell(event: &Event, as_json: bool, surroundings: &Surroundings) -> anyhow::Result<()> {
    if !as_json {
        return event.lines().into_iter().try_for_each(|line| surroundings.print(line));
    }
    let mut line = json!(event);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    line["time"] = json!(time.as_secs_f64());
    surroundings.print(line)
}
