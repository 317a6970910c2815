//! Regular expressions as a pipeline writes them: RE2, the language of Go programs. The few things
//! that the `regex` crate reads otherwise are rewritten, so that a pattern means what it meant to
//! `registry-image`. Unanchored. Pure.

use regex::{Captures, Regex};
use serde::{Deserialize, Deserializer, de};

/// A pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refused = |reason: &str| format!("`{text}` is not a regular expression: {reason}");
        let translated = translated(text).map_err(refused)?;
        let regex = Regex::new(&translated).map_err(|error| {
            // The crate draws the pattern over several lines; the last one has the reason.
            let words = error.to_string();
            let last = words.lines().last().unwrap_or_default();
            refused(last.trim().trim_start_matches("error: "))
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Returns whether it is found anywhere in `text`.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Returns what `text` is ordered by: the group named `order`, else the first group, else the
    /// whole text. `None` when the pattern is not in the text or that group took no part.
    pub(super) fn key<'a>(&self, text: &'a str) -> Option<&'a str> {
        let captures: Captures<'a> = self.regex.captures(text)?;
        if self.regex.captures_len() == 1 {
            return Some(text);
        }
        captures.name("order").or_else(|| captures.get(1)).map(|group| group.as_str())
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Rewrites RE2 for the `regex` crate: `\Q…\E`, braces that count nothing, and in classes the
/// brackets and doubled signs that would nest or intersect them.
fn translated(go: &str) -> Result<String, &'static str> {
    let mut rust = String::with_capacity(go.len());
    let mut rest = go;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix(r"\Q") {
            let (literal, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            rust.push_str(&regex::escape(literal));
            rest = after;
        } else if rest.starts_with(r"\C") {
            return Err(r"`\C` matches single bytes, and there is no such thing here");
        } else if first == '\\' {
            rest = copy(rest, rest.chars().take(2).map(char::len_utf8).sum(), &mut rust);
        } else if first == '[' {
            rest = class(rest, &mut rust);
        } else if first == '{' && !is_count(rest) {
            rust.push_str(r"\{");
            rest = &rest[1..];
        } else {
            rest = copy(rest, first.len_utf8(), &mut rust);
        }
    }
    Ok(rust)
}

/// Copies a class, which begins at the start of `text`, and returns what follows it.
fn class<'a>(text: &'a str, rust: &mut String) -> &'a str {
    let mut rest = copy(text, if text.starts_with("[^") { 2 } else { 1 }, rust);
    let mut is_first = true;
    let mut after_dash = false;
    while let Some(next) = rest.chars().next() {
        let was_dash = std::mem::replace(&mut after_dash, false);
        match next {
            ']' if !is_first => return copy(rest, 1, rust),
            '\\' => rest = copy(rest, rest.chars().take(2).map(char::len_utf8).sum(), rust),
            '[' if named_class(rest).is_some() => rest = copy(rest, named_class(rest).unwrap_or(1), rust),
            '-' if is_first || was_dash => {
                rust.push_str(r"\-");
                rest = &rest[1..];
            }
            '-' => {
                after_dash = true;
                rest = copy(rest, 1, rust);
            }
            '[' | ']' | '&' | '~' => {
                rust.push('\\');
                rest = copy(rest, 1, rust);
            }
            other => rest = copy(rest, other.len_utf8(), rust),
        }
        is_first = false;
    }
    rest
}

fn copy<'a>(text: &'a str, length: usize, rust: &mut String) -> &'a str {
    let (taken, rest) = text.split_at(length);
    rust.push_str(taken);
    rest
}

/// Returns the length of `[:alpha:]` at the start of `text`.
fn named_class(text: &str) -> Option<usize> {
    let name = text.strip_prefix("[:")?;
    let end = name.find(":]")?;
    let is_name = name[..end].bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'^');
    is_name.then_some(end + 4)
}

/// Returns whether `text` begins with `{2}`, `{2,}` or `{2,3}`.
fn is_count(text: &str) -> bool {
    let Some((count, _)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else { return false };
    let (least, most) = count.split_once(',').unwrap_or((count, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && is_number(least) && is_number(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_is_found_anywhere_unless_it_is_anchored() {
        let is_match = |pattern: &str, text: &str| Pattern::parse(pattern).unwrap().is_match(text);
        assert!(is_match("1", "v2.1-rc"));
        assert!(!is_match("^1", "v2.1-rc"));
        assert!(is_match("", "anything"));
    }

    #[test]
    fn what_go_reads_otherwise_means_what_it_means_there() {
        for (pattern, matching, other) in [
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^\Qa.b", "a.b", "axb"),
            ("^[[]a$", "[a", "a"),
            ("^[]a]$", "]", "b"),
            ("^[^]]$", "a", "]"),
            ("^[a&&b]+$", "a&b", "c"),
            ("^[a~~b]+$", "a~b", "c"),
            ("^[+--]$", ",", "a"),
            ("^[--/]$", ".", "a"),
            ("^[[:digit:].]+$", "1.2", "a"),
            ("^[^[:alpha:]]$", "1", "a"),
            ("^a{$", "a{", "a"),
            ("^a{,2}$", "a{,2}", "aa"),
            ("^a{x}$", "a{x}", "a"),
            ("^a{2}$", "aa", "a"),
            ("^a{1,}b{0,1}$", "aab", "abb"),
            ("^(?P<x>[0-9]+)-(?i)RC$", "1-rc", "1-rd"),
            (r"^\x41\.\d$", "A.1", "A.a"),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert!(pattern.is_match(matching), "{pattern} on {matching}");
            assert!(!pattern.is_match(other), "{pattern} on {other}");
        }
    }

    #[test]
    fn broken_pattern_is_refused_with_its_reason_on_one_line() {
        for (pattern, reason) in [
            ("(", "`(` is not a regular expression: unclosed group"),
            ("[a", "`[a` is not a regular expression: unclosed character class"),
            (
                r"\C",
                r"`\C` is not a regular expression: `\C` matches single bytes, and there is no such thing here",
            ),
            (r"(?=a)", "look-around"),
            (r"a\", "incomplete escape"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn order_is_by_the_named_group_then_the_first_then_the_whole() {
        let key = |pattern: &str| Pattern::parse(pattern).unwrap().key("main-abc-17").map(str::to_owned);
        assert_eq!(key("^main-(?P<sha>[a-z]+)-(?P<order>[0-9]+)$").as_deref(), Some("17"));
        assert_eq!(key("^main-([a-z]+)-").as_deref(), Some("abc"));
        assert_eq!(key("^main-").as_deref(), Some("main-abc-17"));
        assert_eq!(key("^dev-"), None);
        assert_eq!(key("^main-(x)?"), None);
    }

    #[test]
    fn no_pattern_makes_the_translation_panic() {
        const PARTS: [&str; 18] =
            ["[", "]", "^", "-", "[:", ":]", "alpha", "{", "}", "2", ",", "\\", "Q", "E", "&", "ü", "(", ")"];
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        let read = (0..5_000)
            .filter(|_| {
                let text: String = (0..next() % 8).map(|_| PARTS[next() % PARTS.len()]).collect();
                Pattern::parse(&text).is_ok_and(|pattern| pattern.key("a-1").is_none_or(|key| key.len() <= 3))
            })
            .count();
        assert!(read > 500, "only {read} were patterns");
    }
}
