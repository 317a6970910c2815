//! A Build as far as anything is decided or told from it.

pub mod listed;

use k8s_openapi::jiff::Timestamp;
use kube::core::dynamic::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::changes::{self, Change};
use super::{Condition, Dialect, one_line, text};
use crate::image::{Digest, Pinned};

/// How a Build stands. Only its own condition says so: a pod's phase is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No verdict yet.
    Running,
    /// The image is published, with this name.
    Succeeded,
    /// It failed.
    Failed,
}

impl State {
    /// Returns it as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A buildpack that took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Buildpack {
    /// Its id, like `paketo-buildpacks/bellsoft-liberica`.
    pub id: String,
    /// Its version.
    pub version: String,
}

/// What was built from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The Git commit.
    pub commit: Option<String>,
    /// The repository, the archive or the image, as a URL or reference.
    pub place: Option<String>,
}

/// One build of an Image.
#[derive(Clone, Debug)]
pub struct Build {
    /// Its name. Not what it is known by: kpack gives a name again after a deletion.
    pub name: String,
    /// What it is known by.
    pub uid: String,
    /// Its number among the builds of one Image; starts again at 1 when all of them are gone.
    pub number: Option<u64>,
    /// The uid of the Image that it belongs to.
    pub owner: Option<String>,
    /// The generation of the Image that it was made for, where kpack tells.
    pub generation: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Why, in kpack's words: TRIGGER, COMMIT, CONFIG, BUILDPACK, STACK, LIFECYCLE.
    pub reasons: Vec<String>,
    /// What changed since the build before.
    pub changes: Vec<Change>,
    /// The value of the annotation that asks for the next build, where somebody asked.
    pub trigger: Option<String>,
    /// How it stands.
    pub state: State,
    /// What it says about that.
    pub condition: Condition,
    /// The image that it published.
    pub image: Option<Pinned>,
    /// The buildpacks that took part.
    pub buildpacks: Vec<Buildpack>,
    /// The run image that it stands on.
    pub run_image: Option<String>,
    /// The pod that runs it.
    pub pod: Option<String>,
    /// What it was built from.
    pub origin: Origin,
    /// Where it is published; the first is the Image's own tag.
    pub tags: Vec<String>,
}

impl Build {
    /// Reads a Build that the API served in `dialect`.
    #[must_use]
    pub fn of(object: &DynamicObject, dialect: Dialect) -> Self {
        let (metadata, data) = (&object.metadata, &object.data);
        let annotation = |name: &str| metadata.annotations.as_ref()?.get(&dialect.key(name)).cloned();
        let label = |name: &str| metadata.labels.as_ref()?.get(&dialect.key(name)).cloned();
        let condition = Condition::of(data, "Succeeded");
        let reasons = annotation("reason").unwrap_or_default();
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            number: label("buildNumber").and_then(|number| number.parse().ok()),
            owner: owner(object),
            generation: label("imageGeneration").and_then(|number| number.parse().ok()),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            reasons: reasons
                .split(',')
                .map(str::trim)
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect(),
            changes: changes::read(&annotation("buildChanges").unwrap_or_default()),
            trigger: annotation("additionalBuildNeeded"),
            state: match condition.status.as_str() {
                "True" => State::Succeeded,
                "False" => State::Failed,
                _ => State::Running,
            },
            condition,
            image: text(data, "/status/latestImage").and_then(|image| pinned(&image)),
            buildpacks: buildpacks(data),
            run_image: text(data, "/status/stack/runImage"),
            pod: text(data, "/status/podName"),
            origin: origin(data),
            tags: texts(data, "/spec/tags"),
        }
    }

    /// Returns the number as people write it.
    #[must_use]
    pub fn number_text(&self) -> String {
        self.number.map(|number| number.to_string()).unwrap_or_default()
    }

    /// Returns why it was built and what changed, one clause each.
    #[must_use]
    pub fn why(&self) -> Vec<String> {
        if self.changes.is_empty() {
            return self.reasons.iter().map(|reason| reason.to_lowercase()).collect();
        }
        self.changes.iter().flat_map(|change| change.words(&self.buildpacks)).collect()
    }

    /// Returns how many seconds it took, once it has a verdict.
    #[must_use]
    pub fn seconds(&self) -> Option<i64> {
        if self.state == State::Running {
            return None;
        }
        let seconds = self.condition.since?.as_second() - self.created?.as_second();
        Some(seconds.max(0))
    }

    /// Returns the tag of the Image itself.
    #[must_use]
    pub fn tag(&self) -> Option<String> {
        let first = self.tags.first()?;
        Some(crate::registry::split(first).1.unwrap_or("latest").to_owned())
    }

    /// Sorts the oldest first: by number, because two builds may begin in one second; builds of an
    /// earlier Image of the same name before those of a later one.
    pub fn sort(builds: &mut [Self]) {
        let newest = |owner: &Option<String>, builds: &[Self]| {
            builds.iter().filter(|build| build.owner == *owner).filter_map(|build| build.created).max()
        };
        let era: Vec<(String, Option<Timestamp>)> =
            builds.iter().map(|build| (build.uid.clone(), newest(&build.owner, builds))).collect();
        let era = |uid: &str| era.iter().find(|(known, _)| known == uid).and_then(|(_, at)| *at);
        builds.sort_by_cached_key(|build| {
            (era(&build.uid), build.owner.clone(), build.number, build.created, build.uid.clone())
        });
    }
}

fn owner(object: &DynamicObject) -> Option<String> {
    let owners = object.metadata.owner_references.as_ref()?;
    owners.iter().find(|owner| owner.kind == "Image").map(|owner| owner.uid.clone())
}

/// Reads `repository[:tag]@digest`.
fn pinned(text: &str) -> Option<Pinned> {
    let (name, digest) = text.rsplit_once('@')?;
    let digest: Digest = digest.parse().ok()?;
    Some(Pinned { repository: crate::registry::split(name).0.to_owned(), digest })
}

fn texts(data: &Value, pointer: &str) -> Vec<String> {
    let list = data.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn buildpacks(data: &Value) -> Vec<Buildpack> {
    let list = data.pointer("/status/buildMetadata").and_then(Value::as_array);
    let read = |item: &Value| {
        Some(Buildpack { id: text(item, "/id")?, version: text(item, "/version").unwrap_or_default() })
    };
    list.into_iter().flatten().filter_map(read).collect()
}

fn origin(data: &Value) -> Origin {
    let at = |pointer: &str| text(data, pointer).map(|text| one_line(&text));
    Origin {
        // kpack leaves a name there that it could not resolve.
        commit: at("/spec/source/git/revision").filter(|revision| is_commit(revision)),
        place: at("/spec/source/git/url")
            .or_else(|| at("/spec/source/blob/url"))
            .or_else(|| at("/spec/source/registry/image")),
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
