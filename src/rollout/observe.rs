//! What is there: the Deployment, its ReplicaSets, pods and endpoints, read at one moment.
//! Only questions that one look can answer; what follows from the answers is `verdict` and `plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Container, Pod, PodTemplateSpec, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Kind;
use super::annotations::{DETACHED, HASH, HOLD, JOURNAL, Journal, REVISION};
use crate::image::Digest;

/// Labels as the API has them.
pub type Labels = BTreeMap<String, String>;

/// One look at everything that belongs to a Deployment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The Deployment itself.
    pub deployment: Deployment,
    /// The container that is rolled; the first of them where there are several.
    pub container: String,
    /// The containers that are rolled with it, init containers among them.
    pub others: Vec<String>,
    /// ReplicaSets that its selector finds.
    pub replica_sets: Vec<ReplicaSet>,
    /// Pods that its selector or the detached label finds.
    pub pods: Vec<Pod>,
    /// Services and endpoints of the namespace; `None` where the credentials may not read them.
    pub routing: Option<Routing>,
    /// The set for which all of this stands in, where it is not a Deployment.
    pub set: Option<Arc<super::sets::Look>>,
}

/// One rolled container and its place in the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it runs before the others.
    pub is_init: bool,
    /// Its place among its kind; the first where the template does not have it, so that a `test` of the
    /// name refuses a write.
    pub index: usize,
    /// Its image in the template, empty where the template does not have it.
    pub image: &'a str,
}

impl Slot<'_> {
    /// Returns the JSON pointer to it in the workload.
    #[must_use]
    pub fn path(&self) -> String {
        let list = if self.is_init { "initContainers" } else { "containers" };
        format!("/spec/template/spec/{list}/{}", self.index)
    }
}

/// Who sends traffic to pods.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    /// The namespace's Services.
    pub services: Vec<Service>,
    /// Their endpoints.
    pub slices: Vec<EndpointSlice>,
    /// The namespace's network policies; `None` where the credentials may not list them.
    pub policies: Option<Vec<NetworkPolicy>>,
}

impl Snapshot {
    /// Returns the Deployment's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.deployment.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Returns `namespace/name`.
    #[must_use]
    pub fn name(&self) -> String {
        let metadata = &self.deployment.metadata;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        format!("{namespace}/{}", metadata.name.as_deref().unwrap_or_default())
    }

