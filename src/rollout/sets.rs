//! StatefulSets and DaemonSets, looked at as the Deployment that they would be: each revision is a
//! ReplicaSet, and the pods belong to it. What counts as done, what a failure is and what is told of
//! it is then decided where it is decided for Deployments. What is different is here. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy,
    ReplicaSet, ReplicaSetSpec, ReplicaSetStatus, StatefulSet,
};
use k8s_openapi::api::core::v1::{Node, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use super::Kind;
use super::annotations::REVISION;
use super::observe::{Routing, Snapshot, controller, is_alive, labels};

mod daemonset;
pub mod patch;
mod statefulset;
pub mod words;

/// The label by which both kinds tell their revisions apart.
pub const REVISION_HASH: &str = "controller-revision-hash";

/// A workload whose pods are replaced in place.
#[derive(Clone, Debug)]
pub enum Set {
    /// Pods with a number each, replaced from the highest down.
    Stateful(Box<StatefulSet>),
    /// One pod per node.
    Daemon(Box<DaemonSet>),
}

/// One look at a set and what belongs to it.
#[derive(Clone, Debug)]
pub struct Look {
    /// The set itself.
    pub set: Set,
    /// Its revisions; `None` where the credentials may not read them.
    pub revisions: Option<Vec<ControllerRevision>>,
    /// Pods that its selector finds.
    pub pods: Vec<Pod>,
    /// The cluster's nodes; `None` where the credentials may not read them, or nobody needs them.
    pub nodes: Option<Vec<Node>>,
    /// The API server's version, major and minor, where it is known.
    pub server: Option<(u32, u32)>,
    /// The number of the present revision, once it stands in for a Deployment.
    pub revision: String,
}

/// What a set says of itself, in the terms of both kinds.
struct Shape<'a> {
    metadata: &'a ObjectMeta,
    selector: LabelSelector,
    template: PodTemplateSpec,
    min_ready_seconds: Option<i32>,
    strategy: DeploymentStrategy,
    observed: Option<i64>,
    /// Pods that are wanted of the new revision.
    wanted: i32,
    /// Of those: updated, ready and available, as the controller counts them.
    counts: [i32; 3],
}

impl Set {
    /// Returns the set's metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Stateful(set) => &set.metadata,
            Self::Daemon(set) => &set.metadata,
        }
    }

    /// Returns its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Stateful(_) => Kind::StatefulSet,
            Self::Daemon(_) => Kind::DaemonSet,
        }
    }

    /// Returns the template of its pods.
    #[must_use]
    pub fn template(&self) -> Option<&PodTemplateSpec> {
        match self {
            Self::Stateful(set) => set.spec.as_ref().map(|spec| &spec.template),
            Self::Daemon(set) => set.spec.as_ref().map(|spec| &spec.template),
        }
    }

    /// Returns the selector of its pods.
    #[must_use]
    pub fn selector(&self) -> LabelSelector {
        match self {
            Self::Stateful(set) => set.spec.as_ref().map(|spec| spec.selector.clone()),
            Self::Daemon(set) => set.spec.as_ref().map(|spec| spec.selector.clone()),
        }
        .unwrap_or_default()
    }

    fn observed(&self) -> Option<i64> {
        match self {
            Self::Stateful(set) => set.status.as_ref()?.observed_generation,
            Self::Daemon(set) => set.status.as_ref()?.observed_generation,
        }
    }

    fn is_observed(&self) -> bool {
        self.observed() >= self.metadata().generation
    }
}

impl Look {
    /// Returns the set as the Deployment that it would be.
    #[must_use]
    pub fn stand_in(mut self, container: &str, others: &[String], routing: Option<Routing>) -> Snapshot {
        let target = self.target();
        self.revision = target.as_deref().map(|mark| self.number(mark)).unwrap_or_default();
        let pods = self.counted_pods();
        let shape = match &self.set {
            Set::Stateful(set) => statefulset::shape(set, &pods, target.as_deref()),
            Set::Daemon(set) => daemonset::shape(set, &self, target.as_deref()),
        };
        let replica_sets = self.replica_sets(&shape, target.as_deref(), &pods);
        let pods = pods.into_iter().map(|pod| owned(pod, &replica_sets)).collect();
        let deployment = deployment(shape);
        Snapshot {
            deployment,
            container: container.to_owned(),
            others: others.to_vec(),
            replica_sets,
            pods,
            routing,
            set: Some(std::sync::Arc::new(self)),
        }
    }

