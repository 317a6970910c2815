//! kpack's objects as this project reads them, for every API version that a cluster may serve. Pure:
//! nothing is asked here. Only what is read is typed, and nothing is ever written back from these
//! types, so that a field that they do not know is never lost.

pub mod build;
pub mod changes;
pub mod dialect;
pub mod image;
pub mod steps;

pub use build::{Build, State};
pub use dialect::{Dialect, Kind};
pub use image::Image;

use std::borrow::Cow;

use serde_json::Value;

use crate::log::is_obeyed;

/// Returns the text at `pointer`, unless it is empty or no text.
fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// One condition of an object, as far as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False`, `Unknown`; empty where there is none.
    pub status: String,
    /// The word for programs; kpack leaves it out at times.
    pub reason: String,
    /// The words for people, on one line.
    pub message: String,
    /// When it became so.
    pub since: Option<k8s_openapi::jiff::Timestamp>,
}

impl Condition {
    /// Finds the condition of this type in an object's status.
    #[must_use]
    pub fn of(object: &Value, kind: &str) -> Self {
        let all = object.pointer("/status/conditions").and_then(Value::as_array);
        let found = all.into_iter().flatten().find(|it| it["type"] == kind);
        let Some(found) = found else { return Self::default() };
        let word = |key: &str| text(found, key).unwrap_or_default();
        Self {
            status: word("/status"),
            reason: word("/reason"),
            message: said(&word("/message")),
            since: text(found, "/lastTransitionTime").and_then(|time| time.parse().ok()),
        }
    }

    /// Returns `reason: message`, or the one of them that is there.
    #[must_use]
    pub fn words(&self) -> String {
        match (self.reason.as_str(), self.message.as_str()) {
            ("", message) => message.to_owned(),
            (reason, "") => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

/// Returns `text` with every run of white space as one space, and without what a terminal obeys.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words =
        text.split_whitespace().map(|word| word.chars().filter(|letter| !is_obeyed(*letter)).collect());
    words.filter(|word: &String| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns what a machine said as one line, its URLs without what may be secret in them: Git and
/// registries repeat the URL that they were given, with its password or its signature.
#[must_use]
pub fn said(text: &str) -> String {
    without_secrets(&one_line(text))
}

/// What ends a URL in the middle of a line.
const ENDS: [char; 9] = [' ', '\t', '"', '\'', '`', '<', '>', '(', ')'];

/// Returns the line, its URLs without user, password, query and fragment.
#[must_use]
pub fn without_secrets(line: &str) -> String {
    let line = without_userinfo(line);
    let (mut kept, mut rest) = (String::new(), line.as_ref());
    while let Some((before, after)) = rest.split_once("://") {
        let (url, beyond) = after.split_at(after.find(ENDS).unwrap_or(after.len()));
        // What follows a URL within a URL is the inner one's.
        let bare = url.split(['?', '#']).next().unwrap_or_default();
        let (bare, beyond) = if bare.contains("://") { ("", after) } else { (bare, beyond) };
        kept.extend([before, "://", bare]);
        rest = beyond;
    }
    kept + rest
}

/// Returns the line, its URLs without user and password and otherwise as it is.
#[must_use]
pub fn without_userinfo(line: &str) -> Cow<'_, str> {
    let Some((_, after)) = line.split_once("://") else { return Cow::Borrowed(line) };
    if !after.contains('@') {
        return Cow::Borrowed(line);
    }
    let (mut kept, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once("://") {
        let end =
            after.find(|letter| ENDS.contains(&letter) || "/?#".contains(letter)).unwrap_or(after.len());
        let host = after[..end].rsplit_once('@').map_or(&after[..end], |(_, host)| host);
        kept.extend([before, "://", host]);
        rest = &after[end..];
    }
    Cow::Owned(kept + rest)
}

#[cfg(test)]
pub(crate) mod fixtures;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_one_line_that_no_terminal_obeys() {
        assert_eq!(one_line(" a\n\tb \u{1b}[31mred\u{7} \u{1b} c"), "a b [31mred c");
    }

    #[test]
    fn urls_are_said_without_passwords_and_signatures() {
        for (text, line) in [
            ("clone https://me:canary@git.example/a.git: denied", "clone https://git.example/a.git: denied"),
            (
                "Get \"https://canary@r.example/v2/?sig=canary\": EOF (ssh://me:canary@h/x)",
                "Get \"https://r.example/v2/\": EOF (ssh://h/x)",
            ),
            ("ü://é/https://me:canary@h?x=canary no", "ü://é/https://h no"),
            ("nothing at me@example.com", "nothing at me@example.com"),
            ("://", "://"),
        ] {
            assert_eq!(said(text), line);
        }
    }
}
