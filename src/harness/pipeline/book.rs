//! What a Concourse database would hold: versions and builds. The harness keeps it in one JSON file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::history::History;
use crate::concourse::AnyVersion;
use crate::harness::{self, on};

/// How a build, or a step of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Green.
    Succeeded,
    /// Red.
    Failed,
    /// Orange.
    Errored,
    /// Brown.
    Aborted,
}

impl Status {
    /// Returns Concourse's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Aborted => "aborted",
        }
    }
}

/// A version that a build used or made, under the name of the step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The get's or put's name.
    pub name: String,
    /// The resource.
    pub resource: String,
    /// The version.
    pub version: AnyVersion,
}

/// One build of one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The number over all jobs.
    pub id: u64,
    /// The job.
    pub job: String,
    /// The number within the job.
    pub number: u64,
    /// What it was started with.
    pub inputs: Vec<Use>,
    /// What it made.
    pub outputs: Vec<Use>,
    /// How it ended; none while it runs.
    pub status: Option<Status>,
}

/// All versions and builds of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// By resource.
    pub histories: BTreeMap<String, History>,
    /// Oldest first.
    pub builds: Vec<Build>,
}

impl Book {
    /// Reads the book at `path`; one that is not there is empty.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn read(path: &Path) -> Result<Self, harness::Error> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(on("read", path)(error)),
        };
        let mut book: Self =
            serde_json::from_slice(&text).map_err(|error| on("read", path)(std::io::Error::other(error)))?;
        // A build without an end was running when the harness was killed.
        for build in &mut book.builds {
            build.status.get_or_insert(Status::Errored);
        }
        Ok(book)
    }

    /// Writes the book; a reader sees the old one or the new one.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), harness::Error> {
        let text =
            serde_json::to_vec(self).map_err(|error| on("write", path)(std::io::Error::other(error)))?;
        let next = path.with_extension("next");
        std::fs::write(&next, text).map_err(on("write", &next))?;
        std::fs::rename(&next, path).map_err(on("write", path))
    }

    /// Returns the builds of `job`, newest first.
    pub fn builds_of<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a Build> {
        self.builds.iter().rev().filter(move |build| build.job == job)
    }

    /// Adds a build that starts now and returns it.
    pub fn start(&mut self, job: &str, inputs: Vec<Use>) -> Build {
        let number = self.builds_of(job).next().map_or(0, |build| build.number) + 1;
        let id = self.builds.last().map_or(0, |build| build.id) + 1;
        let build = Build { id, job: job.to_owned(), number, inputs, outputs: Vec::new(), status: None };
        self.builds.push(build.clone());
        build
    }

    /// Returns the build with `id` to be changed.
    pub fn build_mut(&mut self, id: u64) -> Option<&mut Build> {
        self.builds.iter_mut().find(|build| build.id == id)
    }
}