    /// Returns the mark of the pods that the template makes now; `None` until the controller has seen it.
    #[must_use]
    pub fn target(&self) -> Option<String> {
        if !self.set.is_observed() {
            return None;
        }
        match &self.set {
            Set::Stateful(set) => set.status.as_ref()?.update_revision.clone(),
            // Going back to an older template gives its revision a new number. The revisions are told of by a
            // watch of their own, which may be behind: the newest of another image is not the target.
            Set::Daemon(set) => {
                let wanted = images(&set.spec.as_ref()?.template);
                let makes = |revision: &&ControllerRevision| {
                    template(revision).is_none_or(|template| images(&template) == wanted)
                };
                mark(self.owned_revisions().filter(makes).max_by_key(|revision| revision.revision)?)
            }
        }
    }

    /// Returns the number of the revision with this mark. Where revisions cannot be read the mark
    /// itself has to do: it tells templates apart, but going back gives the same one again.
    #[must_use]
    pub fn number(&self, mark_of: &str) -> String {
        let found = self.owned_revisions().find(|revision| mark(revision).as_deref() == Some(mark_of));
        found.map_or_else(|| mark_of.to_owned(), |revision| revision.revision.to_string())
    }

    /// Returns how many pods the set has when all is well; of a DaemonSet nobody asks.
    #[must_use]
    pub fn replicas(&self) -> usize {
        match &self.set {
            Set::Stateful(set) => usize::try_from(statefulset::replicas(set)).unwrap_or(0),
            Set::Daemon(_) => 0,
        }
    }

    fn owned_revisions(&self) -> impl Iterator<Item = &ControllerRevision> {
        let uid = self.set.metadata().uid.as_deref();
        self.revisions.iter().flatten().filter(move |revision| controller(&revision.metadata) == uid)
    }

    /// Returns the set's own pods.
    pub fn own_pods(&self) -> impl Iterator<Item = &Pod> {
        let uid = self.set.metadata().uid.as_deref();
        self.pods.iter().filter(move |pod| uid.is_some() && controller(&pod.metadata) == uid)
    }

    /// Returns the pods that a rollout is about: not those below a partition, nor what cannot be
    /// replaced because its node is away.
    fn counted_pods(&self) -> Vec<Pod> {
        match &self.set {
            Set::Stateful(set) => {
                self.own_pods().filter(|pod| statefulset::is_rolled(set, pod)).cloned().collect()
            }
            Set::Daemon(_) => {
                let excused = daemonset::excused(self, self.target().as_deref());
                let is_counted =
                    |pod: &&Pod| !excused.contains(pod.metadata.uid.as_deref().unwrap_or_default());
                self.own_pods().filter(is_counted).cloned().collect()
            }
        }
    }

    /// Returns a ReplicaSet for each revision that is known of, be it by its pods alone.
    fn replica_sets(&self, shape: &Shape<'_>, target: Option<&str>, pods: &[Pod]) -> Vec<ReplicaSet> {
        let known: BTreeMap<String, &ControllerRevision> =
            self.owned_revisions().filter_map(|revision| Some((mark(revision)?, revision))).collect();
        let marks: BTreeSet<&str> =
            known.keys().map(String::as_str).chain(target).chain(pods.iter().filter_map(pod_mark)).collect();
        let set = |mark: &&str| {
            let count = pods.iter().filter(|pod| pod_mark(pod) == Some(mark) && is_alive(pod)).count();
            self.replica_set(shape, mark, known.get(*mark).copied(), (target == Some(mark), count))
        };
        marks.iter().map(set).collect()
    }

