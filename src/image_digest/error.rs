//! What can go wrong in a step of `image-digest`.

use std::io;
use std::path::PathBuf;

use super::reason::Reason;
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
    /// The registry could not be asked about one of several tags.
    #[error("failed to look up `{name}`")]
    Tag {
        /// Repository and tag.
        name: String,
        /// Why.
        #[source]
        source: Box<registry::Error>,
    },
    /// What is watched is not there.
    #[error("`{0}` is not in the registry")]
    Missing(String),
    /// There are tags, and none of them is a version.
    #[error("`{name}` has no version{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    NoVersion {
        /// The repository, or repository and tag.
        name: String,
        /// Why the one that is nearest is none.
        reason: Option<Reason>,
    },
    /// A key that another one leaves without effect.
    #[error("`source.{key}` has no effect beside {beside}")]
    Useless {
        /// The key.
        key: &'static str,
        /// The other one.
        beside: &'static str,
    },
    /// A signature is asked for, and nobody's.
    #[error("`source.verify.cosign.keys` is empty: no signature would count")]
    NoKeys,
    /// A public key that is none.
    #[error("`source.verify.cosign.keys[{position}]` is not a public key: {problem}")]
    Key {
        /// Which one, counted from 0.
        position: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A public key that nothing here verifies with.
    #[error("`source.verify.cosign.keys[{position}]` is a key of {kind}, which cannot be verified with")]
    KeyKind {
        /// Which one, counted from 0.
        position: usize,
        /// What it is.
        kind: String,
    },
    /// The version is not signed by one of the keys.
    #[error("`{image}` is not verified: {why}")]
    Unverified {
        /// The version.
        image: Pinned,
        /// Why no signature counts.
        why: String,
    },
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
    #[error("`{image}` has no image for `{wanted}`: it has {}", if known.is_empty() { "none at all" } else { known })]
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
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Registry(error) => return error.hint(),
            Self::BadDigest(_) => "a version is {\"tag\": …, \"digest\": \"sha256:…\"}",
            Self::Tag { source, .. } => return source.hint(),
            Self::Missing(_) | Self::NoVersion { .. } => {
                "`rollway digest --source FILE --explain` says what is there; `on_missing: wait` waits for it"
            }
            Self::Useless { .. } => "remove one of the two",
            Self::NoKeys | Self::Key { .. } => {
                "give the public key that `cosign generate-key-pair` made, or that `cosign public-key` prints, as PEM"
            }
            Self::KeyKind { .. } => {
                "sign with a key of ECDSA on P-256, as `cosign generate-key-pair` makes it, or on P-384, of RSA with 2048 to 8192 bits, or of Ed25519"
            }
            Self::Unverified { .. } => {
                "get a version that check offers, or sign this one; a put whose image is signed after it needs `no_get: true`"
            }
            Self::Gone(_) => "it was deleted there; check again for a newer version, and unpin this one",
            Self::Write { source, .. } => {
                let is_place =
                    matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                let usual = "the first argument must be a directory that this user can write to";
                return storage_hint(source).or_else(|| is_place.then(|| usual.to_owned()));
            }
            Self::Taken { .. } => "give an empty directory",
            Self::Platform { known, .. } if known.is_empty() => {
                "it is an index without images: build and push them again"
            }
            Self::Platform { .. } => "name one of them in `platform`, in the params or in the source",
            Self::NotAnImage(_) => "`skip_download: true` fetches its names without its content",
            Self::Layer { source, .. } | Self::Unpack(source) => return source.hint(),
            Self::ContentTrust => {
                "remove `content_trust`, and sign the digest that put returns with `cosign sign`"
            }
        };
        Some(hint.to_owned())
    }
}
