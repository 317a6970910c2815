//! What runs where, for many workloads at once: put together from a few lists and from what the
//! registry says about the images in them. Pure; asking is `driver::status`'s business.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::Kind;
use super::annotations::{AT, BUILD, DIGEST, JOURNAL, Journal, OUTCOME, TAG};
use super::observe::{Snapshot, annotation, controller, digest_of, is_alive, is_ready};
use crate::image::{Buildpacks, Config, Digest, java};
use crate::registry;

/// What the API server listed.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The Deployments.
    pub deployments: Vec<Deployment>,
    /// Everybody's ReplicaSets.
    pub replica_sets: Vec<ReplicaSet>,
    /// The StatefulSets.
    pub stateful_sets: Vec<StatefulSet>,
    /// The DaemonSets.
    pub daemon_sets: Vec<DaemonSet>,
    /// Everybody's pods.
    pub pods: Vec<Pod>,
}

/// What the registry said; what it did not say is not there.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// What `(repository, tag)` points at.
    pub tags: BTreeMap<(String, String), Digest>,
    /// What `(repository, digest)` is.
    pub images: BTreeMap<(String, Digest), Told>,
}

/// What the registry said about one image.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Every digest that a runtime may report for it.
    pub identities: BTreeSet<Digest>,
    /// Its config.
    pub config: Option<Config>,
}

/// One workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its namespace.
    pub namespace: String,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Both, as a command line takes them: `deployment/name`.
    pub workload: String,
    /// The container that is looked at.
    pub container: String,
    /// The template's image.
    pub image: String,
    /// The digest that the template asks for; absent where it names only a tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Digest>,
    /// The digests that pods run, with how many of them.
    pub running: BTreeMap<String, usize>,
    /// How many pods are wanted.
    pub replicas: usize,
    /// How many pods are ready.
    pub ready: usize,
    /// The tag that is followed: recorded by a rollout, else the template's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What the tag points at now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Digest>,
    /// The version of Java in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub java: Option<String>,
    /// The run image or stack below the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_image: Option<String>,
    /// When it was last rolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// By which build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// How that ended; `rolling` while it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// What the kinds have in common.
struct Subject<'a> {
    kind: Kind,
    metadata: &'a ObjectMeta,
    template: Option<&'a PodTemplateSpec>,
    replicas: usize,
    is_rolling: bool,
    pods: Vec<&'a Pod>,
}

/// Puts the lists together, sorted by namespace, kind and name.
#[must_use]
pub fn assemble(listed: Listed) -> Vec<Status> {
    let mut sets = by_owner(listed.replica_sets, |set| controller(&set.metadata).map(str::to_owned));
    let mut pods = by_owner(listed.pods, |pod| controller(&pod.metadata).map(str::to_owned));
    let mut rows: Vec<Status> = Vec::new();
    for deployment in listed.deployments {
        let owned = sets.remove(deployment.metadata.uid.as_deref().unwrap_or_default()).unwrap_or_default();
        let uids: Vec<&str> = owned.iter().filter_map(|set| set.metadata.uid.as_deref()).collect();
        let pods = uids.into_iter().filter_map(|uid| pods.remove(uid)).flatten().collect();
        rows.push(row_of(&Snapshot { deployment, replica_sets: owned, pods, ..Snapshot::default() }));
    }
    let of = |metadata: &ObjectMeta| {
        metadata.uid.as_ref().and_then(|uid| pods.get(uid)).map_or(&[][..], Vec::as_slice)
    };
    for set in &listed.stateful_sets {
        let spec = set.spec.as_ref();
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        rows.push(row_of_set(
            (Kind::StatefulSet, replicas),
            &set.metadata,
            spec.map(|spec| &spec.template),
            of(&set.metadata),
        ));
    }
    for set in &listed.daemon_sets {
        let replicas = set.status.as_ref().map_or(0, |status| status.desired_number_scheduled);
        rows.push(row_of_set(
            (Kind::DaemonSet, replicas),
            &set.metadata,
            set.spec.as_ref().map(|spec| &spec.template),
            of(&set.metadata),
        ));
    }
    let place = |row: &Status| (row.namespace.clone(), row.kind, row.name.clone());
    rows.sort_by_cached_key(place);
    rows
}

