//! What Concourse remembers of a build, and which builds are new to it. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kpack::{Build, State};

/// One build of an Image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// What it published, as `repository@digest`; not there while nothing is published.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Its number: a build that publishes the same digest again is a new version.
    #[serde(default)]
    pub build: String,
    /// The Build's uid: numbers begin again at 1 when an Image is made anew.
    #[serde(default)]
    pub uid: String,
}

/// Which builds are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that published an image.
    Succeeded,
    /// All that have a verdict.
    Any,
}

impl Version {
    /// Returns the version that a build is.
    #[must_use]
    pub fn of(build: &Build) -> Self {
        let image = build.image.as_ref().filter(|_| build.state == State::Succeeded);
        Self {
            image: image.map(ToString::to_string).unwrap_or_default(),
            build: build.number_text(),
            uid: build.uid.clone(),
        }
    }

    /// Returns whether `build` is the one. A version of another resource type, or one that somebody
    /// pinned by hand, has no uid.
    #[must_use]
    pub fn is_of(&self, build: &Build) -> bool {
        if self.uid.is_empty() {
            return !self.image.is_empty() && Self::of(build).image == self.image;
        }
        self.uid == build.uid
    }
}

/// Returns the versions since `cursor`, oldest first; without one, the newest alone.
///
/// No build that is older than the cursor's is ever told of: the cursor is looked up among all builds,
/// because its own may have failed, or run. One whose build is gone is followed by higher numbers only.
#[must_use]
pub fn since(cursor: Option<&Version>, wanted: Wanted, mut builds: Vec<Build>) -> Vec<Version> {
    Build::sort(&mut builds);
    let from = cursor.map_or(Start::Newest, |cursor| first_after(cursor, &builds));
    let is_told = |build: &&Build| match build.state {
        State::Succeeded => build.image.is_some() || wanted == Wanted::Any,
        State::Failed => wanted == Wanted::Any,
        State::Running => false,
    };
    match from {
        Start::Index(index) => builds[index..].iter().filter(is_told).map(Version::of).collect(),
        Start::Newest => builds.iter().rev().find(is_told).map(Version::of).into_iter().collect(),
    }
}

/// Where to begin to tell.
enum Start {
    /// At this build.
    Index(usize),
    /// At the newest one that is to be told of, whatever it is.
    Newest,
}