    /// Returns how many pods are wanted; the API's default is one.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let replicas = self.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        usize::try_from(replicas).unwrap_or(0)
    }

    /// Returns what kind of workload it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.set.as_ref().map_or(Kind::Deployment, |look| look.set.kind())
    }

    /// Returns the revision that the controller counts.
    #[must_use]
    pub fn revision(&self) -> &str {
        match &self.set {
            Some(look) => &look.revision,
            None => annotation(&self.deployment.metadata, REVISION).map_or("", String::as_str),
        }
    }

    /// Returns whether the controller has seen the last change of the Deployment.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        let observed = self.deployment.status.as_ref().and_then(|status| status.observed_generation);
        observed >= self.deployment.metadata.generation
    }

    /// Returns the journal of an unfinished rollout. `kubectl rollout undo` replaces the Deployment's
    /// annotations by an older ReplicaSet's: what is still held then has its journal on a ReplicaSet.
    #[must_use]
    pub fn journal(&self) -> Option<Journal> {
        let read = |metadata: &ObjectMeta| Journal::read(annotation(metadata, JOURNAL));
        let copies = || {
            let sets = self.owned_sets().map(|set| &set.metadata);
            sets.filter_map(|set| Some((revision(set), read(set)?))).max_by_key(|(revision, _)| *revision)
        };
        let lost = || copies().map_or_else(|| Journal::lost(self.image()), |(_, journal)| journal);
        read(&self.deployment.metadata).or_else(|| self.is_held().then(lost))
    }

    /// Returns whether new pods are held back from counting as available, which only a rollout of
    /// ours does.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds) == Some(HOLD)
    }

    /// Returns whether the controller was told to leave the Deployment alone.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true)
    }

    /// Returns the containers of the template.
    #[must_use]
    pub fn containers(&self) -> &[Container] {
        let template = self.deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        template.map_or(&[], |spec| spec.containers.as_slice())
    }

    /// Returns the place of a container in the template.
    #[must_use]
    pub fn slot<'a>(&'a self, name: &'a str) -> Slot<'a> {
        let spec = self.deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        let find = |list: &'a [Container], is_init| {
            let index = list.iter().position(|container| container.name == name)?;
            Some(Slot { name, is_init, index, image: list[index].image.as_deref().unwrap_or_default() })
        };
        let missing = Slot { name, is_init: false, index: 0, image: "" };
        find(self.containers(), false).or_else(|| find(init, true)).unwrap_or(missing)
    }

    /// Returns the places of all rolled containers, the first one first.
    pub fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        std::iter::once(&self.container).chain(&self.others).map(|name| self.slot(name))
    }

    /// Returns the image in the template: the first container's, where several are rolled.
    #[must_use]
    pub fn image(&self) -> &str {
        self.slot(&self.container).image
    }

    /// Returns the images of the other rolled containers, by name.
    #[must_use]
    pub fn other_images(&self) -> BTreeMap<String, String> {
        self.slots().skip(1).map(|slot| (slot.name.to_owned(), slot.image.to_owned())).collect()
    }

    /// Returns the ReplicaSets that the Deployment controls.
    pub fn owned_sets(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.replica_sets.iter().filter(|set| controller(&set.metadata) == Some(self.uid()))
    }

    /// Returns the ReplicaSet of the current template: equal but for the hash label, as the
    /// controller itself finds it.
    #[must_use]
    pub fn new_set(&self) -> Option<&ReplicaSet> {
        let wanted = without_hash(self.deployment.spec.as_ref()?.template.clone());
        let is_current = |set: &&ReplicaSet| {
            let template = set.spec.as_ref().and_then(|spec| spec.template.clone());
            template.is_some_and(|template| without_hash(template) == wanted)
        };
        self.owned_sets().filter(is_current).min_by_key(|set| set.metadata.creation_timestamp.clone())
    }

    /// Returns the Deployment's other ReplicaSets, most of them history without pods.
    fn other_sets(&self) -> impl Iterator<Item = &ReplicaSet> {
        let new = self.new_set().and_then(|set| set.metadata.uid.as_deref());
        self.owned_sets().filter(move |set| set.metadata.uid.as_deref() != new)
    }

    /// Returns the other ReplicaSets that have or want living pods, or are about to let them go.
    pub fn old_sets(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.other_sets().filter(|set| {
            let wants = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0) > 0;
            wants || set.metadata.deletion_timestamp.is_some() || self.pods_of(set).any(is_alive)
        })
    }

    /// Returns a ReplicaSet's pods, the ending ones too.
    pub fn pods_of<'a>(&'a self, set: &'a ReplicaSet) -> impl Iterator<Item = &'a Pod> {
        let uid = set.metadata.uid.as_deref();
        self.pods.iter().filter(move |pod| uid.is_some() && controller(&pod.metadata) == uid)
    }

    /// Returns the pods of the current template that are not ending.
    #[must_use]
    pub fn new_pods(&self) -> Vec<&Pod> {
        let set = self.new_set();
        set.map(|set| self.pods_of(set).filter(|pod| is_alive(pod)).collect()).unwrap_or_default()
    }

    /// Returns how many pods of the current template are ready.
    #[must_use]
    pub fn ready_new_pods(&self) -> usize {
        self.new_pods().into_iter().filter(|pod| is_ready(pod)).count()
    }

    /// Returns the pods that run an older template: still owned, or orphans of this Deployment.
    /// What an eviction left of an owned pod is nobody's to wait for: it stays as long as its ReplicaSet.
    #[must_use]
    pub fn old_pods(&self) -> Vec<&Pod> {
        let owned = self.other_sets().flat_map(|set| self.pods_of(set)).filter(|pod| !has_ended(pod));
        owned.chain(self.orphans()).collect()
    }

    /// Returns the old pods that were asked to end and are still there.
    pub fn ending_pods(&self) -> impl Iterator<Item = &Pod> {
        self.old_pods().into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    /// Returns the living pods of all the Deployment's ReplicaSets, and its orphans.
    pub fn own_pods(&self) -> impl Iterator<Item = &Pod> {
        let owned = self.owned_sets().flat_map(|set| self.pods_of(set));
        owned.chain(self.orphans()).filter(|pod| is_alive(pod))
    }

    /// Returns pods that a ReplicaSet of this Deployment left behind: no controller, and either our
    /// mark or the origin that only such a pod has. The origin is not read off the pod's name, which
    /// the API server cuts when it is long.
    pub fn orphans(&self) -> impl Iterator<Item = &Pod> {
        let name = self.deployment.metadata.name.clone().unwrap_or_default();
        self.pods.iter().filter(move |pod| {
            let labels = labels(&pod.metadata);
            let marked = labels.get(DETACHED) == Some(&name);
            let named = labels.get(HASH).is_some_and(|hash| {
                pod.metadata.generate_name.as_deref() == Some(&format!("{name}-{hash}-"))
            });
            controller(&pod.metadata).is_none() && (marked || named)
        })
    }

    /// Returns whether there are living orphans and no Service sends traffic to any of them.
    #[must_use]
    pub fn is_every_orphan_out(&self) -> bool {
        let mut orphans = self.orphans().filter(|pod| is_alive(pod)).peekable();
        orphans.peek().is_some() && orphans.all(|pod| is_detached(pod) && !self.is_routed(pod))
    }

    /// Returns the Services that send traffic to pods with these labels.
    #[must_use]
    pub fn services(&self, labels: &Labels) -> Vec<&Service> {
        let services = self.routing.iter().flat_map(|routing| &routing.services);
        services.filter(|service| selector(service).is_some_and(|wanted| is_subset(wanted, labels))).collect()
    }

    /// Returns the labels of the template's pods.
    #[must_use]
    pub fn template_labels(&self) -> Labels {
        let spec = self.deployment.spec.as_ref();
        let metadata = spec.and_then(|spec| spec.template.metadata.as_ref());
        metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default()
    }

    /// Returns the uids of the pods that `service` sends traffic to.
    #[must_use]
    pub fn ready_endpoints(&self, service: &str) -> BTreeSet<&str> {
        self.endpoints(service, |ready| ready)
    }

    /// Returns whether any endpoint, ready or not, still names the pod.
    #[must_use]
    pub fn is_routed(&self, pod: &Pod) -> bool {
        let services = self.routing.iter().flat_map(|routing| &routing.services);
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        services
            .filter_map(|service| service.metadata.name.as_deref())
            .any(|service| self.endpoints(service, |_| true).contains(uid))
    }

    fn endpoints(&self, service: &str, wanted: impl Fn(bool) -> bool) -> BTreeSet<&str> {
        self.endpoints_of(service)
            .filter(|endpoint| {
                let conditions = endpoint.conditions.as_ref();
                // An unset condition counts as ready: the API says so.
                wanted(conditions.and_then(|conditions| conditions.ready).unwrap_or(true))
            })
            .filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.as_deref())
            .collect()
    }

    /// Returns every endpoint of `service`, in all its slices.
    pub fn endpoints_of(&self, service: &str) -> impl Iterator<Item = &Endpoint> {
        let slices = self.routing.iter().flat_map(|routing| &routing.slices).filter(move |slice| {
            labels(&slice.metadata).get("kubernetes.io/service-name").map(String::as_str) == Some(service)
        });
        slices.flat_map(|slice| slice.endpoints.iter())
    }

    /// Returns the digest that the runtime reports for the rolled container of `pod`.
    #[must_use]
    pub fn running_digest(&self, pod: &Pod) -> Option<Digest> {
        digest_of(pod, &self.container)
    }
}