    fn replica_set(
        &self,
        shape: &Shape<'_>,
        mark: &str,
        revision: Option<&ControllerRevision>,
        (is_target, count): (bool, usize),
    ) -> ReplicaSet {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let metadata = revision.map(|revision| revision.metadata.clone()).unwrap_or_default();
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.insert(REVISION.to_owned(), self.number(mark));
        let template = if is_target { shape.template.clone() } else { older(revision, shape, mark) };
        ReplicaSet {
            metadata: ObjectMeta {
                name: metadata.name.or_else(|| Some(mark.to_owned())),
                namespace: shape.metadata.namespace.clone(),
                uid: metadata.uid.or_else(|| Some(mark.to_owned())),
                labels: Some([(REVISION_HASH.to_owned(), mark.to_owned())].into()),
                annotations: Some(annotations),
                creation_timestamp: metadata.creation_timestamp,
                owner_references: Some(vec![owner(
                    shape.metadata.name.as_deref(),
                    shape.metadata.uid.as_deref(),
                )]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(if is_target { shape.wanted } else { count }),
                selector: shape.selector.clone(),
                template: Some(template),
                min_ready_seconds: shape.min_ready_seconds,
            }),
            status: Some(ReplicaSetStatus { replicas: count, ..ReplicaSetStatus::default() }),
        }
    }

    /// Returns the pods that no rollout is about.
    pub fn left_out(&self) -> impl Iterator<Item = &Pod> {
        let counted: BTreeSet<Option<String>> =
            self.counted_pods().into_iter().map(|pod| pod.metadata.uid).collect();
        self.own_pods().filter(move |pod| !counted.contains(&pod.metadata.uid))
    }

    /// Returns the pods of older templates that stop the controller: it replaces pods in order and waits
    /// for each to be ready.
    #[must_use]
    pub fn stuck(&self) -> Vec<&Pod> {
        match (&self.set, self.target()) {
            (Set::Stateful(set), Some(target)) => statefulset::stuck(set, self, &target),
            _ => Vec::new(),
        }
    }
}

fn deployment(shape: Shape<'_>) -> Deployment {
    let [updated, ready, available] = shape.counts;
    Deployment {
        metadata: shape.metadata.clone(),
        spec: Some(DeploymentSpec {
            replicas: Some(shape.wanted),
            selector: shape.selector,
            template: shape.template,
            min_ready_seconds: shape.min_ready_seconds,
            strategy: Some(shape.strategy),
            ..DeploymentSpec::default()
        }),
        status: Some(DeploymentStatus {
            observed_generation: shape.observed,
            replicas: Some(shape.wanted),
            updated_replicas: Some(updated),
            ready_replicas: Some(ready),
            available_replicas: Some(available),
            ..DeploymentStatus::default()
        }),
    }
}

/// Returns what the pods of a revision are labelled with.
fn mark(revision: &ControllerRevision) -> Option<String> {
    // A DaemonSet's pods have the hash, a StatefulSet's the whole name.
    let hash = labels(&revision.metadata).get(REVISION_HASH);
    hash.or(revision.metadata.name.as_ref()).cloned()
}

fn pod_mark(pod: &Pod) -> Option<&str> {
    labels(&pod.metadata).get(REVISION_HASH).map(String::as_str)
}

/// Returns the template that a revision keeps.
fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    serde_json::from_value(revision.data.as_ref()?.0["spec"]["template"].clone()).ok()
}

/// Returns what a template runs, by container.
fn images(template: &PodTemplateSpec) -> BTreeMap<String, Option<String>> {
    let spec = template.spec.iter();
    let containers = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    containers.map(|container| (container.name.clone(), container.image.clone())).collect()
}

/// Returns an older revision's template, which is never taken for the present one.
fn older(revision: Option<&ControllerRevision>, shape: &Shape<'_>, mark: &str) -> PodTemplateSpec {
    let mut template = revision.and_then(template).unwrap_or_else(|| shape.template.clone());
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(REVISION_HASH.to_owned(), mark.to_owned());
    template
}

fn owner(name: Option<&str>, uid: Option<&str>) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        name: name.unwrap_or_default().to_owned(),
        uid: uid.unwrap_or_default().to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Returns the pod as its revision's.
fn owned(mut pod: Pod, sets: &[ReplicaSet]) -> Pod {
    let mark = pod_mark(&pod);
    let set = sets.iter().find(|set| labels(&set.metadata).get(REVISION_HASH).map(String::as_str) == mark);
    if let Some(set) = set {
        let owner = owner(set.metadata.name.as_deref(), set.metadata.uid.as_deref());
        pod.metadata.owner_references = Some(vec![owner]);
    }
    pod
}

#[cfg(test)]
pub(in crate::rollout) mod tests;
