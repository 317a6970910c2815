//! The `rollout` resource type: check tells what runs, get what ran when, put rolls. What a rollout
//! is and when it has succeeded is decided in `rollout` itself.

use std::path::PathBuf;

use crate::concourse::{Context, Resource, Response};
use crate::failure::{Explain, Failure};
use crate::rollout::preflight;

mod artifact;
mod check;
mod get;
mod put;
mod record;
mod source;
mod version;

pub use get::GetParams;
pub use put::PutParams;
pub use source::Source;
pub use version::Version;

/// The resource type.
#[derive(Clone, Copy, Debug)]
pub struct Rollout;

impl Resource for Rollout {
    type Source = Source;
    type Version = Version;
    type GetParams = GetParams;
    type PutParams = PutParams;

    async fn check(
        &self,
        source: Source,
        _: Option<Version>,
        context: &Context,
    ) -> Result<Vec<Version>, Failure> {
        check::run(&source, context).await
    }

    async fn get(
        &self,
        source: Source,
        version: Version,
        _: GetParams,
        context: &Context,
    ) -> Result<Response<Version>, Failure> {
        get::run(&source, version, context).await
    }

    async fn put(
        &self,
        source: Source,
        params: PutParams,
        context: &Context,
    ) -> Result<Response<Version>, Failure> {
        put::run(&source, &params, context).await
    }
}

/// A request that says something impossible, or files that do not say what they should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that nothing in Kubernetes can have.
    #[error("`source.{key}` is `{value}`, which is not a Kubernetes name")]
    Name {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A name that a list has twice.
    #[error("`source.{key}` names `{name}` twice")]
    Twice {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// None of the keys that name workloads.
    #[error(
        "`source` names no workload: none of `deployment`, `statefulset`, `daemonset` and `selector` is set"
    )]
    NoWorkload,
    /// Two of them.
    #[error("`{one}` and `{other}` are both set, and only one of them can say what is rolled")]
    TwoWorkloads {
        /// The first key.
        one: &'static str,
        /// The second key.
        other: &'static str,
    },
    /// A kind for names whose kind is known.
    #[error("`source.kind` is set without `selector`")]
    KindAlone,
    /// Workloads that were all rolled to one image, and one runs another.
    #[error("the workloads do not run one digest")]
    Disagree,
    /// A number outside of what makes sense.
    #[error("`params.max_parallel` is {given}, which is not between 1 and {most}")]
    Parallel {
        /// Its value.
        given: u64,
        /// The greatest value.
        most: u64,
    },
    /// A rule that there is not.
    #[error("`params.allow` names `{}`, and there is no such rule", .0.id)]
    NoRule(preflight::Unknown),
    /// An image for a container without saying which container stands for the workload.
    #[error("`params.containers` is set and `source.container` is not")]
    NoFirst,
    /// An image for a container that the source does not name.
    #[error("`params.containers` names `{name}`, which `source.container` does not")]
    NotRolled {
        /// The container.
        name: String,
    },
    /// A container that gets no image.
    #[error("`params` names no image for the container `{name}`")]
    NoImageFor {
        /// The container.
        name: String,
    },
    /// Neither `image` nor `reference`.
    #[error("`params` names no image: neither `image` nor `reference` is set")]
    NoImage,
    /// Both.
    #[error("`params.image` and `params.reference` are both set, and only one image can be rolled out")]
    TwoImages,
    /// A reference that can point at something else tomorrow.
    #[error("`params.{key}` is `{value}`, which names no digest")]
    Unpinned {
        /// The key.
        key: String,
        /// The reference.
        value: String,
    },
    /// A reference that is none.
    #[error("{place} is `{value}`, which is not {wanted}")]
    Malformed {
        /// The key or file.
        place: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A path that leads out of the step's directory.
    #[error("`params.{key}` is `{path}`, which is outside of the step's directory")]
    Outside {
        /// The key.
        key: String,
        /// The path.
        path: String,
    },
    /// A directory that is not there.
    #[error("`params.{key}` is `{path}`, and there is no such directory in the step")]
    NoDirectory {
        /// The key.
        key: String,
        /// The path.
        path: String,
        /// The directories there are.
        known: Vec<String>,
    },
    /// A file that an image's directory has.
    #[error("`{}` cannot be read", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Too short a wait to mean anything, or longer than any build lives.
    #[error("`params.{key}` is {given}, which is not between {least} and {most} seconds")]
    Seconds {
        /// The key.
        key: &'static str,
        /// Its value.
        given: u64,
        /// The smallest value.
        least: u64,
        /// The greatest value.
        most: u64,
    },
    /// A version of a Deployment that says nothing about its image any more.
    #[error("nothing in the cluster tells which image `{digest}` of `{deployment}` was")]
    Forgotten {
        /// The version's digest.
        digest: String,
        /// `namespace/name`.
        deployment: String,
    },
    /// The directory cannot be written to.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name { .. } => {
                "names are lower-case letters, digits, `-` and `.`, as `kubectl get` shows them".to_owned()
            }
            Self::Twice { .. } => "name each once".to_owned(),
            Self::NoWorkload => {
                "set `deployment` to the name of a Deployment, as `kubectl get deployments` shows it".to_owned()
            }
            Self::TwoWorkloads { other, .. } => format!("remove `{other}`, or give it a resource of its own"),
            Self::Disagree => "somebody changed one of them meanwhile: run the same put again".to_owned(),
            Self::KindAlone => "remove it, or set `selector`".to_owned(),
            Self::Parallel { .. } => "leave it out to roll one after the other".to_owned(),
            Self::NoRule(unknown) => unknown.hint(),
            Self::NoFirst => {
                "set `source.container` to the containers that are rolled: the first one's digest is the version"
                    .to_owned()
            }
            Self::NotRolled { .. } => "add it to the list of `source.container`".to_owned(),
            Self::NoImageFor { name } => {
                format!("add `{name}` to `containers`, or set `image` for the containers that it does not name")
            }
            Self::NoImage | Self::TwoImages => {
                "set `image` to the name of an image-digest get, or `reference` to REPOSITORY@sha256:…".to_owned()
            }
            Self::Unpinned { .. } => {
                "a tag may point elsewhere by the time a pod starts: use `image` with an image-digest get, or write \
                 REPOSITORY@sha256:…"
                    .to_owned()
            }
            Self::Malformed { .. } | Self::NoFile { .. } => {
                "`image` is the directory of a get that writes `repository` and `digest`: image-digest, registry-image \
                 or rollout"
                    .to_owned()
            }
            Self::Outside { .. } => "write it relative to the step: the name of a get".to_owned(),
            Self::NoDirectory { known, .. } if known.is_empty() => {
                "the step has no directories: put a `get` of the image before this `put`".to_owned()
            }
            Self::NoDirectory { known, .. } => format!("the step has: {}", known.join(", ")),
            Self::Seconds { key: "wait_until_ready", .. } => {
                "0 means: write the image and do not wait".to_owned()
            }
            Self::Seconds { .. } => "leave it out for 10 seconds".to_owned(),
            Self::Forgotten { .. } => "run check again and get the version that runs now".to_owned(),
            Self::Write { .. } => "the step's directory must be writable".to_owned(),
        })
    }
}
