//! Versions as tags write them: semantic versions, read leniently. A leading `v`, one to three
//! numbers with any zeros in front, and a pre-release are enough. Pure.

use std::cmp::Ordering;
use std::fmt;

/// A version; equal ones have the same precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Semver {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) patch: u64,
    /// Without the `-` in front; empty for a final version.
    pub(super) pre: String,
}

impl Semver {
    /// Reads a version. What follows a `+` is checked and forgotten: it has no part in precedence.
    pub(super) fn coerce(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        if build.is_some_and(|build| !identifiers(build).all(is_identifier)) {
            return None;
        }
        let (numbers, pre) = match text.split_once('-') {
            Some((numbers, pre)) => (numbers, Some(pre)),
            None => (text, None),
        };
        if pre.is_some_and(|pre| !identifiers(pre).all(is_pre_release)) {
            return None;
        }
        let mut parts = [0; 3];
        for (place, number) in numbers.split('.').enumerate() {
            *parts.get_mut(place)? = number_of(number)?;
        }
        let [major, minor, patch] = parts;
        Some(Self { major, minor, patch, pre: pre.unwrap_or_default().to_owned() })
    }

    /// Returns whether it comes before the final version of its numbers.
    pub(super) fn is_pre_release(&self) -> bool {
        !self.pre.is_empty()
    }
}

impl Ord for Semver {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch)
            .cmp(&(other.major, other.minor, other.patch))
            .then_with(|| compare_pre_releases(&self.pre, &other.pre))
    }
}

impl PartialOrd for Semver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Semver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if self.pre.is_empty() { Ok(()) } else { write!(formatter, "-{}", self.pre) }
    }
}

/// A final version comes after its pre-releases; of two pre-releases the first difference decides.
pub(super) fn compare_pre_releases(one: &str, other: &str) -> Ordering {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut ones, mut others) = (identifiers(one), identifiers(other));
    loop {
        let ordering = match (ones.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => compare_identifiers(one, other),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

/// Numbers come before words; a number that no `u64` holds is a word.
fn compare_identifiers(one: &str, other: &str) -> Ordering {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => one.cmp(other),
    }
}

fn identifiers(text: &str) -> std::str::Split<'_, char> {
    text.split('.')
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_pre_release(text: &str) -> bool {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_identifier(text) && !(is_number && text.len() > 1 && text.starts_with('0'))
}

fn number_of(text: &str) -> Option<u64> {
    // `parse` alone would let a sign through.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently() {
        for (text, read) in [
            ("1", "1.0.0"),
            ("v1.2", "1.2.0"),
            ("1.2.3", "1.2.3"),
            ("01.002.3", "1.2.3"),
            ("1-rc.1", "1.0.0-rc.1"),
            ("1.2.3-alpine", "1.2.3-alpine"),
            ("1.2.3-0", "1.2.3-0"),
            ("1.2.3-rc.1+build.5", "1.2.3-rc.1"),
            ("2024-01-01", "2024.0.0-01-01"),
            ("20240101", "20240101.0.0"),
            ("1.2.3--", "1.2.3--"),
            ("18446744073709551615", "18446744073709551615.0.0"),
        ] {
            assert_eq!(
                Semver::coerce(text).map(|version| version.to_string()).as_deref(),
                Some(read),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_version_is_not_read() {
        for text in [
            "",
            "v",
            "V1",
            "latest",
            "1.2.3.4",
            "1_2",
            "abc123",
            "1.",
            ".1",
            "1..2",
            "+1",
            "1.+2",
            "1.2.3-",
            "1.2.3-a..b",
            "1.2.3-01",
            "1.2.3+",
            "1.2.3-ü",
            "18446744073709551616",
            "1.2.3 ",
        ] {
            assert_eq!(Semver::coerce(text), None, "{text}");
        }
    }

    #[test]
    fn precedence_is_semvers() {
        let ascending = [
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.10",
            "2",
        ];
        let versions: Vec<Semver> = ascending.iter().filter_map(|text| Semver::coerce(text)).collect();
        assert_eq!(versions.len(), ascending.len());
        assert!(versions.is_sorted_by(|one, other| one < other));
        assert_eq!(Semver::coerce("1.2"), Semver::coerce("v1.2.0"));
    }
}