fn by_owner<K>(objects: Vec<K>, owner: impl Fn(&K) -> Option<String>) -> BTreeMap<String, Vec<K>> {
    let mut groups: BTreeMap<String, Vec<K>> = BTreeMap::new();
    for object in objects {
        if let Some(owner) = owner(&object) {
            groups.entry(owner).or_default().push(object);
        }
    }
    groups
}

fn row_of(snapshot: &Snapshot) -> Status {
    row(&Subject {
        kind: Kind::Deployment,
        metadata: &snapshot.deployment.metadata,
        template: snapshot.deployment.spec.as_ref().map(|spec| &spec.template),
        replicas: snapshot.wanted(),
        is_rolling: snapshot.journal().is_some(),
        pods: snapshot.own_pods().collect(),
    })
}

fn row_of_set(
    (kind, replicas): (Kind, i32),
    metadata: &ObjectMeta,
    template: Option<&PodTemplateSpec>,
    pods: &[Pod],
) -> Status {
    row(&Subject {
        kind,
        metadata,
        template,
        replicas: usize::try_from(replicas).unwrap_or(0),
        is_rolling: Journal::read(annotation(metadata, JOURNAL)).is_some(),
        pods: pods.iter().filter(|pod| is_alive(pod)).collect(),
    })
}

/// Returns the container that was rolled last, else the first, with its image.
fn container<'a>(subject: &Subject<'a>) -> (&'a str, &'a str) {
    let spec = subject.template.and_then(|template| template.spec.as_ref());
    let containers = spec.map_or(&[][..], |spec| spec.containers.as_slice());
    let recorded = annotation(subject.metadata, DIGEST);
    let is_rolled = |image: Option<&str>| {
        recorded.is_some_and(|digest| image.is_some_and(|image| image.ends_with(digest.as_str())))
    };
    let rolled = containers.iter().find(|container| is_rolled(container.image.as_deref()));
    let shown = rolled.or(containers.first());
    shown.map_or(("", ""), |shown| (&shown.name, shown.image.as_deref().unwrap_or_default()))
}

fn row(subject: &Subject<'_>) -> Status {
    let Subject { kind, metadata, pods, .. } = subject;
    let (container, image) = container(subject);
    let wanted: Option<Digest> = image.split_once('@').and_then(|(_, digest)| digest.parse().ok());
    // Somebody who sets an image by hand leaves the annotations of the last rollout in place.
    let is_ours = wanted.is_some()
        && annotation(metadata, DIGEST).map(String::as_str) == wanted.as_ref().map(Digest::as_str);
    let recorded = |key: &str| annotation(metadata, key).filter(|_| is_ours).cloned();
    let mut running = BTreeMap::new();
    for digest in pods.iter().filter_map(|pod| digest_of(pod, container)) {
        *running.entry(digest.to_string()).or_default() += 1;
    }
    let written_tag = registry::split(image.split('@').next().unwrap_or_default()).1;
    let unpinned = || wanted.is_none().then(|| "latest".to_owned());
    let name = metadata.name.clone().unwrap_or_default();
    Status {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        kind: *kind,
        workload: format!("{}/{name}", kind.word()),
        name,
        container: container.to_owned(),
        tag: recorded(TAG).or_else(|| written_tag.map(str::to_owned)).or_else(unpinned),
        image: image.to_owned(),
        wanted,
        running,
        replicas: subject.replicas,
        ready: pods.iter().filter(|pod| is_ready(pod)).count(),
        newest: None,
        java: None,
        run_image: None,
        at: recorded(AT),
        build: recorded(BUILD),
        outcome: if subject.is_rolling { Some("rolling".to_owned()) } else { recorded(OUTCOME) },
    }
}

impl Status {
    /// Returns the repository of the image.
    #[must_use]
    pub fn repository(&self) -> &str {
        registry::split(self.image.split('@').next().unwrap_or_default()).0
    }

    /// Returns the digest whose labels tell what runs: the wanted one, else the only one that runs.
    #[must_use]
    pub fn described(&self) -> Option<Digest> {
        let mut running = self.running.keys();
        let only = running.next().filter(|_| self.running.len() == 1);
        self.wanted.clone().or_else(|| only.and_then(|digest| digest.parse().ok()))
    }

