//! Turns serde's words into ours: the whole path, what is there, what belongs there, the nearest
//! known key. What is there is named by its type alone where the key can hold a secret.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// A request that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing on stdin.
    #[error("stdin is empty: there is no request")]
    Empty,
    /// Not JSON.
    #[error("the request on stdin is not JSON")]
    Syntax {
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, but not an object.
    #[error("the request on stdin is {found}, not an object")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// A check with params.
    #[error("`params`: a check has none")]
    ParamsOfCheck,
    /// A key that nobody reads.
    #[error("`{path}`: unknown key{}", suggestion.as_deref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default())]
    Unknown {
        /// Where it stands.
        path: String,
        /// The nearest known key.
        suggestion: Option<String>,
        /// All keys that are known there.
        known: Vec<String>,
    },
    /// A key that must be there.
    #[error("`{path}` is missing")]
    Missing {
        /// Where it belongs.
        path: String,
    },
    /// A value of the wrong type or outside its range.
    #[error("`{path}`: expected {expected}, found {found}")]
    Unexpected {
        /// Where it stands.
        path: String,
        /// What belongs there.
        expected: String,
        /// What is there, without secrets.
        found: String,
    },
    /// A value that its type refuses in its own words.
    #[error("`{path}`: {reason}")]
    Refused {
        /// Where it stands.
        path: String,
        /// Why.
        reason: String,
    },
}

impl Error {
    pub(super) fn remedy(&self) -> Option<String> {
        match self {
            Self::Empty => Some("pass the request as JSON: {\"source\": {…}}".to_owned()),
            Self::NotAnObject { .. } => Some("it has the keys `source`, `params` and `version`".to_owned()),
            Self::ParamsOfCheck => Some("what a check needs belongs in `source`".to_owned()),
            Self::Unknown { suggestion: None, known, .. } if !known.is_empty() => {
                Some(format!("known here: {}", known.join(", ")))
            }
            _ => None,
        }
    }
}

pub(super) fn unknown_key(parent: &str, key: &str, known: &[&str]) -> Error {
    let suggestion = nearest(key, known);
    let path = if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") };
    Error::Unknown { path, suggestion, known: known.iter().map(|name| (*name).to_owned()).collect() }
}

/// Returns what serde's `error` about `part` means to the one who wrote the request.
pub(super) fn refused(
    part: &str,
    value: &Value,
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> Error {
    let message = error.inner().to_string();
    let path = joined(part, error.path());
    if let Some((key, known)) = quoted_after(&message, "unknown field ") {
        let parent = path.strip_suffix(&format!(".{key}")).unwrap_or(&path);
        return unknown_key(parent, &key, &known.iter().map(String::as_str).collect::<Vec<_>>());
    }
    if let Some((key, _)) = quoted_after(&message, "missing field ") {
        return Error::Missing { path: format!("{path}.{key}") };
    }
    let found = at(value, error.path());
    // A whole part that is one string may be anything, a credential too.
    let is_whole = error.path().iter().len() == 0 && !value.is_object();
    let is_secret = is_whole || error.path().iter().any(is_secret);
    if let Some((_, expected)) = message.split_once(", expected ") {
        let found = found.map_or_else(|| "something else".to_owned(), |found| describe(found, is_secret));
        return Error::Unexpected { path, expected: in_json_words(expected), found };
    }
    let reason = if is_secret { "the value is refused".to_owned() } else { message };
    Error::Refused { path, reason }
}

/// Returns "a string", "an object" and so on.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn describe(value: &Value, is_secret: bool) -> String {
    match value {
        _ if is_secret => kind(value).to_owned(),
        Value::Bool(_) => format!("the boolean `{value}`"),
        Value::Number(_) => format!("the number `{value}`"),
        // A long string is a document, and documents (a kubeconfig in the wrong key) hold secrets; so do some
        // addresses.
        Value::String(text) if text.chars().count() <= 80 && !text.contains(['\n', '@']) => {
            format!("the string `{text}`")
        }
        _ => kind(value).to_owned(),
    }
}

/// Serde speaks Rust; people write JSON or YAML.
fn in_json_words(expected: &str) -> String {
    let words = match expected {
        "a map" => "an object",
        "a sequence" => "a list",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => "a whole number above 0",
        "f32" | "f64" => "a number",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "a string",
        other => other,
    };
    words.to_owned()
}

fn is_secret(segment: &Segment) -> bool {
    let Segment::Map { key } = segment else { return false };
    let key = key.to_lowercase();
    let words =
        ["password", "token", "secret", "kubeconfig", "passphrase", "credential", "key", "docker_config"];
    key == "env" || words.iter().any(|word| key.contains(word))
}

fn joined(part: &str, path: &Path) -> String {
    path.iter().fold(part.to_owned(), |text, segment| match segment {
        Segment::Seq { index } => format!("{text}[{index}]"),
        Segment::Map { key } => format!("{text}.{key}"),
        Segment::Enum { variant } => format!("{text}.{variant}"),
        Segment::Unknown => text,
    })
}

fn at<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

/// Takes "unknown field `a`, expected one of `b`, `c`" apart: the first quoted word and the rest.
fn quoted_after(message: &str, start: &str) -> Option<(String, Vec<String>)> {
    let mut words = message.strip_prefix(start)?.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((words.next()?, words.collect()))
}

fn nearest(key: &str, known: &[&str]) -> Option<String> {
    let lower = key.to_lowercase();
    let close = |name: &&&str| strsim::damerau_levenshtein(&lower, name) <= 1 + lower.len() / 4;
    let distance = |name: &&&str| strsim::damerau_levenshtein(&lower, name);
    known.iter().filter(close).min_by_key(distance).map(|name| (*name).to_owned())
}
