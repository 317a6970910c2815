//! An Image as far as anything is decided or told from it.

use kube::core::dynamic::DynamicObject;
use serde_json::{Map, Value, json};

use super::{Condition, Dialect, text};

/// The sources of which an Image has one.
pub const SOURCES: [&str; 3] = ["git", "blob", "registry"];

/// What is built, again and again.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// What it is known by.
    pub uid: String,
    /// The state that was read; a patch of the spec names it.
    pub resource_version: String,
    /// How often its spec was changed.
    pub generation: i64,
    /// The generation that the controller has seen.
    pub observed: i64,
    /// Where it is published.
    pub tag: String,
    /// Whether the image is current.
    pub ready: Condition,
    /// Whether its builder can build.
    pub builder: Condition,
    /// Whether its builder has the newest stack and buildpacks.
    pub builder_up_to_date: Condition,
    /// The Build that the controller knows as the newest.
    pub latest_build: Option<String>,
    /// Whether somebody put the trigger on the Image, where it makes kpack build without end.
    pub is_looping: bool,
    /// Its labels and annotations.
    pub metadata: Value,
    /// The spec as it is.
    pub spec: Map<String, Value>,
}

/// Returns what an Image with this spec is built from: `git`, `blob` or `registry`.
#[must_use]
pub fn source_kind(spec: &Value) -> &'static str {
    let found = SOURCES.into_iter().find(|kind| spec["source"].get(kind).is_some_and(|it| !it.is_null()));
    found.unwrap_or("nothing")
}

impl Image {
    /// Reads an Image that the API served in `dialect`.
    #[must_use]
    pub fn of(object: &DynamicObject, dialect: Dialect) -> Self {
        let (metadata, data) = (&object.metadata, &object.data);
        let annotations = metadata.annotations.as_ref();
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            observed: data.pointer("/status/observedGeneration").and_then(Value::as_i64).unwrap_or_default(),
            tag: text(data, "/spec/tag").unwrap_or_default(),
            ready: Condition::of(data, "Ready"),
            builder: Condition::of(data, "BuilderReady"),
            builder_up_to_date: Condition::of(data, "BuilderUpToDate"),
            latest_build: text(data, "/status/latestBuildRef"),
            is_looping: annotations.is_some_and(|all| all.contains_key(&dialect.trigger_key())),
            metadata: json!({"labels": metadata.labels, "annotations": annotations}),
            spec: data.get("spec").and_then(Value::as_object).cloned().unwrap_or_default(),
        }
    }

    /// Returns whether the controller has looked at this generation and wants to build nothing: its
    /// generation alone does not say so, because it runs ahead of the build. An Image whose builder is
    /// missing or not ready is not settled: its controller has compared nothing yet.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let is_judged = match self.ready.status.as_str() {
            "True" => true,
            // Before kpack told reasons, a missing builder was the only one that it named.
            "False" => matches!(self.ready.reason.as_str(), "" | "BuildFailed"),
            _ => false,
        };
        self.observed >= self.generation && is_judged && self.builder.status != "False"
    }
}
