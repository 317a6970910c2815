//! How the keys of a source fit together: which of the three ways of watching it is, and what an
//! image must have to be offered. Pure.

use std::time::Duration;

use super::Error;
use super::listing::{Listing, Versions, Ways};
use super::order::Order;
use super::pattern::Pattern;
use super::source::{BareTag, OnMissing, Source};
use super::verify::{PublicKey, Unusable};
use crate::image::Platform;

/// Signatures, attestations and the index of referrers of registries without an API for them.
const ARTIFACTS: &str = r"^sha256-[0-9a-f]{64}(\.[a-z]+)?$";

/// What a check looks for.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) mode: Mode,
    pub(super) gates: Gates,
    pub(super) track_moves: bool,
    pub(super) on_missing: Option<OnMissing>,
    /// The platform whose image alone counts for a change.
    pub(super) only_platform: Option<Platform>,
}

/// The ways of watching.
#[derive(Debug)]
pub(super) enum Mode {
    /// One tag.
    Tag(String),
    /// Those of all tags that the listing chooses.
    Listing(Box<Listing>),
}

/// What an image must have to be offered.
#[derive(Debug, Default)]
pub(super) struct Gates {
    pub(super) platforms: Vec<Platform>,
    pub(super) minimum_age: Option<Duration>,
    /// The platform whose image tells the age.
    pub(super) platform: Platform,
    pub(super) keys: Vec<PublicKey>,
}

impl Gates {
    /// Returns whether any image passes.
    pub(super) fn are_open(&self) -> bool {
        self.platforms.is_empty() && self.minimum_age.is_none() && self.keys.is_empty()
    }
}

impl Rules {
    /// Makes sense of the keys.
    pub(super) fn of(source: &Source) -> Result<Self, Error> {
        refuse_useless(source)?;
        let mode = match source.own_tag() {
            Some(tag) => Mode::Tag(tag.to_owned()),
            None => Mode::Listing(Box::new(listing(source))),
        };
        let platform = source.platform.clone().unwrap_or_else(Platform::here);
        let gates = Gates {
            platforms: source.platforms.clone(),
            minimum_age: source.minimum_age.filter(|age| !age.is_zero()),
            platform: platform.clone(),
            keys: keys(source)?,
        };
        Ok(Self {
            mode,
            gates,
            track_moves: source.track_moves,
            on_missing: source.on_missing,
            only_platform: source.only_platform_changes.then_some(platform),
        })
    }
}

fn listing(source: &Source) -> Listing {
    let versions = Versions {
        variant: source.variant().to_owned(),
        constraint: source.semver_constraint.clone(),
        pre_releases: source.pre_releases,
        prefixes: source.pre_release_prefixes.clone(),
        is_strict: source.strict_versions,
        bare_tag: source.bare_tag.unwrap_or_default(),
    };
    let ways = match (&source.tag_regex, source.order) {
        (pattern, Some(order)) => Ways::Ordered { pattern: pattern.clone(), order, versions },
        (Some(pattern), None) => Ways::Matching { pattern: pattern.clone(), by_age: source.created_at_sort },
        (None, None) => Ways::Versions(versions),
    };
    let artifacts = || vec![Pattern::parse(ARTIFACTS).expect("a constant that is a pattern")];
    Listing {
        ways,
        allow: source.allow_tags.clone(),
        deny: source.deny_tags.clone().unwrap_or_else(artifacts),
        most: source.max_tags.map(std::num::NonZeroUsize::get),
    }
}

/// Refuses keys that would silently do nothing. Those of `registry-image` are let through where it
/// lets them through: pipelines have them.
fn refuse_useless(source: &Source) -> Result<(), Error> {
    let bare_tag = (source.bare_tag.is_some(), "bare_tag");
    let lists = [
        (source.order.is_some(), "order"),
        (source.strict_versions, "strict_versions"),
        bare_tag,
        (!source.allow_tags.is_empty(), "allow_tags"),
        (source.deny_tags.as_ref().is_some_and(|list| !list.is_empty()), "deny_tags"),
        (source.max_tags.is_some(), "max_tags"),
    ];
    if source.tag.is_some() {
        return refuse(&lists, "`tag`, which names the one tag that is watched");
    }
    if let Some(order) = source.order {
        refuse(&[(source.created_at_sort, "created_at_sort")], "`order`, which is another order")?;
        refuse(&[bare_tag], "`order`: the bare tag has no place in one")?;
        let versions = [
            (source.strict_versions, "strict_versions"),
            (source.semver_constraint.is_some(), "semver_constraint"),
            (source.pre_releases, "pre_releases"),
            (!source.pre_release_prefixes.is_empty(), "pre_release_prefixes"),
        ];
        let is_semantic = order == Order::Semver;
        return if is_semantic { Ok(()) } else { refuse(&versions, "`order`, unless that is `semver`") };
    }
    if source.tag_regex.is_some() {
        let versions = [(source.strict_versions, "strict_versions"), bare_tag];
        refuse(&versions, "`tag_regex`, which switches semantic versions off")?;
        let newest = [(source.max_tags.is_some(), "max_tags")];
        refuse(&newest, "`tag_regex` without `order`: there is no newest tag then")?;
        let changes = [(source.only_platform_changes, "only_platform_changes")];
        return refuse(&changes, "`tag_regex` without `order`: all tags are looked at each time then");
    }
    let is_alone = source.bare_tag == Some(BareTag::Alone) && source.semver_constraint.is_some();
    refuse(&[(is_alone, "bare_tag")], "`semver_constraint`, which no bare tag meets")
}

