//! A resource type that can be run: one executable, a directory of three, or an image.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::container::Container;
use super::payload::Payload;
use super::process::{self, Limits, Ran};
use super::{Error, on};
use crate::concourse::Step;
use crate::concourse::metadata::Variables;

/// A resource type.
pub enum Program {
    /// Executables on this machine.
    Local(Local),
    /// An image, run as a worker runs it.
    Image(Container),
}

/// A directory with `check`, `in` and `out`.
pub struct Local {
    folder: PathBuf,
    /// Keeps the links to a single executable for as long as they are needed.
    _links: Option<tempfile::TempDir>,
}

/// One step to be run.
pub struct Call<'a> {
    /// Which.
    pub step: Step,
    /// What goes to stdin.
    pub payload: &'a Payload,
    /// What `in` writes and `out` reads; a check has none.
    pub directory: &'a Path,
    /// The whole environment.
    pub variables: Variables,
    /// What ends it early.
    pub limits: Limits,
    /// Gets each line of stderr.
    pub lines: &'a dyn Fn(&str),
}

impl Program {
    /// Returns the resource type at `path`: an executable that answers to all three names, or a
    /// directory that holds them, itself or in `opt/resource`.
    ///
    /// # Errors
    ///
    /// When nothing is there.
    pub fn at(path: &Path) -> Result<Self, Error> {
        let no_program = || Error::NoProgram { path: path.to_owned() };
        // The process's working directory is `/`, so a relative path would lose its meaning.
        let path = std::fs::canonicalize(path).map_err(|_| no_program())?;
        if path.is_dir() {
            let inner = path.join("opt/resource");
            let folder = if inner.is_dir() { inner } else { path };
            return Ok(Self::Local(Local { folder, _links: None }));
        }
        let links = tempfile::tempdir().map_err(on("create", "a temporary directory"))?;
        for step in [Step::Check, Step::Get, Step::Put] {
            let link = links.path().join(step.executable());
            std::os::unix::fs::symlink(&path, &link).map_err(on("create", link))?;
        }
        Ok(Self::Local(Local { folder: links.path().to_owned(), _links: Some(links) }))
    }

    /// Runs one step to its end.
    ///
    /// # Errors
    ///
    /// When the process does not start or cannot be waited for.
    pub async fn run(&self, call: &Call<'_>) -> Result<Ran, Error> {
        match self {
            Self::Local(local) => local.run(call).await,
            Self::Image(container) => container.run(call).await,
        }
    }
}

impl Local {
    async fn run(&self, call: &Call<'_>) -> Result<Ran, Error> {
        let path = self.folder.join(call.step.executable());
        if !path.exists() {
            return Err(Error::NoStep { path: self.folder.clone(), step: call.step });
        }
        let mut command = Command::new(path);
        command
            .arg0(format!("/opt/resource/{}", call.step.executable()))
            .env_clear()
            .envs(&call.variables)
            .current_dir("/");
        if call.step != Step::Check {
            let directory = std::fs::canonicalize(call.directory).map_err(on("find", call.directory))?;
            command.arg(directory);
        }
        let request = call.payload.request(call.step);
        process::run(command, &request, &call.limits, call.lines, &|| {}).await
    }
}
