//! The version: what Concourse stores and hands back. Same shape as `registry-image`, so that pins
//! and history carry over. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::image::Digest;

/// A tag and what it pointed at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The tag. A version without one means the source's.
    #[serde(default)]
    pub tag: String,
    /// The digest: `sha256:` and 64 hex digits.
    #[serde(default)]
    pub digest: String,
    /// With `track_moves`, how many times the tag has moved, and the digest that it left.
    #[serde(default, rename = "move", skip_serializing_if = "Option::is_none")]
    pub moved: Option<String>,
}

impl Version {
    /// Returns the version of a tag that points at `digest`.
    pub(super) fn of(tag: &str, digest: &Digest) -> Self {
        Self { tag: tag.to_owned(), digest: digest.to_string(), moved: None }
    }

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

    /// Returns the version of the same tag after it moved to `digest`. Concourse tells versions apart
    /// by their content alone, so a tag that comes back to an old digest needs something that the old
    /// version did not have. It is a function of this version and the digest: the same answer, however
    /// often a check asks. The digest that was left keeps it apart where the count starts anew, which
    /// it does after a put.
    pub(super) fn moved_to(&self, digest: &Digest) -> Self {
        let count = self.moved.as_deref().and_then(|moved| moved.split('-').next()?.parse::<u64>().ok());
        let left = self.digest.trim_start_matches("sha256:");
        let left: String = left.chars().filter(char::is_ascii_hexdigit).take(12).collect();
        let moved = format!("{}-{left}", count.unwrap_or(0).saturating_add(1));
        Self { moved: Some(moved), ..Self::of(&self.tag, digest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(character: char) -> Digest {
        format!("sha256:{}", character.to_string().repeat(64)).parse().unwrap()
    }

    #[test]
    fn each_move_of_a_tag_makes_a_version_that_was_not_there_before() {
        let mut seen = vec![Version::of("latest", &digest('a'))];
        for letter in ['b', 'a', 'b', 'a', 'c', 'a'] {
            let next = seen.last().unwrap().moved_to(&digest(letter));
            assert!(!seen.contains(&next), "{next:?}");
            seen.push(next);
        }
        assert_eq!(seen.last().unwrap().moved.as_deref(), Some("6-cccccccccccc"));
    }

    #[test]
    fn count_that_starts_anew_after_a_put_makes_no_old_version() {
        let moved = |from: char, to: char| Version::of("latest", &digest(from)).moved_to(&digest(to));
        assert_ne!(moved('b', 'a'), moved('c', 'a'));
    }

    #[test]
    fn version_without_moves_has_the_shape_of_registry_image() {
        let version = Version::of("1", &digest('a'));
        let json = serde_json::to_value(&version).unwrap();
        assert_eq!(json, serde_json::json!({"tag": "1", "digest": digest('a').as_str()}));
    }
}