fn first_after(cursor: &Version, builds: &[Build]) -> Start {
    if let Some(known) = builds.iter().rposition(|build| cursor.is_of(build)) {
        return Start::Index(known);
    }
    let Ok(number) = cursor.build.parse::<u64>() else { return Start::Newest };
    // The builds of the newest Image are the last ones, and their numbers rise.
    let owner = builds.last().map(|build| build.owner.clone());
    let own = || builds.iter().enumerate().filter(|(_, build)| Some(&build.owner) == owner.as_ref());
    // kpack gives the number of a deleted build again: with another uid it is another build.
    if let Some((index, _)) = own().find(|(_, build)| build.number >= Some(number)) {
        return Start::Index(index);
    }
    // All numbers are lower: they began anew, or the builds at the end were deleted by hand. The second
    // is so where the first build is long gone, or where nothing but the cursor's own build is missing.
    let mut numbers = own().filter_map(|(_, build)| build.number);
    let (first, last) = (numbers.next(), numbers.next_back());
    let last = last.or(first).unwrap_or_default();
    if first == Some(1) && last + 1 < number { Start::Newest } else { Start::Index(builds.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kpack::fixtures::{mk_build, mk_failed};

    fn of(number: u64) -> Version {
        Version::of(&mk_build(number))
    }

    fn numbers(cursor: Option<&Version>, builds: Vec<Build>) -> Vec<String> {
        since(cursor, Wanted::Succeeded, builds).into_iter().map(|version| version.build).collect()
    }

    #[test]
    fn the_first_check_tells_of_the_newest_alone() {
        assert_eq!(numbers(None, vec![mk_build(9), mk_build(10), mk_build(2)]), ["10"]);
        assert_eq!(numbers(None, vec![mk_build(9), mk_failed(10)]), ["9"]);
        assert_eq!(numbers(None, Vec::new()), [""; 0]);
    }

    #[test]
    fn the_cursor_and_what_came_after_it_are_told_by_number() {
        let builds = || vec![mk_build(10), mk_build(9), mk_failed(11), mk_build(12)];
        assert_eq!(numbers(Some(&of(9)), builds()), ["9", "10", "12"]);
        assert_eq!(numbers(Some(&of(12)), builds()), ["12"]);
    }

    #[test]
    fn the_same_digest_built_again_is_a_new_version() {
        let mut again = mk_build(10);
        again.image = mk_build(9).image;
        let versions = since(Some(&of(9)), Wanted::Succeeded, vec![mk_build(9), again]);
        assert_eq!((versions.len(), &versions[0].image), (2, &versions[1].image));
        assert_ne!(versions[0], versions[1]);
    }

    #[test]
    fn a_pruned_cursor_brings_no_old_build_back() {
        assert_eq!(numbers(Some(&of(5)), vec![mk_build(4), mk_build(7), mk_build(8)]), ["7", "8"]);
    }

    #[test]
    fn numbers_that_began_anew_lead_to_the_newest_build() {
        assert_eq!(numbers(Some(&of(12)), vec![mk_build(1), mk_build(2)]), ["2"]);
        assert_eq!(numbers(Some(&of(12)), vec![mk_failed(1), mk_build(2), mk_failed(3)]), ["2"]);
    }

    #[test]
    fn a_cursor_that_failed_or_runs_brings_no_older_build_back() {
        let cursor = Version::of(&mk_failed(5));
        let mut running = mk_build(5);
        running.state = State::Running;
        for newest in [mk_failed(5), running] {
            assert_eq!(numbers(Some(&cursor), vec![mk_build(3), mk_build(4), newest.clone()]), [""; 0]);
            assert_eq!(numbers(Some(&cursor), vec![mk_build(4), newest, mk_build(6)]), ["6"]);
        }
        // Once it has succeeded, it is news with its image.
        assert_eq!(since(Some(&cursor), Wanted::Succeeded, vec![mk_build(4), mk_build(5)]), [of(5)]);
    }

    #[test]
    fn builds_that_are_left_when_the_newest_was_deleted_are_not_told_of_again() {
        assert_eq!(numbers(Some(&of(5)), vec![mk_build(3), mk_build(4)]), [""; 0]);
        assert_eq!(numbers(Some(&of(5)), (1..5).map(mk_build).collect()), [""; 0]);
        assert_eq!(numbers(Some(&of(50)), (40..48).map(mk_build).collect()), [""; 0]);
        // kpack gives its number again.
        let mut again = mk_build(5);
        again.uid = "another".to_owned();
        assert_eq!(numbers(Some(&of(5)), vec![mk_build(4), again]), ["5"]);
    }

    #[test]
    fn builds_of_a_deleted_image_come_before_those_of_the_one_made_after_it() {
        let mut new = mk_build(1);
        new.owner = Some("another".to_owned());
        new.uid = "uid-new-1".to_owned();
        new.created = "2026-11-24T00:00:00Z".parse().ok();
        let builds = vec![new.clone(), mk_build(8), mk_build(9)];
        assert_eq!(numbers(Some(&of(9)), builds.clone()), ["9", "1"]);
        assert_eq!(numbers(None, builds.clone()), ["1"]);
        // The cursor itself is gone, and the new Image's numbers are lower.
        assert_eq!(numbers(Some(&of(30)), builds), ["1"]);
    }

    #[test]
    fn failed_builds_are_told_of_when_asked_for_and_running_ones_never() {
        let mut running = mk_build(3);
        running.state = State::Running;
        let versions = since(Some(&of(1)), Wanted::Any, vec![mk_build(1), mk_failed(2), running]);
        assert_eq!(versions.iter().map(|version| version.build.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(versions[1].image, "");
        let json = serde_json::to_string(&versions[1]).unwrap();
        assert!(!json.contains("image"), "{json}");
    }

    #[test]
    fn a_version_of_another_type_is_found_by_its_image() {
        let old = Version { image: of(2).image, build: String::new(), uid: String::new() };
        assert_eq!(numbers(Some(&old), vec![mk_build(1), mk_build(2), mk_build(3)]), ["2", "3"]);
        let unknown = Version { image: "r.example/app@sha256:0".to_owned(), ..old.clone() };
        assert_eq!(numbers(Some(&unknown), vec![mk_build(1), mk_build(2), mk_build(3)]), ["3"]);
        let json = format!(r#"{{"image": "{}"}}"#, old.image);
        assert_eq!(serde_json::from_str::<Version>(&json).unwrap(), old);
    }
}
