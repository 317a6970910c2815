//! What is still known of a version: the rollout that made it, as the annotations of its ReplicaSet
//! (or of the Deployment, while it is the current one) tell. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::Version;
use crate::concourse::Field;
use crate::image::Pinned;
use crate::registry;
use crate::rollout::Kind;
use crate::rollout::annotations::{AT, BUILD, DIGEST, PREVIOUS, REVISION, TAG, TOOL};
use crate::rollout::observe::{Snapshot, annotation};

/// The content of `rollout.json`. What nobody knows any more is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Record {
    pub(super) namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deployment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) statefulset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) daemonset: Option<String>,
    pub(super) container: String,
    pub(super) image: String,
    #[serde(skip)]
    pub(super) repository: String,
    pub(super) digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) build: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool: Option<String>,
    pub(super) revision: String,
    pub(super) uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replicas: Option<usize>,
    /// Whether the version is the one that the Deployment asks for now.
    pub(super) current: bool,
    /// Each pod of the version and the digest that its runtime reports.
    pub(super) pods: BTreeMap<String, String>,
}

impl Record {
    /// Returns what `snapshot` knows of `version`; `None` when it does not even know the repository.
    pub(super) fn of(snapshot: &Snapshot, version: &Version) -> Option<Self> {
        let is_same = snapshot.uid() == version.uid;
        let current = is_same && snapshot.revision() == version.revision;
        let set = snapshot.owned_sets().find(|set| is_same && is_revision(&set.metadata, &version.revision));
        let source = if current { Some(&snapshot.deployment.metadata) } else { set.map(|set| &set.metadata) };
        // Annotations of another digest were left by a rollout before somebody set the image by hand.
        let source = source.filter(|metadata| {
            annotation(metadata, DIGEST).map(String::as_str) == Some(version.digest.as_str())
        });
        let known = |key: &str| source.and_then(|metadata| annotation(metadata, key)).cloned();
        let repository = set
            .and_then(|set| set.spec.as_ref()?.template.as_ref()?.spec.as_ref())
            .and_then(|spec| spec.containers.iter().find(|container| container.name == snapshot.container))
            .and_then(|container| container.image.as_deref())
            .or(Some(snapshot.image()))
            .and_then(repository)?;
        let pods = set.into_iter().flat_map(|set| snapshot.pods_of(set));
        let name = |metadata: &ObjectMeta| metadata.name.clone().unwrap_or_default();
        let of = |kind| (snapshot.kind() == kind).then(|| name(&snapshot.deployment.metadata));
        let image = Pinned { repository: repository.clone(), digest: version.digest.clone() };
        Some(Self {
            namespace: snapshot.deployment.metadata.namespace.clone().unwrap_or_default(),
            deployment: of(Kind::Deployment),
            statefulset: of(Kind::StatefulSet),
            daemonset: of(Kind::DaemonSet),
            container: snapshot.container.clone(),
            image: image.to_string(),
            repository,
            digest: version.digest.to_string(),
            tag: known(TAG),
            previous: known(PREVIOUS),
            build: known(BUILD),
            tool: known(TOOL),
            revision: version.revision.clone(),
            uid: version.uid.clone(),
            started: known(AT),
            finished: current.then(|| finished(snapshot)).flatten(),
            replicas: current.then(|| snapshot.wanted()),
            current,
            pods: pods
                .filter_map(|pod| Some((name(&pod.metadata), snapshot.running_digest(pod)?.to_string())))
                .collect(),
        })
    }

    /// Returns what people see beside the version.
    pub(super) fn fields(&self) -> Vec<Field> {
        let whole = |name: &Option<String>| name.as_ref().map(|name| format!("{}/{name}", self.namespace));
        let replicas = self.replicas.map(|replicas| replicas.to_string());
        let rows = [
            ("deployment", whole(&self.deployment)),
            ("statefulset", whole(&self.statefulset)),
            ("daemonset", whole(&self.daemonset)),
            ("container", Some(self.container.clone())),
            ("image", Some(self.image.clone())),
            ("tag", self.tag.clone()),
            ("previous", self.previous.clone()),
            ("replicas", replicas),
            ("build", self.build.clone()),
            ("started", self.started.clone()),
            ("finished", self.finished.clone()),
        ];
        let rows = rows.into_iter().filter_map(|(name, value)| Some((name, value?)));
        rows.map(|(name, value)| Field { name: name.to_owned(), value }).collect()
    }
}

/// Returns whether the ReplicaSet has, or once had, this revision: going back to an old template
/// gives its ReplicaSet a new number, and the controller keeps the old ones beside it.
fn is_revision(metadata: &ObjectMeta, revision: &str) -> bool {
    let history = annotation(metadata, "deployment.kubernetes.io/revision-history");
    annotation(metadata, REVISION).map(String::as_str) == Some(revision)
        || history.is_some_and(|numbers| numbers.split(',').any(|number| number == revision))
}

/// Returns when the controller found the current template rolled out.
fn finished(snapshot: &Snapshot) -> Option<String> {
    let conditions = snapshot.deployment.status.as_ref()?.conditions.as_ref()?;
    let done = conditions
        .iter()
        .find(|it| it.type_ == "Progressing" && it.reason.as_deref() == Some("NewReplicaSetAvailable"))?;
    done.last_update_time.as_ref().map(|time| time.0.to_string())
}

/// Returns an image's repository: what is before the digest, without the tag.
fn repository(image: &str) -> Option<String> {
    let (name, _) = registry::split(image.split('@').next().unwrap_or_default());
    (!name.is_empty()).then(|| name.to_owned())
}
