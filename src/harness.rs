//! Runs check, in and out, and whole pipelines, under Concourse's own rules and without a Concourse
//! server. It knows nothing of registries or clusters: a resource type is an executable here.
//!
//! [`payload`], [`environment`] and [`verdict`] are pure: what goes in, what is around, what the end
//! means. [`program`] and [`container`] prepare a process, [`process`] runs it.

pub mod archive;
pub mod container;
pub mod environment;
pub mod payload;
pub mod pipeline;
pub mod process;
pub mod program;
pub mod tree;
pub mod verdict;

use std::path::PathBuf;

use crate::concourse::Step;
use crate::failure::Explain;

pub use program::Program;

/// Why the harness itself could not run something; what a resource does wrong is a [`verdict::Verdict`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path of the resource names nothing.
    #[error("failed to find `{}`", path.display())]
    NoProgram {
        /// What was asked for.
        path: PathBuf,
    },
    /// A directory without the step's executable.
    #[error("`{}` has no `{}`", path.display(), step.executable())]
    NoStep {
        /// The directory.
        path: PathBuf,
        /// What it lacks.
        step: Step,
    },
    /// The process did not come up.
    #[error("failed to start `{}`", path.display())]
    Start {
        /// The executable.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or directory of the harness's own.
    #[error("failed to {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The image archive is not one.
    #[error("failed to read the image `{}`: {reason}", path.display())]
    Image {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Containers need root.
    #[error("running an image needs root")]
    NotRoot,
    /// Containers need runc.
    #[error("running an image needs runc")]
    NoRunc(#[source] std::io::Error),
    /// The kernel did not say how the process ended.
    #[error("failed to wait for the process")]
    Wait(#[source] std::io::Error),
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoProgram { .. } => {
                Some("give an executable, or a directory with `check`, `in` and `out`".to_owned())
            }
            Self::Start { source, path } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some(format!("make it executable: chmod +x {}", path.display()))
            }
            Self::Image { .. } => {
                Some("an OCI archive or layout is needed, as `make images` writes".to_owned())
            }
            Self::NotRoot => Some("run it as root, or run the executable itself with --resource".to_owned()),
            Self::NoRunc(_) => Some("install runc, or run the executable itself with --resource".to_owned()),
            _ => None,
        }
    }
}

/// Gives an I/O error the path it happened on.
fn on(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { action, path, source }
}
