//! What can go wrong in a step of `image-digest`.

use std::io;
use std::path::PathBuf;

use crate::failure::{Explain, storage_hint};
use crate::image::{BadDigest, Digest, Pinned};
use crate::{registry, unpack};

/// A failed step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry could not be asked.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The version's digest is none.
    #[error("`version.digest` is not usable")]
    BadDigest(#[from] BadDigest),
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
    /// An earlier get, or somebody else, was here.
    #[error("`{}` is there already", path.display())]
    Taken {
        /// What is there.
        path: PathBuf,
    },
    /// An index without an image for the wanted platform.
    #[error("`{image}` has no image for `{wanted}`: it has {known}")]
    Platform {
        /// The index.
        image: Pinned,
        /// What is wanted.
        wanted: String,
        /// What it has.
        known: String,
    },
    /// A chart, a signature, or something older than images of today.
    #[error("`{0}` is not an image")]
    NotAnImage(Pinned),
    /// A layer could not be unpacked.
    #[error("failed to unpack layer `{digest}`")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why.
        #[source]
        source: unpack::Error,
    },
    /// The directory could not be made, or not be finished.
    #[error("failed to unpack the image")]
    Unpack(#[source] unpack::Error),
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
            Self::BadDigest(_) => "a version is {\"tag\": …, \"digest\": \"sha256:…\"}",
            Self::Gone(_) => "it was deleted there; check again for a newer version, and unpin this one",
            Self::Write { source, .. } => {
                let usual = "the first argument must be a directory that this user can write to";
                return Some(storage_hint(source).unwrap_or_else(|| usual.to_owned()));
            }
            Self::Taken { .. } => "give an empty directory",
            Self::Platform { .. } => "name one of them in `platform`, in the params or in the source",
            Self::NotAnImage(_) => "`skip_download: true` fetches its names without its content",
            Self::Layer { source, .. } | Self::Unpack(source) => return source.hint(),
            Self::ContentTrust => {
                "remove `content_trust`, and sign the digest that put returns with `cosign sign`"
            }
            Self::Put => "push with type `registry-image`; both types can share a repository",
        };
        Some(hint.to_owned())
    }
}
