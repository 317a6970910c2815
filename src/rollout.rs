//! Rolling a Deployment to a digest: what is asked, what runs, and how it can fail.
//!
//! `preflight`, `plan`, `observe`, `verdict` and `report` are functions of values; [`driver`] alone talks
//! to the API server. A rollout is a loop: look, decide the one next action, do it, look again. The
//! action follows from what is there, never from what this process remembers, so a run that was
//! killed is continued by the next one.

use crate::concourse::Field;
use crate::image::{Digest, Pinned};

pub mod annotations;
pub mod driver;
pub mod error;
#[cfg(test)]
mod fixtures;
pub mod history;
pub mod learned;
pub mod observe;
pub mod order;
pub mod outcome;
pub mod outside;
pub mod plan;
pub mod preflight;
pub mod proof;
pub mod report;
pub mod resource;
pub mod sets;
pub mod several;
pub mod status;
pub mod verdict;

pub use error::{Error, Left};
pub use order::{Drain, Kind, OnFailure, Order, Policy, Target};
pub use outcome::{Ending, Report};

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
    /// How: rolled, already there, or written and not waited for.
    pub ending: Ending,
    /// What runs now; the revision is the written one when nobody waited.
    pub running: Running,
    /// What people see beside the version.
    pub fields: Vec<Field>,
}
