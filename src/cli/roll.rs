//! `rollway roll`: what the rollout resource's put does, for a person at a terminal.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Surroundings;
use super::access::{ClusterArgs, RegistryArgs};
use super::live::Live;
use super::order::OrderArgs;
use super::output::{Output, OutputArgs};
use super::workload::Workload;
use crate::cluster::Cluster;
use crate::exit::Code;
use crate::failure::{Explain, Failure};
use crate::rollout::driver::lines::Lines;
use crate::rollout::driver::record::Recorder;
use crate::rollout::driver::{self, Site};
use crate::rollout::outcome::Report;
use crate::rollout::report::Reporter;
use crate::rollout::{Ending, Kind, Target, several};

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

/// Roll workloads to an image and prove that every pod runs it
#[derive(clap::Args)]
#[command(after_help = CODES, override_usage = "rollway roll [OPTIONS] <WORKLOAD>... <IMAGE>\n       rollway roll [OPTIONS] --selector <LABELS> <IMAGE>")]
pub struct Args {
    /// The workloads (a Deployment's name, `statefulset/NAME` or `daemonset/NAME`), then the image:
    /// `repository@sha256:…`, or `repository:tag` to use what the tag points at now
    #[arg(required = true, value_name = "WORKLOAD… IMAGE")]
    words: Vec<String>,
    /// All workloads with these labels, instead of names: `team=shop,tier!=cache`
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// The kind that the selector is for: `deployment`, `statefulset` or `daemonset`
    #[arg(long, value_name = "KIND", default_value = "deployment", requires = "selector", value_parser = kind)]
    kind: Kind,
    /// How many of several workloads roll at a time; the first that fails stops the rest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    max_parallel: u8,
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

fn kind(text: &str) -> Result<Kind, String> {
    match Kind::split(&format!("{text}/x")) {
        Ok((kind, "x")) => Ok(kind),
        _ => Err("write `deployment`, `statefulset` or `daemonset`".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
///
/// When the rollout did not end with every pod on the image.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let output = args.output.output;
    let is_selected = args.selector.is_some();
    match (roll(args, surroundings).await, output) {
        (Ok(ended), Output::Text) => {
            let fields = match ended {
                Ended::One(report) => report.into_result().map_err(Failure::from)?.fields,
                Ended::Several(all) => all.into_result().map_err(Failure::from)?.1,
            };
            let width = fields.iter().map(|field| field.name.len()).max().unwrap_or(0).max(11);
            for field in fields {
                surroundings.print(format_args!("{:<width$} {}", field.name, field.value))?;
            }
        }
        (Ok(Ended::One(report)), Output::Json) => {
            // How many workloads a selector finds today must not decide what a program reads.
            surroundings.print(match is_selected {
                true => several_as_json(&[&report], &[]),
                false => serde_json::to_value(&report)?,
            })?;
            report.into_result().map_err(Failure::from)?;
        }
        (Ok(Ended::Several(all)), Output::Json) => {
            let reports: Vec<&Report> = all.reports.iter().map(|(_, report)| report).collect();
            surroundings.print(several_as_json(&reports, &all.not_begun))?;
            all.into_result().map_err(Failure::from)?;
        }
        (Err(error), Output::Text) => return Err(error),
        (Err(error), Output::Json) => {
            surroundings.print(refused(&error))?;
            return Err(error);
        }
    }
    Ok(Code::Done)
}

/// How it ended, for one workload or for several.
enum Ended {
    One(Box<Report>),
    Several(several::Ended),
}

fn several_as_json(reports: &[&Report], not_begun: &[String]) -> Value {
    json!({ "workloads": reports, "not_begun": not_begun })
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

async fn roll(args: Args, surroundings: &Surroundings) -> anyhow::Result<Ended> {
    let terms = args.order.terms()?;
    let (workloads, image) = args.wanted().map_err(Failure::from)?;
    let access = args.registry.access(surroundings)?;
    let order = terms.order(&image, &access, &surroundings.log).await?;
    let cluster = args.cluster.connect(surroundings).await?;
    let workloads = match &args.selector {
        None => workloads,
        Some(selector) => selected(&cluster, args.kind, selector).await?,
    };
    let mut targets: Vec<Target> = workloads
        .into_iter()
        .map(|workload| Target {
            namespace: cluster.namespace.clone(),
            kind: workload.kind,
            name: workload.name,
            containers: args.order.containers(),
        })
        .collect();
    let lines = Lines::to(surroundings.log.clone());
    let site = Site {
        cluster: &cluster,
        registry: &access,
        log: &surroundings.log,
        reporter: &lines,
        interrupted: surroundings.interrupted.clone(),
    };
    if targets.len() > 1 {
        let named: Vec<(Target, Box<dyn Reporter>)> = targets
            .into_iter()
            .map(|target| {
                let lines: Box<dyn Reporter> = Box::new(Lines::of(surroundings.log.clone(), &target.name));
                (target, lines)
            })
            .collect();
        return Ok(Ended::Several(driver::roll_all(&site, &named, &order, args.max_parallel.into()).await));
    }
    let target = targets.pop().context("no workload was named")?;
    let title = format!("{}/{} → {}", target.namespace, target.name, order.image.digest.short());
    let mut reporter = reporter(&title, surroundings);
    if let Some(path) = &args.record {
        reporter = Box::new(Recorder::create(path, reporter)?);
    }
    let site = Site { reporter: reporter.as_ref(), ..site };
    Ok(Ended::One(Box::new(driver::roll(&site, &target, &order).await)))
}

impl Args {
    /// Takes the words apart: names first, the image last.
    fn wanted(&self) -> Result<(Vec<Workload>, String), Wrong> {
        let (image, names) = self.words.split_last().ok_or(Wrong::NoImage)?;
        match (&self.selector, names) {
            (Some(_), []) => Ok((Vec::new(), image.clone())),
            (Some(selector), [name, ..]) => {
                Err(Wrong::Both { name: name.clone(), selector: selector.clone() })
            }
            (None, []) => Err(Wrong::NoImage),
            (None, names) => {
                let mut workloads: Vec<Workload> = Vec::new();
                for name in names {
                    let read = name.parse();
                    let workload: Workload =
                        read.map_err(|why| Wrong::Workload { name: name.clone(), why })?;
                    if workloads.contains(&workload) {
                        return Err(Wrong::Twice { name: name.clone() });
                    }
                    workloads.push(workload);
                }
                Ok((workloads, image.clone()))
            }
        }
    }
}

async fn selected(cluster: &Cluster, kind: Kind, selector: &str) -> anyhow::Result<Vec<Workload>> {
    let names = driver::select(cluster, &cluster.namespace, kind, selector).await;
    let names = names.map_err(Failure::from)?;
    Ok(names.into_iter().map(|name| Workload { kind, name }).collect())
}

/// Words that say nothing that can be done.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("a workload or the image is missing")]
    NoImage,
    #[error("`{name}`: {why}")]
    Workload { name: String, why: String },
    #[error("`{name}` is named twice")]
    Twice { name: String },
    #[error("`{name}` is named, and `--selector {selector}` chooses workloads too")]
    Both { name: String, selector: String },
}

impl Explain for Wrong {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Both { .. } => "leave one of them out".to_owned(),
            _ => "write `rollway roll WORKLOAD… IMAGE`, or `rollway roll --selector LABELS IMAGE`".to_owned(),
        })
    }