fn refuse(keys: &[(bool, &'static str)], beside: &'static str) -> Result<(), Error> {
    match keys.iter().find(|(is_set, _)| *is_set) {
        Some((_, key)) => Err(Error::Useless { key, beside }),
        None => Ok(()),
    }
}

/// Returns the keys whose signatures count; none when `verify` is not set.
pub(super) fn keys(source: &Source) -> Result<Vec<PublicKey>, Error> {
    let Some(verify) = &source.verify else { return Ok(Vec::new()) };
    if verify.cosign.keys.is_empty() {
        return Err(Error::NoKeys);
    }
    let parse = |(position, pem): (usize, &String)| {
        PublicKey::from_pem(pem).map_err(|unusable| match unusable {
            Unusable::NoKey(problem) => Error::Key { position, problem },
            Unusable::Kind(kind) => Error::KeyKind { position, kind },
        })
    };
    verify.cosign.keys.iter().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(keys: &str) -> String {
        let source: Source = serde_json::from_str(&format!(r#"{{"repository": "app", {keys}}}"#)).unwrap();
        Rules::of(&source).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn keys_that_would_do_nothing_are_refused() {
        for (keys, refused) in [
            (r#""tag": "1", "order": "numeric""#, "`source.order` has no effect beside `tag`"),
            (r#""tag": "1", "max_tags": 3"#, "`source.max_tags` has no effect beside `tag`"),
            (r#""tag": "1", "deny_tags": ["a"]"#, "`source.deny_tags` has no effect beside `tag`"),
            (r#""tag": "1", "bare_tag": "never""#, "`source.bare_tag` has no effect beside `tag`"),
            (
                r#""tag_regex": "a", "bare_tag": "alone""#,
                "`source.bare_tag` has no effect beside `tag_regex`",
            ),
            (r#""order": "semver", "bare_tag": "never""#, "`source.bare_tag` has no effect beside `order`"),
            (
                r#""semver_constraint": "1.x", "bare_tag": "alone""#,
                "`source.bare_tag` has no effect beside `semver_constraint`",
            ),
            (
                r#""tag_regex": "a", "only_platform_changes": true"#,
                "`source.only_platform_changes` has no effect beside `tag_regex` without `order`",
            ),
            (
                r#""order": "numeric", "pre_releases": true"#,
                "`source.pre_releases` has no effect beside `order`, unless that is `semver`",
            ),
            (
                r#""order": "kpack", "strict_versions": true"#,
                "`source.strict_versions` has no effect beside `order`, unless that is `semver`",
            ),
            (
                r#""order": "numeric", "created_at_sort": true"#,
                "`source.created_at_sort` has no effect beside `order`",
            ),
            (
                r#""order": "numeric", "semver_constraint": "1.x""#,
                "`source.semver_constraint` has no effect beside `order`",
            ),
            (
                r#""tag_regex": "a", "strict_versions": true"#,
                "`source.strict_versions` has no effect beside `tag_regex`",
            ),
            (
                r#""tag_regex": "a", "max_tags": 1"#,
                "`source.max_tags` has no effect beside `tag_regex` without `order`",
            ),
            (r#""verify": {"cosign": {"keys": []}}"#, "`source.verify.cosign.keys` is empty"),
            (
                r#""verify": {"cosign": {"keys": ["x"]}}"#,
                "`source.verify.cosign.keys[0]` is not a public key",
            ),
        ] {
            assert!(refusal(keys).starts_with(refused), "{keys}: {}", refusal(keys));
        }
    }

    #[test]
    fn keys_that_registry_image_lets_through_are_let_through() {
        for keys in [
            r#""tag": "1", "tag_regex": "a", "semver_constraint": "1.x", "pre_releases": true"#,
            r#""tag_regex": "a", "variant": "alpine", "semver_constraint": "1.x""#,
            r#""created_at_sort": true"#,
            r#""order": "semver", "semver_constraint": "1.x""#,
            r#""order": "semver", "strict_versions": true, "pre_releases": true, "variant": "alpine""#,
            r#""order": "kpack", "max_tags": 5"#,
            r#""order": "kpack", "only_platform_changes": true"#,
            r#""tag": "1", "deny_tags": [], "bare_tag": "", "max_tags": """#,
            r#""tag": "1", "only_platform_changes": true"#,
            r#""semver_constraint": "1.x", "bare_tag": "never""#,
        ] {
            assert_eq!(refusal(keys), "", "{keys}");
        }
    }
}
