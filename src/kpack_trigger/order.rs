//! What is asked of a put: what to change in the Image, whether to build anyway, and how long to wait.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

use super::manifest::Manifest;
use crate::concourse;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// What to write into the Image first.
    pub changes: Changes,
    /// The Image as a whole, made when it is not there.
    pub manifest: Option<Manifest>,
    /// Build even if nothing changed.
    pub trigger: bool,
    /// What to wait for.
    pub wait: Wait,
    /// For how long, from the first request on.
    pub timeout: Duration,
    /// Show the build's log while it runs.
    pub logs: bool,
    /// How often a build that the infrastructure failed is begun again.
    pub retry: u32,
    /// Who asks.
    pub build: concourse::Build,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// The build's verdict.
    #[default]
    Verdict,
    /// That the build has begun, however long the one before it takes.
    Begin,
    /// That it is bound to begin: a build that runs has been told, or nothing keeps kpack from it.
    Asked,
}

impl Order {
    /// Returns who asks, for those who find the mark in the cluster.
    #[must_use]
    pub fn asker(&self) -> &str {
        let build = &self.build;
        [build.url.as_str(), build.label.as_str()].into_iter().find(|it| !it.is_empty()).unwrap_or("rollway")
    }
}

/// What to change in an Image; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The Git revision: a commit, a branch or a tag.
    pub revision: Option<String>,
    /// The archive to build from.
    pub blob_url: Option<String>,
    /// The image to build from.
    pub registry_image: Option<String>,
    /// The builder.
    pub builder: Option<Builder>,
    /// Variables of the build, by name.
    pub env: Environment,
    /// The tags to publish beside the Image's own; the list as a whole.
    pub additional_tags: Option<Vec<String>>,
    /// The service account of the build.
    pub service_account: Option<String>,
}

impl Changes {
    /// Returns whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let texts = [&self.revision, &self.blob_url, &self.registry_image, &self.service_account];
        texts.iter().all(|text| text.is_none())
            && self.builder.is_none()
            && self.env.0.is_empty()
            && self.additional_tags.is_none()
    }
}

/// A reference to a builder: `NAME`, `Builder/NAME` or `ClusterBuilder/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// `Builder`, `ClusterBuilder`; `None` keeps the Image's.
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
}

impl<'de> Deserialize<'de> for Builder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (Some(kind), name),
            None => (None, text.as_str()),
        };
        let is_kind = kind.is_none_or(|kind| ["Builder", "ClusterBuilder"].contains(&kind));
        if !is_kind || !crate::cluster::is_name(name) {
            return Err(D::Error::invalid_value(
                de::Unexpected::Str(&text),
                &"NAME, Builder/NAME or ClusterBuilder/NAME",
            ));
        }
        Ok(Self { kind: kind.map(str::to_owned), name: name.to_owned() })
    }
}

impl JsonSchema for Builder {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Builder".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^((Cluster)?Builder/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"})
    }
}

/// Variables of a build by name; one without a value is taken away. A value may be a secret.
#[derive(Clone, Default)]
pub struct Environment(pub BTreeMap<String, Option<SecretString>>);

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Environment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "names with text, a number, true, false or null each";
        let wrong = |found| D::Error::invalid_type(de::Unexpected::Other(found), &EXPECTED);
        let map = match Value::deserialize(deserializer)? {
            Value::Null => Map::new(),
            Value::Object(map) => map,
            _ => return Err(wrong("something else")),
        };
        let read = |(name, value): (String, Value)| {
            let text = match value {
                Value::Null => None,
                Value::String(text) => Some(text),
                Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
                Value::Array(_) | Value::Object(_) => return Err(wrong("a list or a mapping")),
            };
            Ok((name, text.map(SecretString::from)))
        };
        map.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl JsonSchema for Environment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Environment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["object", "null"],
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_builder_is_a_name_with_or_without_its_kind() {
        let read = |text: &str| serde_json::from_value::<Builder>(text.into());
        assert_eq!(read("java").unwrap(), Builder { kind: None, name: "java".to_owned() });
        assert_eq!(read("ClusterBuilder/java").unwrap().kind.as_deref(), Some("ClusterBuilder"));
        for bad in ["", "Store/java", "Builder/", "a/b/c", "Java"] {
            assert!(read(bad).unwrap_err().to_string().contains("expected NAME, Builder/NAME"), "{bad}");
        }
    }

    #[test]
    fn variables_are_text_numbers_or_nothing_and_are_never_shown() {
        let json = r#"{"A": "canary", "B": 17, "C": true, "D": null}"#;
        let env: Environment = serde_json::from_str(json).unwrap();
        let values: Vec<Option<&str>> =
            env.0.values().map(|value| value.as_ref().map(ExposeSecret::expose_secret)).collect();
        assert_eq!(values, [Some("canary"), Some("17"), Some("true"), None]);
        assert_eq!(format!("{env:?}"), r#"{"A", "B", "C", "D"}"#);
        for bad in [r#"{"A": ["canary"]}"#, r#"["canary"]"#, r#""canary""#] {
            let error = serde_json::from_str::<Environment>(bad).unwrap_err().to_string();
            assert!(!error.contains("canary") && error.contains("expected names with text"), "{error}");
        }
    }
}
