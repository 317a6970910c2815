//! The versions of one resource in Concourse's order. The rule is the ATC's own, surprises included:
//! a list that holds anything new is ordered anew as a whole, a list that holds nothing new changes
//! nothing, so a tag that moves back to an old digest stays where it was.

use serde::{Deserialize, Serialize};

use crate::concourse::AnyVersion;

/// What is known of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    versions: Vec<Saved>,
    last: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    version: AnyVersion,
    order: u64,
}

impl History {
    /// Stores what a check found, oldest first, and returns how many of it are new.
    pub fn save_checked(&mut self, found: &[AnyVersion]) -> usize {
        let mut new = 0;
        for version in found {
            if self.position(version).is_none() {
                self.versions.push(Saved { version: version.clone(), order: 0 });
                new += 1;
            }
        }
        if new > 0 {
            for version in found {
                self.order_last(version);
            }
        }
        new
    }

    /// Stores what a put made: the newest at once if it is new, where it was if it is not. Returns
    /// whether it is new.
    pub fn save_made(&mut self, version: &AnyVersion) -> bool {
        self.save_checked(std::slice::from_ref(version)) > 0
    }

    /// Returns the version that the next check starts from.
    #[must_use]
    pub fn newest(&self) -> Option<&AnyVersion> {
        self.versions.iter().max_by_key(|saved| saved.order).map(|saved| &saved.version)
    }

    /// Returns all versions, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<&AnyVersion> {
        let mut sorted: Vec<&Saved> = self.versions.iter().collect();
        sorted.sort_by_key(|saved| std::cmp::Reverse(saved.order));
        sorted.into_iter().map(|saved| &saved.version).collect()
    }

    /// Returns the versions that are newer than `version`, oldest first.
    #[must_use]
    pub fn after(&self, version: &AnyVersion) -> Vec<&AnyVersion> {
        let order =
            self.position(version).and_then(|at| self.versions.get(at)).map_or(0, |saved| saved.order);
        let mut newer: Vec<&Saved> = self.versions.iter().filter(|saved| saved.order > order).collect();
        newer.sort_by_key(|saved| saved.order);
        newer.into_iter().map(|saved| &saved.version).collect()
    }

    fn position(&self, version: &AnyVersion) -> Option<usize> {
        self.versions.iter().position(|saved| saved.version == *version)
    }

    fn order_last(&mut self, version: &AnyVersion) {
        self.last += 1;
        let order = self.last;
        self.versions
            .iter_mut()
            .filter(|saved| saved.version == *version)
            .for_each(|saved| saved.order = order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: char) -> AnyVersion {
        AnyVersion::from([("v".to_owned(), name.to_string())])
    }

    fn list(names: &str) -> Vec<AnyVersion> {
        names.chars().map(version).collect()
    }

    fn after(checks: &[&str]) -> String {
        let mut history = History::default();
        for check in checks {
            history.save_checked(&list(check));
        }
        history.newest_first().iter().map(|version| version["v"].as_str()).collect()
    }

    #[test]
    fn order_is_the_atcs() {
        for (checks, newest_first) in [
            (&["ab"][..], "ba"),
            (&["a", "b"], "ba"),
            (&["a", "ab"], "ba"),
            // The stray last element of a list with anything new becomes the newest.
            (&["ab", "cab"], "bac"),
            (&["abc", "da"], "adcb"),
            // Nothing new: nothing moves, whatever the list's order.
            (&["ab", "ba"], "ba"),
            (&["ab", "a"], "ba"),
            // A tag that moves back stays invisible.
            (&["a", "ab", "ba"], "ba"),
            (&["a", ""], "a"),
            (&["aa"], "a"),
            (&["aba"], "ab"),
        ] {
            assert_eq!(after(checks), newest_first, "{checks:?}");
        }
    }

    #[test]
    fn what_a_put_makes_is_the_newest_only_when_it_is_new() {
        let mut history = History::default();
        history.save_checked(&list("ab"));
        assert!(history.save_made(&version('c')));
        assert_eq!(history.newest(), Some(&version('c')));
        assert!(!history.save_made(&version('a')));
        assert_eq!(history.newest(), Some(&version('c')));
    }

    #[test]
    fn every_goes_forward_only() {
        let mut history = History::default();
        history.save_checked(&list("abcd"));
        assert_eq!(history.after(&version('b')), [&version('c'), &version('d')]);
        assert!(history.after(&version('d')).is_empty());
    }
}
