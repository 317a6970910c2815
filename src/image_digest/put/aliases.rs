//! `bump_aliases`: which of `1.2`, `1` and `latest` a version takes over. Pure.

use crate::image_digest::semver::Semver;

/// Returns the aliases of `version`, the one that moves least first. A pre-release has none.
///
/// An alias stays where it is when the repository has a version that it belongs to more. `present`
/// are all tags; pre-releases, other variants and what is no version do not count.
pub(super) fn bumped(version: &Semver, variant: &str, present: &[String]) -> Vec<String> {
    if version.is_pre_release() {
        return Vec::new();
    }
    let of_variant = present.iter().filter_map(|tag| base(tag, variant));
    let finals = of_variant.filter_map(Semver::coerce).filter(|other| !other.is_pre_release());
    let finals: Vec<Semver> = finals.collect();
    let is_newest = finals.iter().all(|other| other <= version);
    let is_newest_patch = !finals
        .iter()
        .any(|it| (it.major, it.minor) == (version.major, version.minor) && it.patch > version.patch);
    let is_newest_minor = !finals.iter().any(|it| it.major == version.major && it.minor > version.minor);
    let suffixed = |name: String| if variant.is_empty() { name } else { format!("{name}-{variant}") };
    let latest = if variant.is_empty() { "latest" } else { variant };
    [
        (is_newest_patch, suffixed(format!("{}.{}", version.major, version.minor))),
        (is_newest_patch && is_newest_minor, suffixed(version.major.to_string())),
        (is_newest, latest.to_owned()),
    ]
    .into_iter()
    .filter_map(|(is_bumped, alias)| is_bumped.then_some(alias))
    .collect()
}

fn base<'a>(tag: &'a str, variant: &str) -> Option<&'a str> {
    if variant.is_empty() { Some(tag) } else { tag.strip_suffix(variant)?.strip_suffix('-') }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aliases(version: &str, variant: &str, present: &[&str]) -> String {
        let present: Vec<_> = present.iter().map(|&tag| tag.to_owned()).collect();
        bumped(&Semver::coerce(version).unwrap(), variant, &present).join(" ")
    }

    #[test]
    fn aliases_go_to_the_newest_that_they_name() {
        for (version, variant, present, wanted) in [
            ("1.2.3", "", &[][..], "1.2 1 latest"),
            ("1.2.3", "", &["1.2.2", "1.2", "1", "latest"], "1.2 1 latest"),
            ("1.2.3", "", &["1.2.3"], "1.2 1 latest"),
            ("1.2.3", "", &["1.2.4"], ""),
            ("1.2.3", "", &["1.3.0"], "1.2"),
            ("1.2.3", "", &["1.3"], "1.2"),
            ("1.2.3", "", &["2.0.0"], "1.2 1"),
            ("1.2.3", "", &["2"], "1.2 1"),
            ("1.2.3", "", &["1.3.0", "2.0.0"], "1.2"),
            ("1.2.3", "", &["1.1.9", "0.9.0"], "1.2 1 latest"),
            ("1.2.3", "", &["2.0.0-rc.1", "1.3.0-beta", "1.2.4-alpha.1"], "1.2 1 latest"),
            ("1.2.3", "", &["v1.2.4"], ""),
            ("1.2.3", "", &["abc", "latest", "1.2.3.4", "sha-f00"], "1.2 1 latest"),
            ("1.2.3-rc.1", "", &[], ""),
            ("1", "", &["1.0.0"], "1.0 1 latest"),
            ("0.0.0", "", &[], "0.0 0 latest"),
            ("1.2.3", "alpine", &[], "1.2-alpine 1-alpine alpine"),
            ("1.2.3", "alpine", &["2.0.0", "1.2.4"], "1.2-alpine 1-alpine alpine"),
            ("1.2.3", "alpine", &["2.0.0-alpine"], "1.2-alpine 1-alpine"),
            ("1.2.3", "alpine", &["1.3.0-alpine", "1.2.9-slim"], "1.2-alpine"),
            ("1.2.3", "alpine", &["1.3.0-rc.1-alpine", "alpine", "-alpine"], "1.2-alpine 1-alpine alpine"),
            ("1.2.3", "alpine", &["2.0.0alpine"], "1.2-alpine 1-alpine alpine"),
        ] {
            assert_eq!(aliases(version, variant, present), wanted, "{version} {variant} {present:?}");
        }
    }
}
