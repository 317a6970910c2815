//! Under which tags the image is pushed, and in which order. Pure.

use crate::image_digest::semver::Semver;
use crate::registry::is_tag;

use super::{Error, aliases};

/// The tags of a put, by where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tags {
    /// The source's.
    pub(super) source: Option<String>,
    /// That of `version`.
    pub(super) version: Option<String>,
    /// Those that move to the version.
    pub(super) aliases: Vec<String>,
    /// Those of the file.
    pub(super) additional: Vec<String>,
}

impl Tags {
    /// Returns the tags as they are told: the first is the version's.
    pub(super) fn told(&self) -> Vec<&str> {
        // registry-image names the alias first that moves most.
        let aliases = self.aliases.iter().rev();
        once(self.source.iter().chain(&self.version).chain(aliases).chain(&self.additional))
    }

    /// Returns the tags as they are written: one that moves is written after those that stay, so
    /// that a put that fails has moved as little as possible.
    pub(super) fn written(&self) -> Vec<&str> {
        let moving = self.aliases.iter().chain(&self.source);
        let all: Vec<_> = self.version.iter().chain(&self.additional).chain(moving).collect();
        // A tag that comes from two places is as moving as the more moving one.
        let mut last_first = once(all.into_iter().rev());
        last_first.reverse();
        last_first
    }
}

fn once<'a>(tags: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for tag in tags {
        if !seen.contains(&tag.as_str()) {
            seen.push(tag.as_str());
        }
    }
    seen
}

/// Reads `version`, as leniently as registry-image does.
pub(super) fn version(text: &str) -> Result<Semver, Error> {
    let wrong = |reason| Error::Version { version: text.to_owned(), reason };
    if text.contains('+') {
        return Err(wrong("has build metadata, which no tag can hold"));
    }
    Semver::coerce(text).ok_or_else(|| wrong("is not a version"))
}

/// Returns the tag of a version.
pub(super) fn of_version(version: &Semver, variant: &str) -> Result<String, Error> {
    let tag = if variant.is_empty() { version.to_string() } else { format!("{version}-{variant}") };
    checked(tag, "made of `version` and `variant`")
}

/// Returns the aliases that move to `version`.
pub(super) fn bumped(version: &Semver, variant: &str, present: &[String]) -> Result<Vec<String>, Error> {
    let aliases = aliases::bumped(version, variant, present).into_iter();
    aliases.map(|alias| checked(alias, "made of `version` and `variant`")).collect()
}

/// Returns the tags of a file's text; `path` is for messages.
pub(super) fn additional(text: &str, prefix: &str, path: &str) -> Result<Vec<String>, Error> {
    let origin = format!("in `{path}`, which `params.additional_tags` names");
    text.split_whitespace().map(|word| checked(format!("{prefix}{word}"), &origin)).collect()
}

fn checked(tag: String, origin: &str) -> Result<String, Error> {
    if is_tag(&tag) { Ok(tag) } else { Err(Error::Tag { tag, origin: origin.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|&tag| tag.to_owned()).collect()
    }

    #[test]
    fn versions_become_canonical_tags() {
        for (given, variant, wanted) in [
            ("1.2.3", "", "1.2.3"),
            ("v1.2.3", "", "1.2.3"),
            ("1.2", "", "1.2.0"),
            ("1", "alpine", "1.0.0-alpine"),
            ("1.2.3-rc.1", "", "1.2.3-rc.1"),
            ("1.2.3-rc.1", "slim", "1.2.3-rc.1-slim"),
        ] {
            assert_eq!(of_version(&version(given).unwrap(), variant).unwrap(), wanted, "{given}");
        }
        for wrong in ["", "latest", "1.2.3.4", "1.2.3+5", "1.2.3 "] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
        assert!(of_version(&version("1").unwrap(), "a/b").is_err());
    }

    #[test]
    fn moving_tags_are_written_last_and_told_first() {
        let tags = Tags {
            source: Some("stable".to_owned()),
            version: Some("1.2.3".to_owned()),
            aliases: texts(&["1.2", "1", "latest"]),
            additional: texts(&["f00ba4", "b7"]),
        };
        assert_eq!(tags.told(), ["stable", "1.2.3", "latest", "1", "1.2", "f00ba4", "b7"]);
        assert_eq!(tags.written(), ["1.2.3", "f00ba4", "b7", "1.2", "1", "latest", "stable"]);
    }

    #[test]
    fn tag_that_comes_twice_is_written_once_and_as_late_as_it_moves() {
        let tags = Tags {
            source: Some("latest".to_owned()),
            version: Some("1.2.3".to_owned()),
            aliases: texts(&["1.2", "1", "latest"]),
            additional: texts(&["1.2.3", "1"]),
        };
        assert_eq!(tags.told(), ["latest", "1.2.3", "1", "1.2"]);
        assert_eq!(tags.written(), ["1.2.3", "1.2", "1", "latest"]);
    }

    #[test]
    fn additional_tags_are_words_with_a_prefix() {
        assert_eq!(additional(" a\tb\r\n\nc ", "ci-", "tags").unwrap(), ["ci-a", "ci-b", "ci-c"]);
        assert!(additional("\n", "", "tags").unwrap().is_empty());
        let error = additional("ok not/ok", "", "tags").unwrap_err().to_string();
        assert_eq!(error, "`not/ok`, in `tags`, which `params.additional_tags` names, is not a tag");
    }
}
