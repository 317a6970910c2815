//! Rolling a Deployment to a digest: what is asked, what runs, and how it can fail.
//!
//! `preflight`, `plan`, `observe`, `verdict` and `report` are functions of values; [`driver`] alone talks
//! to the API server. A rollout is a loop: look, decide the one next action, do it, look again. The
//! action follows from what is there, never from what this process remembers, so a run that was
//! killed is continued by the next one.

use crate::cluster;
use crate::concourse::Field;
use crate::exit::Code;
use crate::failure::Explain;
use crate::image::{Digest, Pinned};

pub mod annotations;
pub mod driver;
#[cfg(test)]
mod fixtures;
pub mod learned;
pub mod observe;
pub mod order;
pub mod plan;
pub mod preflight;
pub mod proof;
pub mod report;
pub mod resource;
pub mod verdict;

pub use order::{Drain, OnFailure, Order, Policy, Target};

/// The digest that really runs on every pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The image of the template, pinned to what the pods run.
    pub image: Pinned,
    /// The Deployment's own revision.
    pub revision: String,
    /// The Deployment's uid: a re-created Deployment is another one.
    pub uid: String,
    /// The container that was looked at.
    pub container: String,
    /// Each pod and the digest its runtime reports.
    pub pods: Vec<(String, Digest)>,
}

/// A rollout that ended well.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What runs now; the revision is the written one when nobody waited.
    pub running: Running,
    /// What people see beside the version.
    pub fields: Vec<Field>,
}

/// Why a rollout did not happen or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no, or nothing.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The image is not there to be pulled.
    #[error("`{image}` is not in the registry")]
    NoImage {
        /// The missing image.
        image: Pinned,
    },
    /// A rule forbids to start.
    #[error("{0}")]
    Preflight(preflight::Refusal),
    /// The new pods were not all ready in time.
    #[error("`{target}` did not reach `{image}` within {seconds} s: {lack}")]
    Late {
        /// `namespace/deployment`.
        target: String,
        /// The digest, shortened.
        image: String,
        /// How long was waited.
        seconds: u64,
        /// What is missing, in one clause.
        lack: String,
        /// What was left behind, and the next command.
        left: String,
    },
    /// The evidence says that the new pods will not come up.
    #[error("`{target}` cannot reach `{image}`: {cause}")]
    Failed {
        /// `namespace/deployment`.
        target: String,
        /// The digest, shortened.
        image: String,
        /// What settles it.
        cause: Box<verdict::diagnosis::Cause>,
        /// What was left behind, and the next command.
        left: String,
        /// Whether the image from before is back on every pod.
        rolled_back: bool,
    },
    /// Somebody else changed the image while this ran.
    #[error("`{target}` was changed to `{image}` by somebody else while this rollout ran")]
    Superseded {
        /// `namespace/deployment`.
        target: String,
        /// The image that is there now.
        image: String,
    },
    /// The Deployment went away.
    #[error("`{target}` was deleted or re-created while this rollout ran")]
    Gone {
        /// `namespace/deployment`.
        target: String,
    },
    /// SIGTERM.
    #[error("interrupted: {state}")]
    Interrupted {
        /// What was left behind.
        state: String,
    },
    /// The API server could not be watched for too long to know anything.
    #[error("lost sight of `{target}` for {seconds} s; the outcome is unknown")]
    Unknown {
        /// `namespace/deployment`.
        target: String,
        /// For how long.
        seconds: u64,
    },
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::NoImage { .. } => {
                Some("push it first, or give the digest that `image-digest` reported".to_owned())
            }
            Self::Preflight(refusal) => Some(refusal.hint.clone()),
            Self::Late { left, .. } | Self::Failed { left, .. } => Some(left.clone()),
            Self::Superseded { .. } => {
                Some("nothing was rolled back; the newer change owns the result".to_owned())
            }
            Self::Gone { .. } => Some("run the same put again once it exists".to_owned()),
            Self::Interrupted { .. } | Self::Unknown { .. } => {
                Some("run the same put again: it continues from what is there".to_owned())
            }
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Interrupted { .. } => Code::Interrupted,
            _ => Code::Failed,
        }
    }
}
