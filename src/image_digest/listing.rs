//! Which of a repository's tags are versions, in which order, and why the others are not. Pure:
//! `check` asks the registry in between.

use std::collections::{BTreeMap, BTreeSet};

use super::constraint::Constraint;
use super::order::{Key, Order, dots};
use super::pattern::Pattern;
use super::reason::{Left, Reason};
use super::semver::Semver;
use super::source::BareTag;
use crate::image::Digest;
use crate::registry;

/// What is known to start a pre-release.
const PRE_RELEASES: [&str; 3] = ["alpha", "beta", "rc"];

/// A number of so many digits is a date, a build or a commit rather than a major version.
const LONG_NUMBER: u64 = 1_000_000;

/// Which tags are watched.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) ways: Ways,
    pub(super) allow: Vec<Pattern>,
    pub(super) deny: Vec<Pattern>,
    pub(super) most: Option<usize>,
}

/// The ways of watching several tags.
#[derive(Debug)]
pub(super) enum Ways {
    /// Semantic versions.
    Versions(Versions),
    /// All that match, as they are listed or by their age.
    Matching { pattern: Pattern, by_age: bool },
    /// All that have a place in an order; of versions, which of them.
    Ordered { pattern: Option<Pattern>, order: Order, versions: Versions },
}

/// Which semantic versions.
#[derive(Debug)]
pub(super) struct Versions {
    pub(super) variant: String,
    pub(super) constraint: Option<Constraint>,
    pub(super) pre_releases: bool,
    pub(super) prefixes: Vec<String>,
    pub(super) is_strict: bool,
    pub(super) bare_tag: BareTag,
}

/// A tag that may be a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) tag: String,
    pub(super) key: Key,
}

/// A candidate and its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) tag: String,
    pub(super) key: Key,
    pub(super) digest: Digest,
}

/// What a listing makes of the tags that there are.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) candidates: Vec<Candidate>,
    /// The bare tag, if it is listed and may be a version.
    pub(super) bare: Option<String>,
    /// Candidates that are older than the version that Concourse has, the newest first.
    pub(super) older: Vec<Candidate>,
    pub(super) left: Vec<Left>,
}

impl Listing {
    /// Sorts the tags into those that may be versions and the others.
    pub(super) fn choose(&self, tags: Vec<String>) -> Choice {
        let mut choice = Choice::default();
        let mut seen = BTreeSet::new();
        for (place, tag) in tags.into_iter().enumerate() {
            if !seen.insert(tag.clone()) {
                continue;
            }
            if self.bare() == Some(&tag) && self.filtered(&tag).is_none() {
                if self.wants_bare() {
                    choice.bare = Some(tag);
                } else {
                    choice.left.push(Left { tag, digest: None, reason: Reason::Bare });
                }
                continue;
            }
            match self.key(&tag, place) {
                Ok(key) => choice.candidates.push(Candidate { tag, key }),
                Err(reason) => choice.left.push(Left { tag, digest: None, reason }),
            }
        }
        choice
    }

    /// Returns what a tag is ordered by, or why it is no version.
    pub(super) fn key(&self, tag: &str, place: usize) -> Result<Key, Reason> {
        if let Some(reason) = self.filtered(tag) {
            return Err(reason);
        }
        match &self.ways {
            Ways::Versions(versions) => versions.key(tag),
            Ways::Matching { pattern, .. } => {
                if pattern.is_match(tag) {
                    Ok(Key::Place(place))
                } else {
                    Err(Reason::NoMatch)
                }
            }
            Ways::Ordered { pattern, order, versions } => {
                let stem = versions.stem(tag)?;
                let text = match pattern {
                    Some(pattern) => pattern.key(tag).ok_or(Reason::NoMatch)?,
                    None => tag,
                };
                let text = if text == tag { stem } else { text };
                let key = match order {
                    Order::Semver => Key::version(text, tag),
                    order => Key::read(*order, text),
                };
                let key = key.ok_or_else(|| Reason::NoKey(text.to_owned()))?;
                if let Key::Version(version, _) = &key {
                    versions.admit(version)?;
                }
                Ok(key)
            }
        }
    }

    fn filtered(&self, tag: &str) -> Option<Reason> {
        if !registry::is_tag(tag) {
            return Some(Reason::NoTag);
        }
        if let Some(pattern) = self.deny.iter().find(|pattern| pattern.is_match(tag)) {
            return Some(Reason::Denied(pattern.to_string()));
        }
        let is_allowed = self.allow.is_empty() || self.allow.iter().any(|pattern| pattern.is_match(tag));
        (!is_allowed).then_some(Reason::NotAllowed)
    }

    /// Returns whether tags that are older than the version that Concourse has need not be asked
    /// about.
    pub(super) fn has_order(&self) -> bool {
        !matches!(self.ways, Ways::Matching { .. })
    }

    /// Returns whether what was found is to be sorted by the age of the images.
    pub(super) fn is_by_age(&self) -> bool {
        matches!(self.ways, Ways::Matching { by_age: true, .. })
    }

    /// Returns the tag that floats beside semantic versions.
    pub(super) fn bare(&self) -> Option<&str> {
        match &self.ways {
            Ways::Versions(versions) if versions.variant.is_empty() => Some("latest"),
            Ways::Versions(versions) => Some(&versions.variant),
            Ways::Matching { .. } | Ways::Ordered { .. } => None,
        }
    }

    fn wants_bare(&self) -> bool {
        matches!(&self.ways, Ways::Versions(versions) if versions.constraint.is_none() && versions.bare_tag != BareTag::Never)
    }

    /// Returns whether the bare tag counts only where there is nothing else.
    pub(super) fn is_bare_alone(&self) -> bool {
        matches!(&self.ways, Ways::Versions(versions) if versions.bare_tag == BareTag::Alone)
    }

