//! The version: what Concourse stores and hands back. Same shape as `registry-image`, so that pins
//! and history carry over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::image::Digest;

/// A tag and what it pointed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The tag. A version without one means the source's.
    #[serde(default)]
    pub tag: String,
    /// The digest: `sha256:` and 64 hex digits.
    #[serde(default)]
    pub digest: String,
}

impl Version {
    /// Returns the digest, checked.
    pub(super) fn checked_digest(&self) -> Result<Digest, Error> {
        Ok(self.digest.parse()?)
    }

    /// Fills in the tag where the version has none.
    pub(super) fn with_tag(mut self, tag: &str) -> Self {
        if self.tag.is_empty() {
            tag.clone_into(&mut self.tag);
        }
        self
    }
}
