//! The `source` of the pipeline: all keys of `registry-image`, and what this type has beyond them.
//! How keys fit together is decided in `rules`.

use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::constraint::Constraint;
use super::content_trust::ContentTrust;
use super::order::Order;
use super::pattern::Pattern;
use crate::concourse::Context;
use crate::image::Platform;
use crate::registry::{self, Ambient, Client, Sources, with_access_keys};

mod duration;
mod tag;

pub(super) use tag::Tag;

with_access_keys! {
/// Where the image is, which of its tags are versions, and how to get in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The repository, with its host unless it is Docker Hub's.
    pub repository: String,
    /// The tag to watch. Without it, and without `tag_regex` and `order`, semantic versions are.
    #[serde(default, deserialize_with = "tag::optional")]
    #[schemars(with = "Option<Tag>")]
    pub(super) tag: Option<Tag>,
    /// Watch the tags that match; RE2, unanchored.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    #[schemars(with = "Option<String>")]
    pub(super) tag_regex: Option<Pattern>,
    /// Order the tags of `tag_regex` by when their images were built, the oldest first.
    #[serde(default, deserialize_with = "registry::or_default")]
    #[schemars(with = "bool")]
    pub(super) created_at_sort: bool,
    /// Order tags by what stands in them: in the group `order` of `tag_regex`, in its first group, or
    /// in the whole tag.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    pub(super) order: Option<Order>,
    /// Watch the versions that end in `-` and this, which is no part of what they are ordered by; put
    /// appends it.
    #[serde(default, deserialize_with = "registry::or_default")]
    #[schemars(with = "String")]
    variant: String,
    /// Watch the versions that it accepts.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    #[schemars(with = "Option<String>")]
    pub(super) semver_constraint: Option<Constraint>,
    /// Watch pre-releases too.
    #[serde(default, deserialize_with = "registry::or_default")]
    #[schemars(with = "bool")]
    pub(super) pre_releases: bool,
    /// What a pre-release may start with, beside `alpha`, `beta` and `rc`.
    #[serde(default, deserialize_with = "registry::or_default")]
    #[schemars(with = "Vec<String>")]
    pub(super) pre_release_prefixes: Vec<String>,
    /// Do not take dates, build numbers and commit hashes for versions.
    #[serde(default, deserialize_with = "registry::or_default")]
    #[schemars(with = "bool")]
    pub(super) strict_versions: bool,
    /// When `latest`, or the tag named like the variant, is a version beside the semantic ones.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    pub(super) bare_tag: Option<BareTag>,
    /// Watch only tags that match one of these; RE2, unanchored.
    #[serde(default, deserialize_with = "registry::list")]
    #[schemars(with = "Vec<String>")]
    pub(super) allow_tags: Vec<Pattern>,
    /// Watch no tag that matches one of these; the default leaves out signatures and attestations.
    #[serde(default, deserialize_with = "registry::list_or_nothing")]
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) deny_tags: Option<Vec<Pattern>>,
    /// Look at the newest tags only, at most so many.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    pub(super) max_tags: Option<NonZeroUsize>,
    /// Offer only images that have all of these platforms.
    #[serde(default, deserialize_with = "registry::list")]
    #[schemars(with = "Vec<Platform>")]
    pub(super) platforms: Vec<Platform>,
    /// Do not take it for a change when only the images of other platforms than `platform` changed.
    #[serde(default, deserialize_with = "registry::or_default")]
    #[schemars(with = "bool")]
    pub(super) only_platform_changes: bool,
    /// Offer only images that were built so long ago.
    #[serde(default, deserialize_with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    pub(super) minimum_age: Option<Duration>,
    /// Offer, get and promote only images that are signed.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    pub(super) verify: Option<Verify>,
    /// Give a tag that moves to an image that it had before a version of its own.
    #[serde(default, deserialize_with = "registry::or_default")]
    #[schemars(with = "bool")]
    pub(super) track_moves: bool,
    /// What it means that there is nothing to watch.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    pub(super) on_missing: Option<OnMissing>,
    /// The labels that become metadata of a get; RE2, unanchored.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    #[schemars(with = "Option<String>")]
    pub(super) label_regex: Option<Pattern>,
    /// The annotations of the image's manifest that become metadata of a get; RE2, unanchored.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    #[schemars(with = "Option<String>")]
    pub(super) annotation_regex: Option<Pattern>,
    /// The image of an index that counts; the default is the one for where this runs.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    pub platform: Option<Platform>,
    /// Log every request.
    #[serde(default, deserialize_with = "registry::or_default")]
    #[schemars(with = "bool")]
    pub debug: bool,
    /// Signing with Notary v1, which put refuses.
    #[serde(default, deserialize_with = "registry::or_nothing")]
    pub content_trust: Option<ContentTrust>,
}
}

/// When the bare tag is a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum BareTag {
    /// When no semantic version has its image.
    #[default]
    Unmatched,
    /// When there is no semantic version at all.
    Alone,
    /// Never.
    Never,
}

/// What a check does when there is nothing to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnMissing {
    /// It fails.
    Error,
    /// It answers that there is no version yet.
    Wait,
}

/// Which signatures count.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    /// Signatures made by cosign.
    pub(super) cosign: Cosign,
}

/// Signatures made by cosign.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cosign {
    /// Public keys as PEM: ECDSA on P-256 or P-384, RSA of 2048 to 8192 bits, or Ed25519. A signature by
    /// any of them counts.
    pub(super) keys: Vec<String>,
}

impl Source {
    /// Returns a client for the repository itself, which alone can be written to.
    pub(super) async fn client(&self, context: &Context) -> Result<Client, registry::Error> {
        let access = self.access(&Ambient::of(&context.variables));
        let client = Client::reach(&self.repository, &access, &context.log).await?;
        Ok(if self.debug { client.traced() } else { client })
    }

    /// Returns the places that the repository can be read from: its mirrors, and itself.
    pub(super) async fn sources(&self, context: &Context) -> Result<Sources, registry::Error> {
        let access = self.access(&Ambient::of(&context.variables));
        let sources = Sources::reach(&self.repository, &access, &context.log).await?;
        Ok(if self.debug { sources.with(Client::traced) } else { sources })
    }

    /// Returns the tag, if one is named.
    pub(super) fn own_tag(&self) -> Option<&str> {
        self.tag.as_ref().map(Tag::as_str)
    }

    /// Returns the variant; empty for none.
    pub(super) fn variant(&self) -> &str {
        &self.variant
    }

    /// Returns whether a label of the image becomes metadata.
    #[must_use]
    pub fn shows_label(&self, name: &str) -> bool {
        self.label_regex.as_ref().is_some_and(|pattern| pattern.is_match(name))
    }

    /// Returns whether an annotation of the image's manifest becomes metadata.
    #[must_use]
    pub fn shows_annotation(&self, name: &str) -> bool {
        self.annotation_regex.as_ref().is_some_and(|pattern| pattern.is_match(name))
    }

    /// Returns the tag that stands for versions without one: the one that is watched, or the one that
    /// is there beside semantic versions.
    pub(super) fn usual_tag(&self) -> &str {
        self.own_tag().unwrap_or_else(|| self.bare())
    }

    /// Returns the tag that floats beside semantic versions.
    fn bare(&self) -> &str {
        if self.variant.is_empty() { "latest" } else { &self.variant }
    }
}

#[cfg(test)]
mod tests;
