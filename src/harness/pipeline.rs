//! Whole pipelines without a Concourse server: loaded as fly loads them, scheduled as the ATC
//! schedules them, with local executables in place of resource type images.
//!
//! Pure: [`variables`], [`config`], [`history`], [`inputs`], [`duration`]. With I/O: [`cache`],
//! [`build`], [`schedule`]. Tasks are deliberately not here: they need an image and a worker.

use std::path::PathBuf;

use crate::failure::Explain;
use crate::yaml;

pub mod book;
pub mod build;
pub mod cache;
pub mod config;
pub mod duration;
pub mod history;
pub mod inputs;
pub mod programs;
pub mod schedule;
pub mod transcript;
pub mod variables;

pub use config::Config;
pub use schedule::Plan;

/// Why a pipeline cannot be run at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not YAML.
    #[error("failed to read `{}`", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: yaml::Error,
    },
    /// Variables that no file and no flag gives.
    #[error("{} without a value: {}", if names.len() == 1 { "a variable is" } else { "variables are" }, listed(names))]
    Undefined {
        /// Their names.
        names: Vec<String>,
    },
    /// A list or a map inside a longer string.
    #[error("variables inside a longer string must be strings or whole numbers: {}", listed(names))]
    NotText {
        /// Their names.
        names: Vec<String>,
    },
    /// Something that the pipeline format does not have.
    #[error("{place}: {reason}")]
    Invalid {
        /// The resource, job or step.
        place: String,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Steps that need more than this harness.
    #[error("{} cannot be run here", steps.join(", "))]
    Unsupported {
        /// `step … in job …`.
        steps: Vec<String>,
    },
    /// A resource type without an executable.
    #[error("resource `{resource}` has the type `{kind}`, for which there is no executable")]
    NoProgram {
        /// The resource.
        resource: String,
        /// Its type.
        kind: String,
    },
    /// What the harness cannot do.
    #[error(transparent)]
    Harness(#[from] super::Error),
    /// A job that cannot start.
    #[error("job `{job}` cannot start: {reason}")]
    CannotStart {
        /// The job.
        job: String,
        /// Why.
        reason: String,
    },
    /// A check without which nothing can start.
    #[error("the check of `{resource}` did not succeed: {reason}")]
    CheckFailed {
        /// The resource.
        resource: String,
        /// Why.
        reason: String,
    },
    /// A pipeline that has nothing to do.
    #[error("nothing to run: no job has an input with `trigger: true` that has a version it did not use yet")]
    NothingToRun,
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Undefined { .. } => Some("give them with -l FILE or -v NAME=VALUE".to_owned()),
            Self::Invalid { hint, .. } => hint.clone(),
            Self::Unsupported { .. } => {
                Some("get, put, in_parallel, do, try and their hooks can; set the pipeline in Concourse for the rest".to_owned())
            }
            Self::NoProgram { kind, .. } => {
                Some(format!("name one with --resource-type {kind}=PATH, or put `{kind}` beside the rollway binary"))
            }
            Self::Harness(error) => error.hint(),
            Self::NothingToRun => Some("--job NAME runs a job whatever its triggers say".to_owned()),
            _ => None,
        }
    }
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