    fn code(&self) -> Code {
        Code::Usage
    }
}

fn reporter(title: &str, surroundings: &Surroundings) -> Box<dyn Reporter> {
    if surroundings.stderr_is_live {
        Box::new(Live::start(title))
    } else {
        Box::new(Lines::to(surroundings.log.clone()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn wanted(words: &[&str]) -> Result<(Vec<String>, String), String> {
        let args = Cli::parse_from(["roll"].iter().chain(words)).args;
        let (workloads, image) = args.wanted().map_err(|wrong| wrong.to_string())?;
        Ok((workloads.into_iter().map(|workload| workload.name).collect(), image))
    }

    #[test]
    fn the_last_word_is_the_image_and_the_others_are_workloads() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(wanted(&["app", "r/app:1"]).unwrap(), (names(&["app"]), "r/app:1".to_owned()));
        assert_eq!(
            wanted(&["app", "sts/db", "r/app:1"]).unwrap(),
            (names(&["app", "db"]), "r/app:1".to_owned())
        );
        assert_eq!(wanted(&["-l", "team=shop", "r/app:1"]).unwrap(), (names(&[]), "r/app:1".to_owned()));
    }

    #[test]
    fn words_that_say_nothing_that_can_be_done_are_refused() {
        for (words, error) in [
            (&["r/app:1"] as &[&str], "a workload or the image is missing"),
            (&["app", "app", "r/app:1"], "`app` is named twice"),
            (&["app", "-l", "a=b", "r/app:1"], "`app` is named, and `--selector a=b` chooses workloads too"),
        ] {
            assert_eq!(wanted(words).unwrap_err(), error);
        }
        assert!(wanted(&["pod/app", "r/app:1"]).unwrap_err().contains("`pod` is not a kind"));
        for kind in ["foo", "", "deployment/app"] {
            assert!(Cli::try_parse_from(["roll", "-l", "a=b", "--kind", kind, "r/app:1"]).is_err(), "{kind}");
        }
        let args = Cli::parse_from(["roll", "-l", "a=b", "--kind", "sts", "r/app:1"]).args;
        assert_eq!(args.kind, Kind::StatefulSet);
    }
}
