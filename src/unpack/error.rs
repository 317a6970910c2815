//! Why a layer was not unpacked.

use std::io;

use crate::failure::{Explain, storage_hint};

/// A layer that is damaged, hostile or too big, or a file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read or decompressed.
    #[error("failed to read it")]
    Read(#[source] io::Error),
    /// It is no archive.
    #[error("it is not a tar archive")]
    NotTar,
    /// The archive is not whole, or contradicts itself.
    #[error("its archive is damaged: {0}")]
    Damaged(&'static str),
    /// A name that would be written elsewhere.
    #[error("`{entry}` leads out of the image")]
    Outside {
        /// The name in the archive.
        entry: String,
    },
    /// An entry that makes no sense.
    #[error("`{entry}` {problem}")]
    Entry {
        /// The name in the archive.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It would fill the disk.
    #[error("it unpacks to more than {limit} bytes or to too many files")]
    TooBig {
        /// What it may unpack to.
        limit: u64,
    },
    /// A file could not be written.
    #[error("failed to write `{entry}`")]
    Write {
        /// The name in the archive.
        entry: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Someone else failed, or the step is to end.
    #[error("stopped")]
    Stopped,
}

impl Error {
    pub(super) fn outside(entry: &[u8]) -> Self {
        Self::Outside { entry: shown(entry) }
    }

    pub(super) fn entry(entry: &[u8], problem: String) -> Self {
        Self::Entry { entry: shown(entry), problem }
    }
}

pub(super) fn write_error(entry: &[u8], source: io::Error) -> Error {
    Error::Write { entry: shown(entry), source }
}

/// A name for a message: short, and nothing in it that a terminal obeys.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let kept: String = text.chars().filter(|character| !character.is_control()).take(200).collect();
    if text.chars().nth(200).is_some() { kept + "…" } else { kept }
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Write { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                "this user cannot own files as the image wants it, or the file system takes no such name"
            }
            Self::Write { source, .. } => return storage_hint(source),
            Self::NotTar | Self::Damaged(_) => {
                "an image's layers are tar archives, plain or compressed with gzip or zstd; `skip_download: true` \
                 fetches none"
            }
            Self::Outside { .. } | Self::TooBig { .. } => {
                "no honest image has such a layer; find out who pushed it before you use it"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
