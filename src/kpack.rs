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

use serde_json::Value;

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
            message: one_line(&word("/message")),
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

/// Returns `text` with every run of white space as one space.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(crate) mod fixtures;
