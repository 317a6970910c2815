//! What can be a Git revision: a commit, or a name as `git check-ref-format` takes it. An Image that
//! is left on any other builds nothing any more. Pure.

use crate::log::is_obeyed;

/// Returns whether Git can have something of this name.
#[must_use]
pub(super) fn is_revision(text: &str) -> bool {
    let is_allowed =
        |letter: char| !letter.is_whitespace() && !is_unseen(letter) && !"~^:?*[\\".contains(letter);
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    text.chars().all(is_allowed)
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && text != "@"
        && text.split('/').all(is_part)
}

/// Returns whether the letter is not seen where it is shown, or commands a terminal.
#[must_use]
pub(super) fn is_unseen(letter: char) -> bool {
    let has_no_width =
        matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    has_no_width || is_obeyed(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_branches_and_tags_are_revisions() {
        let commit = "b".repeat(40);
        for good in ["main", "v1.4.1", "feature/x", "refs/heads/x", "a@b", "grün", "x#1", &commit] {
            assert!(is_revision(good), "{good}");
        }
    }

    #[test]
    fn what_git_refuses_and_what_nobody_sees_is_none() {
        for bad in [
            "",
            "a b",
            "-x",
            "a..b",
            "main^",
            "a~1",
            "a:b",
            "a?",
            "a*",
            "[a",
            "a\\b",
            "a@{1}",
            "@",
            "a/",
            "/a",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "a.",
            "a\0b",
            "\u{1b}[31mred",
            "\u{feff}a",
            "a\u{200b}",
            "a\u{202e}b",
        ] {
            assert!(!is_revision(bad), "{bad:?}");
        }
    }
}
