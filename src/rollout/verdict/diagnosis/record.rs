//! A scene as plain data: what a recording keeps of each look, and what a test plays back. A line of a
//! recording is either a whole [`World`] or what is laid over the one before.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::scene::{Answers, Condition, Notice, Scene};

/// One look, owned.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct World {
    /// See [`Scene::wanted`].
    pub wanted: usize,
    /// See [`Scene::unavailable`].
    pub unavailable: usize,
    /// See [`Scene::fallback_ahead`].
    pub fallback_ahead: bool,
    /// See [`Scene::paused`].
    pub paused: bool,
    /// See [`Scene::learned`], in seconds.
    pub learned: Option<u64>,
    /// See [`Scene::said_wait`], in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said_wait: Option<u64>,
    /// See [`Scene::nodes`].
    pub nodes: Option<usize>,
    /// The new pods by name.
    pub new: BTreeMap<String, Pod>,
    /// The old pods by name.
    pub old: BTreeMap<String, Pod>,
    /// The conditions by any name.
    pub conditions: BTreeMap<String, Condition>,
    /// The events by any name.
    pub events: BTreeMap<String, Notice>,
}

impl World {
    /// Keeps a scene. Its answers are not part of it: who plays it back gives its own.
    #[must_use]
    pub fn of(scene: &Scene<'_>) -> Self {
        let named = |pods: &[&Pod]| {
            let named =
                pods.iter().map(|pod| (pod.metadata.name.clone().unwrap_or_default(), (*pod).clone()));
            named.collect::<BTreeMap<String, Pod>>()
        };
        let numbered = |index: usize| format!("{index:03}");
        let conditions = scene.conditions.iter().cloned().enumerate();
        let events = scene.events.iter().copied().cloned().enumerate();
        Self {
            wanted: scene.wanted,
            unavailable: scene.unavailable,
            fallback_ahead: scene.fallback_ahead,
            paused: scene.paused,
            learned: scene.learned.map(|learned| learned.as_secs()),
            said_wait: scene.said_wait.map(|wait| wait.as_secs()),
            nodes: scene.nodes,
            new: named(&scene.new),
            old: named(&scene.old),
            conditions: conditions.map(|(index, condition)| (numbered(index), condition)).collect(),
            events: events.map(|(index, event)| (numbered(index), event)).collect(),
        }
    }

    /// Returns the scene again.
    #[must_use]
    pub fn scene<'a>(&'a self, answers: &'a Answers, now: Timestamp) -> Scene<'a> {
        Scene {
            now,
            new: self.new.values().collect(),
            old: self.old.values().collect(),
            wanted: self.wanted,
            unavailable: self.unavailable,
            fallback_ahead: self.fallback_ahead,
            paused: self.paused,
            conditions: self.conditions.values().cloned().collect(),
            events: self.events.values().collect(),
            answers,
            learned: self.learned.map(Duration::from_secs),
            said_wait: self.said_wait.map(Duration::from_secs),
            nodes: self.nodes,
        }
    }
}
