//! How a build can end that is no success, and how waiting for one can: the words and the remedy.

use super::Wrong;
use super::cause::Cause;
use super::stage::Stage;
use crate::cluster;
use crate::exit::Code;
use crate::failure::Explain;
use crate::kpack::Dialect;

/// Why there is no new image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no, or nothing.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// What is asked for does not fit what is there.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// No version of kpack is served.
    #[error("kpack is not in this cluster: its API server serves neither `kpack.io` nor `build.pivotal.io`")]
    NoKpack,
    /// The version of the source is not served.
    #[error("`source.api_version` is `{dialect}`, which this cluster does not serve")]
    NotServed {
        /// The version.
        dialect: Dialect,
        /// The versions that are.
        served: Vec<Dialect>,
    },
    /// The build failed.
    #[error("build `{build}` failed{}: {}", cause.place(), cause.message)]
    Failed {
        /// The Build's name.
        build: String,
        /// Why.
        cause: Box<Cause>,
    },
    /// It did not end in time.
    #[error("build `{build}` has no verdict after {seconds} s: {lack}; it goes on in the cluster")]
    Late {
        /// The namespace.
        namespace: String,
        /// The Image.
        image: String,
        /// The Build's name.
        build: String,
        /// How long was waited.
        seconds: u64,
        /// What it was at.
        lack: String,
    },
    /// It never began.
    #[error("kpack began no build of `{image}` within {seconds} s: {why}; {}", stage.words())]
    NotBegun {
        /// How far it was.
        stage: Stage,
        /// Whether a build before it runs.
        is_queued: bool,
        /// The namespace.
        namespace: String,
        /// The Image.
        image: String,
        /// How long was waited.
        seconds: u64,
        /// What kpack says.
        why: String,
    },
    /// Its pod cannot go on.
    #[error(
        "build `{build}` is stuck for {seconds} s: {why}; kpack gives no verdict for that, and it goes on waiting"
    )]
    Stuck {
        /// The Build's name.
        build: String,
        /// For how long.
        seconds: u64,
        /// What keeps it.
        why: String,
    },
    /// Somebody deleted the Build.
    #[error("build `{build}` was deleted while it was waited for{}", if *again { "; the build of that name now is another one, and kpack judges it by the pod of the deleted one" } else { "" })]
    Deleted {
        /// The Build's name.
        build: String,
        /// Whether another has the name.
        again: bool,
    },
    /// The Build's verdict is not its own.
    #[error(
        "build `{build}` took its verdict from the pod of a deleted build of the same name: nothing was built"
    )]
    Phantom {
        /// The Build's name.
        build: String,
    },
    /// The Image went away, or is another one now.
    #[error("the Image `{image}` was deleted{} while its build was waited for", if *again { " and made again" } else { "" })]
    ImageGone {
        /// The Image.
        image: String,
        /// Whether another has the name.
        again: bool,
    },
    /// kpack builds nothing for a change, and there is no image to answer with.
    #[error("kpack builds nothing for what changed in `{image}`, and its newest build is not a success")]
    NothingBuilt {
        /// The Image.
        image: String,
    },
    /// Others write to the Image all the time.
    #[error("failed to change the Image `{image}`: others changed it {times} times meanwhile")]
    Races {
        /// The Image.
        image: String,
        /// How often.
        times: u32,
    },
    /// A build that nobody finds.
    #[error("there is no build {build} of `{image}`")]
    NoBuild {
        /// What was looked for.
        build: String,
        /// The Image.
        image: String,
        /// The builds there are.
        known: Vec<String>,
    },
    /// SIGTERM.
    #[error("interrupted: {}", stage.words())]
    Interrupted {
        /// The namespace.
        namespace: String,
        /// The Image.
        image: String,
        /// How far it was.
        stage: Stage,
    },
    /// The API server could not be seen for too long to know anything.
    #[error("lost sight of the Image `{image}` for {seconds} s, so a verdict is unknown: {}; {why}", stage.words())]
    Unknown {
        /// The namespace.
        namespace: String,
        /// The Image.
        image: String,
        /// For how long.
        seconds: u64,
        /// What came instead of an answer.
        why: String,
        /// How far it was.
        stage: Stage,
    },
}

fn watching(namespace: &str, image: &str) -> String {
    format!(
        "`rollway build {image} --namespace {namespace} --follow` goes on watching, and check tells of it once it \
         succeeds"
    )
}

/// Until a build has begun, only the one before it can be watched.
fn awaiting(namespace: &str, image: &str) -> String {
    format!(
        "once `rollway builds {image} --namespace {namespace}` lists it, `rollway build {image} --namespace \
         {namespace} --follow` goes on watching; check tells of it once it succeeds"
    )
}

impl Error {
    /// Returns whether the Image is what is missing.
    #[must_use]
    pub const fn is_no_image(&self) -> bool {
        matches!(self, Self::Cluster(cluster::Error::NoWorkload { .. }))
    }
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Cluster(error) if error.status() == Some(403) => {
                "let the Role of that namespace allow it: kpack/pipeline-role.yml lists what is needed".to_owned()
            }
            Self::Cluster(error) if matches!(error.status(), Some(400 | 422)) => {
                "nothing of it was written: correct what the message names, in `params` or in the file of `create`"
                    .to_owned()
            }
            Self::Cluster(error) => return error.hint(),
            Self::Wrong(wrong) => return wrong.hint(),
            Self::NoKpack => "check `context` and `server`; `kubectl api-versions` shows what is served".to_owned(),
            Self::NotServed { served, .. } => {
                let served: Vec<String> = served.iter().map(ToString::to_string).collect();
                format!("leave it out, or set it to one of {}", served.join(", "))
            }
            Self::Failed { cause, .. } => cause.hint.clone(),
            Self::Late { namespace, image, .. } => {
                format!("raise `timeout`; {}", watching(namespace, image))
            }
            Self::NotBegun { is_queued: true, namespace, image, .. } => {
                format!("raise `timeout`; {}", awaiting(namespace, image))
            }
            Self::NotBegun { why, .. } if why.contains("BuilderNotFound") => {
                "set `builder` to one that is there, or create it".to_owned()
            }
            Self::NotBegun { .. } => {
                "look at the conditions with `kubectl describe images.kpack.io`, and whether kpack's controller runs"
                    .to_owned()
            }
            Self::Stuck { .. } => {
                "correct what the message names; `spec.build.buildTimeout` of the Image makes kpack give up".to_owned()
            }
            Self::Deleted { .. } | Self::Phantom { .. } => {
                "set `trigger: true` and run it again; deleting a Build does not stop it cleanly".to_owned()
            }
            Self::ImageGone { .. } => "run it again once the Image is there".to_owned(),
            Self::NothingBuilt { .. } => "add `trigger: true`".to_owned(),
            Self::Races { .. } => "run it again; see who else writes to it with `kubectl get -o yaml --show-managed-fields`".to_owned(),
            Self::NoBuild { known, .. } if known.is_empty() => "it has no builds yet".to_owned(),
            Self::NoBuild { known, .. } => format!("the builds there are {}", known.join(", ")),
            Self::Interrupted { namespace, image, stage }
            | Self::Unknown { namespace, image, stage, .. } => match stage {
                Stage::Running(_) => watching(namespace, image),
                stage => return stage.goes_on().then(|| awaiting(namespace, image)),
            },
        })
    }

    fn code(&self) -> Code {
        match self {
            Self::Interrupted { .. } => Code::Interrupted,
            Self::Unknown { .. } => Code::Unknown,
            _ => Code::Failed,
        }
    }
}
