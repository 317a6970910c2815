//! What an executable may print on stdout: versions are non-empty maps of strings, because
//! Concourse decodes them into `map[string]string` and errors on anything else.

use serde::Serialize;
use serde_json::Value;

use super::{AnyVersion, Response};
use crate::failure::Explain;

/// An answer that Concourse would refuse: a bug in the resource type.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The version has no key.
    #[error("the version has no keys")]
    Empty,
    /// The version is not a map.
    #[error("the version is not a map of strings")]
    NotAMap,
    /// One value is not a string.
    #[error("the version's `{0}` is not a string")]
    NotAString(String),
    /// The version has no JSON form.
    #[error("failed to write the version as JSON")]
    Json(#[source] serde_json::Error),
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        Some("this is a bug in the resource type; please report it with the request's keys".to_owned())
    }
}

/// Returns the document that `check` prints.
///
/// # Errors
///
/// When a version is not a non-empty map of strings.
pub fn versions<V: Serialize>(versions: &[V]) -> Result<String, Error> {
    let versions = versions.iter().map(version).collect::<Result<Vec<_>, _>>()?;
    serde_json::to_string(&versions).map_err(Error::Json)
}

/// Returns the document that `in` and `out` print.
///
/// # Errors
///
/// When the version is not a non-empty map of strings.
pub fn fetched<V: Serialize>(response: &Response<V>) -> Result<String, Error> {
    let response = Response { version: version(&response.version)?, metadata: response.metadata.clone() };
    serde_json::to_string(&response).map_err(Error::Json)
}

/// Returns `version` as Concourse would store it.
///
/// # Errors
///
/// When it is not a non-empty map of strings.
pub fn version<V: Serialize>(version: &V) -> Result<AnyVersion, Error> {
    let Value::Object(map) = serde_json::to_value(version).map_err(Error::Json)? else {
        return Err(Error::NotAMap);
    };
    if map.is_empty() {
        return Err(Error::Empty);
    }
    map.into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            _ => Err(Error::NotAString(key)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn version_must_be_a_map_of_strings() {
        assert!(version(&json!({"digest": "sha256:1"})).is_ok());
        for (bad, message) in [
            (json!({}), "the version has no keys"),
            (json!("x"), "the version is not a map of strings"),
            (json!({"revision": 3}), "the version's `revision` is not a string"),
            (json!({"tag": null}), "the version's `tag` is not a string"),
        ] {
            assert_eq!(version(&bad).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn check_without_versions_prints_an_empty_list() {
        assert_eq!(versions::<Value>(&[]).unwrap(), "[]");
    }
}
