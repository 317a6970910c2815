//! `rollway harness check|in|out`: one step of one resource type.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::argument;
use crate::cli::Surroundings;
use crate::concourse::{AnyVersion, Step};
use crate::exit::Code;
use crate::failure::Failure;
use crate::harness::container::Container;
use crate::harness::environment::{self, Facts};
use crate::harness::payload::Payload;
use crate::harness::process::Limits;
use crate::harness::program::Call;
use crate::harness::verdict::{Answer, Verdict, judge};
use crate::harness::{self, Program};

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("program").args(["resource", "image"]).required(true)))]
pub(super) struct Args {
    /// The resource type: one executable that answers to check, in and out, or a directory of three
    #[arg(long, value_name = "PATH")]
    resource: Option<PathBuf>,
    /// The resource type's image, an OCI archive or layout; it runs in an unprivileged container
    #[arg(long, value_name = "ARCHIVE")]
    image: Option<PathBuf>,
    /// The CA directory that the container sees at /etc/ssl/certs
    #[arg(long, value_name = "DIR", default_value = "/etc/ssl/certs", requires = "image")]
    certs: PathBuf,
    /// The resource's source, as JSON or as the name of a JSON or YAML file
    #[arg(long, value_name = "JSON|FILE")]
    source: Option<String>,
    /// The params of `in` or `out`, as JSON or as the name of a JSON or YAML file; a check has none
    #[arg(long, value_name = "JSON|FILE")]
    params: Option<String>,
    /// The version: a check's cursor or what `in` fetches; JSON, a file, or `key:value,key:value`
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// The directory that `in` writes and `out` reads; a check has none [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Seconds until the step's timeout [default: none]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

/// What happened, for printing.
struct Report<'a> {
    step: Step,
    verdict: Verdict,
    elapsed: Duration,
    directory: &'a Path,
    lines: Vec<String>,
}

pub(super) async fn run(step: Step, args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let payload = payload(&args)?;
    let program = program(&args).map_err(Failure::from)?;
    let temporary = tempfile::tempdir().context("failed to create a temporary directory")?;
    let directory = args.dir.as_deref().unwrap_or(temporary.path());
    if step == Step::Get {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("failed to create `{}`", directory.display()))?;
    }

    let kept = RefCell::new(Vec::new());
    let call = Call {
        step,
        payload: &payload,
        directory,
        variables: environment::of_step(step, &Facts::default(), &surroundings.vars),
        limits: Limits {
            interrupted: surroundings.interrupted.clone(),
            timeout: args.timeout.map(Duration::from_secs),
        },
        lines: &|line| match args.json {
            true => kept.borrow_mut().push(anstream::adapter::strip_str(line).to_string()),
            false => surroundings.log.line(line),
        },
    };
    let started = Instant::now();
    let ran = program.run(&call).await.map_err(Failure::from)?;
    let verdict = judge(step, ran.ended, &ran.stdout);
    let report = Report { step, verdict, elapsed: started.elapsed(), directory, lines: kept.take() };
    if args.json {
        surroundings.print(report.json())?;
    } else {
        report.show(surroundings)?;
    }
    Ok(report.code())
}

fn payload(args: &Args) -> anyhow::Result<Payload> {
    let object = |name: &str, text: &Option<String>| match text {
        Some(text) => argument::object(name, text),
        None => Ok(serde_json::Map::new()),
    };
    Ok(Payload {
        source: object("source", &args.source)?,
        params: object("params", &args.params)?,
        version: args.version.as_deref().map(argument::version).transpose()?,
    })
}

fn program(args: &Args) -> Result<Program, harness::Error> {
    match (&args.image, &args.resource) {
        (Some(image), _) => Container::open(image, &args.certs).map(Program::Image),
        (None, resource) => Program::at(resource.as_deref().unwrap_or(Path::new(""))),
    }
}

impl Report<'_> {
    fn code(&self) -> Code {
        match self.verdict {
            Verdict::Succeeded(_) => Code::Done,
            Verdict::Failed(_) | Verdict::Errored(_) => Code::Failed,
            Verdict::Aborted => Code::Interrupted,
        }
    }

    fn json(&self) -> Value {
        let mut document = json!({
            "step": self.step.name(),
            "outcome": self.verdict.name(),
            "reason": self.verdict.reason(),
            "seconds": self.elapsed.as_secs_f64(),
            "stderr": self.lines,
        });
        match &self.verdict {
            Verdict::Succeeded(Answer::Versions(versions)) => document["versions"] = json!(versions),
            Verdict::Succeeded(Answer::Version(version, metadata)) => {
                document["version"] = json!(version);
                document["metadata"] = json!(metadata);
            }
            _ => {}
        }
        if self.step == Step::Get {
            document["files"] = json!(files(self.directory));
        }
        document
    }

    fn show(&self, surroundings: &Surroundings) -> anyhow::Result<()> {
        let name = self.step.name();
        match &self.verdict {
            Verdict::Succeeded(answer) => surroundings.print(self.page(answer)),
            other => {
                let reason = other.reason().unwrap_or_default();
                surroundings.log.line(format_args!("{name} {}: {reason}", other.name()));
                Ok(())
            }
        }
    }

    fn page(&self, answer: &Answer) -> String {
        let mut page = vec![format!("{} succeeded in {:.1} s", self.step.name(), self.elapsed.as_secs_f64())];
        match answer {
            Answer::Versions(versions) if versions.is_empty() => page.push("no versions".to_owned()),
            Answer::Versions(versions) => {
                page.push("versions, oldest first:".to_owned());
                page.extend(versions.iter().map(|version| format!("  {}", on_one_line(version))));
            }
            Answer::Version(version, metadata) => {
                page.push(format!("version: {}", on_one_line(version)));
                let width = metadata.iter().map(|field| field.name.len()).max().unwrap_or_default();
                page.extend(metadata.iter().map(|field| format!("  {:width$}  {}", field.name, field.value)));
            }
        }
        if self.step == Step::Get {
            page.push("files:".to_owned());
            page.extend(files(self.directory).iter().map(|file| format!("  {file}")));
        }
        page.join("\n")
    }
}

fn on_one_line(version: &AnyVersion) -> String {
    version.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", ")
}

/// Returns the paths below `directory`, sorted; a directory that vanished has none.
fn files(directory: &Path) -> Vec<String> {
    fn below(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                below(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap_or(&path).display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    below(directory, directory, &mut found);
    found.sort();
    found
}
