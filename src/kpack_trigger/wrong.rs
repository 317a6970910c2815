//! Requests that say something impossible, and files that do not say what they should.

use std::path::PathBuf;

use crate::failure::Explain;

/// A request that cannot be done, whatever the cluster says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// A name that no Image or namespace has.
    #[error("`source.{key}` is `{value}`, which is not a Kubernetes name of at most 63 characters")]
    Name {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// Params that ask for nothing.
    #[error(
        "`params` asks for no build: none of `trigger`, `revision`, `blob_url`, `registry_image`, `create` and the other keys that change the Image is set"
    )]
    Nothing,
    /// A value given in two ways.
    #[error("`params.{key}` and `params.{key}_file` are both set")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// Two sources for one build.
    #[error("`params.{one}` and `params.{other}` are both set, and an Image is built from one source")]
    TwoSources {
        /// The first key.
        one: &'static str,
        /// The second key.
        other: &'static str,
    },
    /// A value that cannot be one.
    #[error("`{place}` is `{value}`, which is not {wanted}")]
    Malformed {
        /// The key or the file.
        place: String,
        /// What it holds.
        value: String,
        /// What belongs there.
        wanted: &'static str,
    },
    /// A file with nothing in it.
    #[error("`params.{key}` is the file `{path}`, which is empty")]
    EmptyFile {
        /// The key.
        key: &'static str,
        /// The path.
        path: String,
    },
    /// A file that no value is as long as.
    #[error("`params.{key}` is the file `{path}`, which has more than {longest} bytes")]
    Long {
        /// The key.
        key: &'static str,
        /// The path.
        path: String,
        /// How many it may have.
        longest: u64,
    },
    /// A path that leads out of the step's directory.
    #[error("`params.{key}` is `{path}`, which is outside of the step's directory")]
    Outside {
        /// The key.
        key: &'static str,
        /// The path.
        path: String,
    },
    /// A file that is not there.
    #[error("`params.{key}` is `{path}`, which cannot be read")]
    NoFile {
        /// The key.
        key: &'static str,
        /// The path.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A number outside of what makes sense.
    #[error("`params.{key}` is {given}, which is not between {least} and {most}")]
    Number {
        /// The key.
        key: &'static str,
        /// Its value.
        given: u64,
        /// The smallest value.
        least: u64,
        /// The greatest value.
        most: u64,
    },
    /// A manifest that is none, or not of this Image.
    #[error("`params.create` is the file `{path}`: {why}")]
    Manifest {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// A revision for an Image that is not built from Git, and the like.
    #[error("`params.{key}` is set, and the Image `{image}` is built from {found}")]
    OtherSource {
        /// The key.
        key: &'static str,
        /// The Image.
        image: String,
        /// What its source is.
        found: String,
    },
    /// A field that the API version does not have.
    #[error("`params.{key}` is set, and `{dialect}` has no such field")]
    NotInDialect {
        /// The key.
        key: &'static str,
        /// The API version.
        dialect: String,
    },
    /// A tag that would move.
    #[error(
        "`params.create` is the file `{path}`: the tag of an Image cannot change: it is `{is}`, and the file says `{said}`"
    )]
    TagMoves {
        /// The path.
        path: String,
        /// The Image's tag.
        is: String,
        /// The manifest's tag.
        said: String,
    },
    /// A tag of a registry that kpack does not publish the Image to.
    #[error(
        "`params.additional_tags` has `{tag}`, which is of the registry `{its}`, and the Image is published to `{registry}`"
    )]
    OtherRegistry {
        /// The tag.
        tag: String,
        /// Its registry.
        its: String,
        /// The Image's registry.
        registry: String,
    },
    /// A version that says nothing that can be fetched.
    #[error("the version names no build: `{key}` is `{value}`")]
    Version {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
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

impl Explain for Wrong {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name { .. } => "write it as `kubectl get images.kpack.io` shows it".to_owned(),
            Self::Nothing => "set `trigger: true` to build what is there once more".to_owned(),
            Self::Twice { key } => format!("remove `{key}`, or remove `{key}_file`"),
            Self::TwoSources { one, other } => format!("remove `{other}`, or remove `{one}`"),
            Self::Malformed { .. } | Self::Version { .. } => return None,
            Self::Long { key: "create", .. } => "let it hold one Image and nothing else".to_owned(),
            Self::Long { .. } | Self::EmptyFile { .. } => {
                "let the step before write one line into it".to_owned()
            }
            Self::Outside { .. } => "write it relative to the step: GET/FILE".to_owned(),
            Self::NoFile { .. } => {
                "it is the name of a get or of a task's output, then the file in it: GET/FILE".to_owned()
            }
            Self::Number { key: "retry", .. } => "leave it out for no retry".to_owned(),
            Self::Number { .. } => "leave it out for an hour".to_owned(),
            Self::Manifest { remedy, .. } => remedy.clone(),
            Self::OtherSource { found, .. } => {
                let key = match found.as_str() {
                    "git" => "revision",
                    "blob" => "blob_url",
                    "registry" => "registry_image",
                    _ => return Some("give it a source with `create`".to_owned()),
                };
                format!("set `{key}`, or give it another source with `create`")
            }
            Self::NotInDialect { .. } => "remove it, or let the cluster serve kpack.io/v1alpha2".to_owned(),
            Self::OtherRegistry { registry, .. } => {
                format!(
                    "write it with its repository, `{registry}/REPOSITORY:TAG`: all tags are of one registry"
                )
            }
            Self::TagMoves { .. } => "make another Image for another tag".to_owned(),
            Self::Write { .. } => "the step's directory must be writable".to_owned(),
        })
    }
}