    /// Takes in what the registry said.
    pub fn learn(&mut self, answers: &Answers) {
        let repository = self.repository().to_owned();
        let tag = self.tag.clone().map(|tag| (repository.clone(), tag));
        self.newest = tag.and_then(|tag| answers.tags.get(&tag).cloned());
        let Some(told) = self.described().and_then(|digest| answers.images.get(&(repository, digest))) else {
            return;
        };
        if let Some(wanted) = &self.wanted {
            // A runtime may report the image of its platform where the index was asked for.
            let mut running = BTreeMap::new();
            for (digest, pods) in &self.running {
                let is_wanted = told.identities.iter().any(|known| known.as_str() == digest);
                let digest = if is_wanted { wanted.to_string() } else { digest.clone() };
                *running.entry(digest).or_default() += pods;
            }
            self.running = running;
        }
        if let Some(config) = &told.config {
            self.java = java(config);
            self.run_image = run_image(config);
        }
    }

    /// Returns whether every pod runs what the template asks for, as far as it asks for a digest.
    #[must_use]
    pub fn is_as_wanted(&self) -> bool {
        let wanted = self.wanted.as_ref().map(Digest::as_str);
        let is_it = |digest: &String| wanted.is_none_or(|wanted| wanted == digest);
        self.running.len() == 1 && self.running.keys().all(is_it)
    }

    /// Returns whether the tag points at what runs; `None` where nobody knows.
    #[must_use]
    pub fn is_newest(&self) -> Option<bool> {
        let newest = self.newest.as_ref()?;
        Some(self.described().as_ref() == Some(newest))
    }
}

