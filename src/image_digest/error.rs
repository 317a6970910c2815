//! What can go wrong in a step of `image-digest`.

use std::io;
use std::path::PathBuf;

use crate::failure::Explain;
use crate::image::{BadDigest, Pinned};
use crate::registry;

/// A failed step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry could not be asked.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The version's digest is none.
    #[error("`version.digest` is not usable")]
    Digest(#[from] BadDigest),
    /// The version is not in the registry.
    #[error("`{0}` is not in the registry")]
    Gone(Pinned),
    /// A file could not be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A parameter that asks for the image's layers.
    #[error("`params.{0}` asks for the image's content, and image-digest does not download layers yet")]
    Layers(&'static str),
    /// A put that has to be signed in a way that is gone.
    #[error("`content_trust` asks for a Notary v1 signature, and image-digest makes none")]
    ContentTrust,
    /// There is no put.
    #[error("image-digest cannot put images yet: `check` and `in` of one tag are all that it does")]
    Put,
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Registry(error) => return error.hint(),
            Self::Digest(_) => "a version is {\"tag\": …, \"digest\": \"sha256:…\"}",
            Self::Gone(_) => "it was deleted there; check again for a newer version, and unpin this one",
            Self::Write { .. } => "the first argument must be a directory that this user can write to",
            Self::Layers(_) => "set `skip_download: true`, or get the content with type `registry-image`",
            Self::ContentTrust => {
                "remove `content_trust`, and sign the digest that put returns with `cosign sign`"
            }
            Self::Put => "push with type `registry-image`; both types can share a repository",
        };
        Some(hint.to_owned())
    }
}
