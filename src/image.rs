//! What an image says about itself. Pure: no registry is asked here.

mod buildpacks;
mod config;
mod contents;
pub mod diff;
mod platform;

pub use buildpacks::{Buildpacks, java};
pub use config::Config;
pub(crate) use contents::size;
pub use contents::{Contents, Descriptor, Parts};
pub use platform::Platform;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A content digest, checked when it is made: `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A digest that is not one.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a digest (sha256: and 64 lower-case hex digits)")]
pub struct BadDigest(String);

impl Digest {
    /// Returns the whole text, algorithm included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first 12 hex digits with the algorithm: enough to tell two apart in a log.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(.."sha256:".len() + 12).unwrap_or(&self.0)
    }
}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() == 64 && is_hex { Ok(Self(text.to_owned())) } else { Err(BadDigest(text.to_owned())) }
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;

    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// `repository@digest`: the only way an image is named in a write to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Host and path, without tag.
    pub repository: String,
    /// What the tag pointed at.
    pub digest: Digest,
}

impl fmt::Display for Pinned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.repository, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_refuses_anything_but_sha256_hex() {
        let hex = "0123456789abcdef".repeat(4);
        assert!(format!("sha256:{hex}").parse::<Digest>().is_ok());
        for bad in ["", "sha256:", "sha256:abc", &hex, &format!("sha256:{}", hex.to_uppercase())] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