fn run_image(config: &Config) -> Option<String> {
    let built = Buildpacks::read(config).unwrap_or_default();
    let name = built.run_image_name.or(built.run_image);
    let base =
        config.label("org.opencontainers.image.base.name").or_else(|| config.label("io.buildpacks.stack.id"));
    name.or_else(|| base.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::fixtures::{
        mk, mk_deployment, mk_digest, mk_ending, mk_pod, mk_set, mk_unready, with,
    };

    fn mk_listed(letter: char) -> Listed {
        let deployment = mk_deployment(letter, 2);
        let set = mk_set(&deployment, "1a", 2);
        let pods = vec![mk_pod(&set, "x"), mk_pod(&set, "y")];
        Listed { deployments: vec![deployment], replica_sets: vec![set], pods, ..Listed::default() }
    }

    fn only(listed: Listed) -> Status {
        let [status] = assemble(listed).try_into().unwrap();
        status
    }

    fn annotated(mut listed: Listed, letter: char) -> Listed {
        let annotations = json!({ DIGEST: mk_digest(letter), TAG: "v1", AT: "2026-01-02T03:04:05Z",
            BUILD: "https://ci/7", OUTCOME: "rolled" });
        let part = json!({ "metadata": { "annotations": annotations } });
        listed.deployments[0] = with(&listed.deployments[0], &part);
        listed
    }

    #[test]
    fn pods_are_found_through_their_replica_sets_and_nobody_elses() {
        let mut listed = annotated(mk_listed('a'), 'a');
        listed.pods[1] = mk_unready(&listed.pods[1]);
        let stray =
            with(&listed.pods[0], &json!({ "metadata": { "uid": "other", "ownerReferences": null } }));
        listed.pods.push(stray);
        let status = only(listed);
        assert_eq!((status.namespace.as_str(), status.workload.as_str()), ("apps", "deployment/app"));
        assert_eq!(status.running, [(mk_digest('a').to_string(), 2)].into());
        assert_eq!((status.ready, status.replicas), (1, 2));
        assert!(status.is_as_wanted());
        assert_eq!(status.tag.as_deref(), Some("v1"));
        assert_eq!(status.outcome.as_deref(), Some("rolled"));
    }

    #[test]
    fn sets_have_a_row_each_with_the_pods_that_they_own_themselves() {
        let mut listed = mk_listed('a');
        let template = serde_json::to_value(&listed.deployments[0].spec.as_ref().unwrap().template).unwrap();
        let journal = json!({ JOURNAL: Journal::lost("x").write() });
        listed.stateful_sets = vec![mk(json!({
            "metadata": { "name": "db", "namespace": "apps", "uid": "uid-db", "annotations": journal },
            "spec": { "replicas": 2, "serviceName": "db", "selector": {}, "template": template },
        }))];
        listed.daemon_sets = vec![mk(json!({
            "metadata": { "name": "agent", "namespace": "apps", "uid": "uid-agent",
                "annotations": { DIGEST: mk_digest('a'), OUTCOME: "rolled" } },
            "spec": { "selector": {}, "template": template },
            "status": { "currentNumberScheduled": 3, "desiredNumberScheduled": 3, "numberMisscheduled": 0,
                "numberReady": 1 },
        }))];
        let owned = |pod: &Pod, uid: &str| {
            let owner = json!([{ "apiVersion": "apps/v1", "kind": "Set", "name": "x", "uid": uid, "controller": true }]);
            with(pod, &json!({ "metadata": { "uid": format!("{uid}-pod"), "ownerReferences": owner } }))
        };
        let ending = mk_ending(&owned(&listed.pods[0], "uid-db"));
        listed.pods.extend([owned(&listed.pods[0].clone(), "uid-db"), ending]);
        listed.pods.push(owned(&listed.pods[0].clone(), "uid-agent"));
        let rows = assemble(listed);
        let seen =
            rows.iter().map(|row| (row.workload.as_str(), row.ready, row.replicas, row.outcome.as_deref()));
        assert_eq!(
            seen.collect::<Vec<_>>(),
            [
                ("deployment/app", 2, 2, None),
                ("statefulset/db", 1, 2, Some("rolling")),
                ("daemonset/agent", 1, 3, Some("rolled")),
            ]
        );
        assert!(rows.iter().all(Status::is_as_wanted), "{rows:?}");
    }

    #[test]
    fn annotations_of_an_image_that_is_no_longer_asked_for_say_nothing() {
        let status = only(annotated(mk_listed('a'), 'b'));
        assert_eq!((status.tag, status.at, status.outcome), (None, None, None));
    }

    #[test]
    fn template_with_a_tag_follows_that_tag() {
        let mut listed = mk_listed('a');
        let image = |image: &str| json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": image }] } } } });
        listed.deployments[0] = with(&listed.deployments[0], &image("registry:5000/app:1.4"));
        let status = only(listed.clone());
        assert_eq!((status.repository(), status.tag.as_deref()), ("registry:5000/app", Some("1.4")));
        assert_eq!(status.wanted, None);
        listed.deployments[0] = with(&listed.deployments[0], &image("app"));
        assert_eq!(only(listed).tag.as_deref(), Some("latest"));
    }

    #[test]
    fn the_registry_tells_what_is_newest_and_what_is_in_it() {
        let mut status = only(annotated(mk_listed('a'), 'a'));
        let repository = status.repository().to_owned();
        let config = Config { env: vec!["JAVA_VERSION=21.0.4".to_owned()], ..Config::default() };
        let told = Told { identities: [mk_digest('a')].into(), config: Some(config) };
        let answers = Answers {
            tags: [((repository.clone(), "v1".to_owned()), mk_digest('b'))].into(),
            images: [((repository, mk_digest('a')), told)].into(),
        };
        assert_eq!(status.is_newest(), None);
        status.learn(&answers);
        assert_eq!(status.is_newest(), Some(false));
        assert_eq!(status.java.as_deref(), Some("21.0.4"));
    }

    #[test]
    fn pods_that_report_the_platforms_image_run_the_index_that_was_asked_for() {
        let mut status = only(mk_listed('a'));
        status.running = [(mk_digest('c').to_string(), 2)].into();
        assert!(!status.is_as_wanted());
        let told = Told { identities: [mk_digest('a'), mk_digest('c')].into(), config: None };
        let images = [((status.repository().to_owned(), mk_digest('a')), told)].into();
        status.learn(&Answers { tags: BTreeMap::new(), images });
        assert!(status.is_as_wanted());
        assert_eq!(status.running, [(mk_digest('a').to_string(), 2)].into());
    }

    #[test]
    fn two_digests_at_once_are_not_what_was_asked_for() {
        let mut listed = mk_listed('a');
        let part = json!({ "status": { "containerStatuses": [{ "name": "main", "ready": true, "restartCount": 0,
            "image": "x", "imageID": format!("registry/app@{}", mk_digest('b')) }] } });
        listed.pods[0] = with(&listed.pods[0], &part);
        let status = only(listed);
        assert_eq!(status.running.len(), 2);
        assert!(!status.is_as_wanted());
    }
}
