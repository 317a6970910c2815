//! What of many tags cannot be asked about. One that a registry cannot serve says nothing of the
//! others; many of them say that it is the registry. Pure.

use crate::failure;
use crate::registry;

/// So many tags may be broken.
const MOST: usize = 5;

/// The tags of one look that are broken.
#[derive(Debug, Default)]
pub(super) struct Broken {
    count: usize,
    last: Option<(String, registry::Error)>,
}

impl Broken {
    /// Takes what went wrong with one tag and returns it in words. What concerns more than the tag is
    /// given back, and so is one tag too many.
    pub(super) fn take(&mut self, tag: &str, error: registry::Error) -> Result<String, registry::Error> {
        if self.count == MOST || !error.is_of_one() {
            return Err(error);
        }
        self.count += 1;
        let words = failure::chain(&error);
        self.last = Some((tag.to_owned(), error));
        Ok(words)
    }

    /// Returns the last one where all of `count` tags are broken: then it is the registry, too.
    pub(super) fn last_of(self, count: usize) -> Option<(String, registry::Error)> {
        self.last.filter(|_| self.count == count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> registry::Error {
        registry::Error::Answered {
            method: "HEAD".to_owned(),
            url: "https://x.io".to_owned(),
            status,
            detail: String::new(),
            retry_after: None,
        }
    }

    #[test]
    fn few_broken_tags_are_broken_tags_and_many_are_a_broken_registry() {
        let mut broken = Broken::default();
        for tag in ["1", "2", "3", "4", "5"] {
            assert_eq!(broken.take(tag, answered(503)).unwrap(), "HEAD https://x.io: 503");
        }
        assert!(broken.take("6", answered(503)).is_err());
        assert!(broken.last_of(6).is_none());
    }

    #[test]
    fn no_tag_that_is_whole_is_a_broken_registry() {
        let mut broken = Broken::default();
        broken.take("1", answered(503)).unwrap();
        broken.take("2", answered(404)).unwrap();
        assert_eq!(broken.last_of(2).unwrap().0, "2");
    }

    #[test]
    fn what_concerns_more_than_the_tag_is_an_error_at_once() {
        for status in [401, 403, 429] {
            let mut broken = Broken::default();
            assert!(broken.take("1", answered(status)).is_err(), "{status}");
            assert!(broken.last_of(0).is_none());
        }
    }
}
