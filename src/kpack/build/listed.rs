//! A Build of a list, without what nothing is told from: who wrote which field, and what its pod is made of. That is
//! most of it, and there may be many.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::core::dynamic::DynamicObject;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// What is read of a spec and of a status.
const SPEC: &[&str] = &["source", "tags"];
const STATUS: &[&str] = &["buildMetadata", "conditions", "latestImage", "podName", "stack"];

/// The API server's answer.
#[derive(Debug, Deserialize)]
pub struct List {
    /// The Builds.
    pub items: Vec<Listed>,
}

/// A Build, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed {
    metadata: Metadata,
    #[serde(default, deserialize_with = "spec")]
    spec: Map<String, Value>,
    #[serde(default, deserialize_with = "status")]
    status: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    uid: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    creation_timestamp: Option<Time>,
}

impl From<Listed> for DynamicObject {
    fn from(listed: Listed) -> Self {
        let Metadata { name, uid, labels, annotations, owner_references, creation_timestamp } =
            listed.metadata;
        let metadata = ObjectMeta {
            name,
            uid,
            labels,
            annotations,
            owner_references,
            creation_timestamp,
            ..ObjectMeta::default()
        };
        let parts = [("spec", listed.spec), ("status", listed.status)];
        let parts = parts.map(|(name, fields)| (name.to_owned(), Value::Object(fields)));
        Self { types: None, metadata, data: Value::Object(parts.into_iter().collect()) }
    }
}

fn spec<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    deserializer.deserialize_map(Only(SPEC))
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    deserializer.deserialize_map(Only(STATUS))
}

/// Keeps the fields with these names, and reads past the others.
struct Only(&'static [&'static str]);

impl<'de> Visitor<'de> for Only {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if self.0.contains(&name.as_str()) {
                kept.insert(name, fields.next_value()?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kpack::fixtures::every_build;
    use crate::kpack::{Build, Dialect};

    #[test]
    fn a_listed_build_tells_all_that_the_whole_one_tells() {
        let builds = every_build();
        assert!(builds.len() > 10, "{}", builds.len());
        for object in builds {
            let whole: DynamicObject = serde_json::from_value(object.clone()).unwrap();
            let listed: Listed = serde_json::from_value(object).unwrap();
            let [whole, listed] = [whole, listed.into()].map(|it| Build::of(&it, Dialect::V1Alpha2));
            assert_eq!(format!("{listed:?}"), format!("{whole:?}"));
        }
    }
}
