//! What can go wrong in a put.

use std::io;
use std::path::PathBuf;

use crate::exit::Code;
use crate::failure::Explain;
use crate::image::{BadDigest, Digest, Pinned};
use crate::registry;

/// A failed put.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The params do not say what to push, or say it twice, or contradict each other.
    #[error("{problem}")]
    Params {
        /// The keys and what is wrong with them.
        problem: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// There would be no name for the image.
    #[error("there is no tag to push")]
    NoTag,
    /// A version that no tag can be made of.
    #[error("`params.version`: `{version}` {reason}")]
    Version {
        /// What was given.
        version: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A tag that no registry takes.
    #[error("`{tag}`, {origin}, is not a tag")]
    Tag {
        /// What would be pushed.
        tag: String,
        /// Where it comes from.
        origin: String,
    },
    /// A pattern that cannot match.
    #[error("`params.image`: `{pattern}` {reason}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A pattern with no or several matches.
    #[error("`params.image`: `{pattern}` matches {}", listed(found))]
    Matches {
        /// What was given.
        pattern: String,
        /// What it matches, as far as a person would read it.
        found: Vec<String>,
    },
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that a key names cannot be read.
    #[error("failed to read `{}`, which `params.{key}` names", path.display())]
    Input {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file says nothing of use.
    #[error("`{}` {problem}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// What `image` names is no image, or a damaged one.
    #[error("`{}` is not an image that can be pushed: {problem}", path.display())]
    Image {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The registry could not be asked, or refused before any tag was written.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// What is to be promoted is not there.
    #[error("`{0}` is not in the registry")]
    Gone(String),
    /// A part of what is to be promoted is not there.
    #[error("`{digest}`, a part of `{whole}`, is not in the registry")]
    PartGone {
        /// The image or index to be promoted.
        whole: Pinned,
        /// What it names.
        digest: Digest,
    },
    /// What is to be promoted is something else.
    #[error("`{pinned}` cannot be promoted: {problem}")]
    Unfit {
        /// What was to be promoted.
        pinned: Pinned,
        /// What is wrong with it.
        problem: String,
    },
    /// What is to be promoted is not signed by one of the source's keys.
    #[error("`{pinned}` is not promoted, because it is not verified: {why}")]
    Unverified {
        /// What was to be promoted.
        pinned: Pinned,
        /// Why no signature counts.
        why: String,
    },
    /// The source's keys are of no use.
    #[error(transparent)]
    Keys(#[from] Box<crate::image_digest::Error>),
    /// Some tags were written.
    #[error("{standing}")]
    HalfWay {
        /// What was written and what was not.
        standing: String,
        /// What came in between.
        #[source]
        source: Box<registry::Error>,
    },
    /// SIGTERM.
    #[error("interrupted: {standing}")]
    Interrupted {
        /// What was pushed and what was not.
        standing: String,
    },
    /// The digest in a version or a file is none.
    #[error("the digest is not usable")]
    Digest(#[from] BadDigest),
    /// The machine gives no thread to read with.
    #[error("failed to read the image in the background")]
    Background,
}

impl Error {
    /// Returns a closure that makes an I/O error one about `path`.
    pub(super) fn reading(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Params { remedy, .. } | Self::File { remedy, .. } => *remedy,
            Self::NoTag => "set `tag` in the source, or `version` or `additional_tags` in the params",
            Self::Version { .. } => {
                "a version is `1.2.3`, `1.2` or `1`, with a pre-release if it is one: `1.2.3-rc.1`"
            }
            Self::Tag { .. } => {
                "a tag has at most 128 letters, digits, `_`, `.` and `-`, and no `.` or `-` in front"
            }
            Self::Input { .. } => {
                "it is a file below the inputs of the put, and its path begins with the name of one: `built/tags`"
            }
            Self::Pattern { .. } => {
                "`*`, `?` and `[a-z]` match within one part of a path, `\\` takes the next character as it is"
            }
            Self::Matches { found, .. } if found.is_empty() => {
                "paths begin with the name of an input of the put, for example `image/image.tar`"
            }
            Self::Matches { .. } => "name one file or directory",
            Self::Image { .. } => {
                "a file is what `docker save` writes or an archive of an OCI layout, gzipped or not; a directory is an OCI layout"
            }
            Self::Registry(error) => return refused_push(error),
            Self::HalfWay { source: error, .. } => return refused_push(error),
            Self::Gone(_) | Self::PartGone { .. } => {
                "check `from.repository`, and whether the image was deleted there"
            }
            Self::Unverified { .. } => {
                "sign it where it is, by a key of `source.verify`: `cosign sign --key`; a put of a source without `verify` asks for no signature"
            }
            Self::Keys(error) => return error.hint(),
            Self::Digest(_) => "a digest is `sha256:` and 64 lower-case hex digits",
            Self::Interrupted { .. } => "the next put goes on from what is there",
            Self::Read { .. } | Self::Unfit { .. } | Self::Background => return None,
        };
        Some(hint.to_owned())
    }

    fn code(&self) -> Code {
        match self {
            Self::Interrupted { .. } => Code::Interrupted,
            _ => Code::Failed,
        }
    }
}

/// What is refused here is not always a pull.
fn refused_push(error: &registry::Error) -> Option<String> {
    let words =
        "these credentials may not push to this repository; check `repository` and the account's rights";
    match error {
        registry::Error::Answered { method, status: 403, .. }
            if matches!(method.as_str(), "POST" | "PUT" | "PATCH") =>
        {
            Some(words.to_owned())
        }
        other => other.hint(),
    }
}

/// More names than these help nobody.
const LISTED: usize = 5;

fn listed(found: &[String]) -> String {
    if found.is_empty() {
        return "nothing".to_owned();
    }
    let names: Vec<_> = found.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = if found.len() > LISTED { ", …" } else { "" };
    format!("{} paths: {}{more}", found.len(), names.join(", "))
}