    /// Puts what was found in order, the newest last. Of semantic versions with the same image one is
    /// kept. `known` is the version that Concourse has.
    pub(super) fn arrange(&self, known: Option<Found>, found: Vec<Found>) -> (Vec<Found>, Vec<Left>) {
        let (mut kept, left) = match &self.ways {
            Ways::Versions(_) => one_per_image(known, found),
            Ways::Matching { .. } | Ways::Ordered { .. } => {
                (known.into_iter().chain(found).collect(), Vec::new())
            }
        };
        kept.sort_by(|one: &Found, other| {
            (&one.key, &one.tag, &one.digest).cmp(&(&other.key, &other.tag, &other.digest))
        });
        (kept, left)
    }

    /// Returns a warning when the newest version is a long number above versions with dots.
    pub(super) fn doubt(&self, arranged: &[Found]) -> Option<String> {
        let Ways::Versions(_) = &self.ways else { return None };
        let is_long =
            |found: &Found| matches!(&found.key, Key::Version(version, _) if version.major >= LONG_NUMBER);
        let newest = arranged.last().filter(|found| is_long(found))?;
        let below = arranged.iter().rfind(|found| !is_long(found) && dots(&found.tag) > 0)?;
        Some(format!(
            "warning: the tag `{}` is taken for a version newer than `{}`; if it is a date, a build number or a commit, set `strict_versions: true`",
            newest.tag, below.tag
        ))
    }
}

impl Versions {
    fn key(&self, tag: &str) -> Result<Key, Reason> {
        let key = Key::version(self.stem(tag)?, tag).ok_or(Reason::NoVersion)?;
        if let Key::Version(version, _) = &key {
            self.admit(version)?;
        }
        Ok(key)
    }

    /// Returns a tag without the variant.
    fn stem<'a>(&self, tag: &'a str) -> Result<&'a str, Reason> {
        if self.variant.is_empty() {
            return Ok(tag);
        }
        let stripped = tag.strip_suffix(&self.variant).and_then(|rest| rest.strip_suffix('-'));
        stripped.ok_or_else(|| Reason::OtherVariant(self.variant.clone()))
    }

    /// Decides whether a version is one that is watched.
    fn admit(&self, version: &Semver) -> Result<(), Reason> {
        if self.is_strict && version.major >= LONG_NUMBER {
            return Err(Reason::LongNumber);
        }
        if self.constraint.as_ref().is_some_and(|constraint| !constraint.accepts(version)) {
            return Err(Reason::Constraint);
        }
        if version.is_pre_release() {
            if !self.pre_releases {
                return Err(Reason::PreRelease);
            }
            let is_variant = self.prefixes.is_empty() && version.pre.contains('-');
            let mut known = PRE_RELEASES.into_iter().chain(self.prefixes.iter().map(String::as_str));
            if is_variant || !known.any(|prefix| version.pre.starts_with(prefix)) {
                return Err(Reason::PreReleaseKind(version.pre.clone()));
            }
        }
        Ok(())
    }
}

impl Choice {
    /// Leaves out what comes before the version that Concourse has, and that one itself.
    pub(super) fn since(&mut self, tag: &str, key: &Key) {
        self.candidates.retain(|candidate| candidate.tag != tag);
        let (older, newer): (Vec<_>, Vec<_>) = std::mem::take(&mut self.candidates)
            .into_iter()
            .partition(|candidate| candidate.key.precedence(key).is_lt());
        self.candidates = newer;
        self.older = older;
        self.older.sort_by(|one, other| other.key.cmp(&one.key));
        let older = self.older.iter().map(|candidate| candidate.tag.clone());
        self.left.extend(older.map(|tag| Left { tag, digest: None, reason: Reason::Older }));
    }

    /// Leaves out all but the newest.
    pub(super) fn cap(&mut self, most: usize) {
        let Some(surplus) = self.candidates.len().checked_sub(most).filter(|surplus| *surplus > 0) else {
            return;
        };
        self.candidates.sort_by(|one, other| (&one.key, &one.tag).cmp(&(&other.key, &other.tag)));
        for Candidate { tag, .. } in self.candidates.drain(..surplus) {
            self.left.push(Left { tag, digest: None, reason: Reason::Capped(most) });
        }
    }
}

/// Keeps one version of each image: a final one rather than a pre-release, then the one whose tag
/// says more, then the one that came first.
fn one_per_image(known: Option<Found>, found: Vec<Found>) -> (Vec<Found>, Vec<Left>) {
    let anchor = known.as_ref().map(|known| known.key.clone());
    let mut kept: Vec<Found> = Vec::new();
    let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
    let mut left = Vec::new();
    for found in known.into_iter().chain(found) {
        let Some(place) = places.get(&found.digest).copied() else {
            places.insert(found.digest.clone(), kept.len());
            kept.push(found);
            continue;
        };
        let Some(first) = kept.get_mut(place) else { continue };
        // Another name of the version that Concourse has would only be news of nothing.
        let is_alias = anchor.as_ref().is_some_and(|anchor| found.key.precedence(anchor).is_eq());
        let loser = if !is_alias && says_more(&found.key, &first.key) {
            std::mem::replace(first, found)
        } else {
            found
        };
        let reason = Reason::SameImage(first.tag.clone());
        left.push(Left { tag: loser.tag, digest: Some(loser.digest), reason });
    }
    (kept, left)
}

fn says_more(one: &Key, other: &Key) -> bool {
    let (Key::Version(one, dots), Key::Version(other, fewer)) = (one, other) else { return false };
    match (one.is_pre_release(), other.is_pre_release()) {
        (false, true) => true,
        (true, false) => false,
        _ => dots > fewer,
    }
}

#[cfg(test)]
mod tests;