/// Returns whether two references are of one image: the same text, or the same digest under another name,
/// as admission policies write it that send all pulls to a mirror.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    let digest = |image: &'_ str| image.split_once('@').map(|(_, digest)| digest.to_owned());
    one == other || digest(one).is_some_and(|one| Some(one) == digest(other))
}

/// Returns the digest that the runtime reports for a container of `pod`, or for an init container of it.
#[must_use]
pub fn digest_of(pod: &Pod, container: &str) -> Option<Digest> {
    let status = pod.status.as_ref()?;
    let mut all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let status = all.find(|status| status.name == container)?;
    // `repository@sha256:…` from containerd and CRI-O, `docker-pullable://…` from older ones.
    let (_, digest) = status.image_id.rsplit_once('@').unwrap_or(("", &status.image_id));
    digest.parse().ok()
}

/// Returns the number that the controller gave to a Deployment's or ReplicaSet's template.
fn revision(metadata: &ObjectMeta) -> u64 {
    annotation(metadata, REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

/// Templates are compared without the label that tells their ReplicaSets apart.
fn without_hash(mut template: PodTemplateSpec) -> PodTemplateSpec {
    if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
        labels.remove(HASH);
    }
    template
}

/// Returns the uid of the object's controller.
#[must_use]
pub fn controller(metadata: &ObjectMeta) -> Option<&str> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

/// Returns the object's labels, none if it has none.
#[must_use]
pub fn labels(metadata: &ObjectMeta) -> &Labels {
    static NONE: Labels = Labels::new();
    metadata.labels.as_ref().unwrap_or(&NONE)
}

/// Returns one annotation.
#[must_use]
pub fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a String> {
    metadata.annotations.as_ref().and_then(|annotations| annotations.get(key))
}

/// Returns a Service's selector; `None` where it sends to no pod by label: it has none, or it is
/// another name for a host outside.
#[must_use]
pub fn selector(service: &Service) -> Option<&Labels> {
    let spec = service.spec.as_ref()?;
    let is_alias = spec.type_.as_deref() == Some("ExternalName");
    spec.selector.as_ref().filter(|selector| !selector.is_empty() && !is_alias)
}

/// Returns whether `labels` has everything that `wanted` asks for.
#[must_use]
pub fn is_subset(wanted: &Labels, labels: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Returns whether nobody has asked the pod to end and it has not ended by itself.
#[must_use]
pub fn is_alive(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !has_ended(pod)
}

/// Returns how long the pod may take to end once it is asked to: what it was given when it was asked,
/// else what its template gives it, else the API's default.
#[must_use]
pub fn grace(pod: &Pod) -> Duration {
    let own = || pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = pod.metadata.deletion_grace_period_seconds.or_else(own).unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Returns whether the pod has ended by itself, as an evicted one has. Nothing removes it for that.
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Returns whether the pod counts as ready for its Services.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    is_alive(pod) && ready.is_some_and(|condition| condition.status == "True")
}

/// Returns whether the pod was taken out of its Services by us.
#[must_use]
pub fn is_detached(pod: &Pod) -> bool {
    labels(&pod.metadata).contains_key(DETACHED)
}
