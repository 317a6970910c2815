//! Objects for the tests of the pure part, built from literal JSON, and a cluster whose controllers
//! are functions. An image is told by one letter: `mk_image('a')` has the digest `sha256:aaa…`.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::annotations::HASH;
use super::observe::{Routing, Snapshot, is_ready};
use super::verdict::Goal;
use super::{Drain, Order};
use crate::concourse::Build;
use crate::image::{Digest, Pinned};

pub(crate) mod cluster;

pub(crate) fn mk_digest(letter: char) -> Digest {
    format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

pub(crate) fn mk_pinned(letter: char) -> Pinned {
    Pinned { repository: "registry/app".to_owned(), digest: mk_digest(letter) }
}

pub(crate) fn mk_image(letter: char) -> String {
    mk_pinned(letter).to_string()
}

/// Reads a typed object from a literal one.
pub(crate) fn mk<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

/// Returns `object` with `part` laid over it; null removes.
pub(crate) fn with<K: serde::Serialize + DeserializeOwned>(object: &K, part: &Value) -> K {
    let mut value = serde_json::to_value(object).unwrap();
    json_patch::merge(&mut value, part);
    mk(value)
}

pub(crate) fn mk_deployment(letter: char, replicas: i32) -> Deployment {
    mk(json!({
        "metadata": {
            "name": "app", "namespace": "apps", "uid": "uid-app", "generation": 1,
            "annotations": { "deployment.kubernetes.io/revision": "1" },
        },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "app" } },
            "progressDeadlineSeconds": 600,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" },
            },
            "template": {
                "metadata": { "labels": { "app": "app", "tier": "web" } },
                "spec": { "containers": [{ "name": "main", "image": mk_image(letter) }] },
            },
        },
        "status": {
            "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": replicas, "availableReplicas": replicas,
        },
    }))
}

/// Returns the ReplicaSet of the Deployment's template, with `hash` as its name.
pub(crate) fn mk_set(deployment: &Deployment, hash: &str, replicas: i32) -> ReplicaSet {
    let name = deployment.metadata.name.clone().unwrap();
    let spec = deployment.spec.clone().unwrap();
    let set: ReplicaSet = mk(json!({
        "metadata": {
            "name": format!("{name}-{hash}"), "namespace": "apps", "uid": format!("uid-{name}-{hash}"),
            "labels": spec.template.metadata.as_ref().unwrap().labels,
            "annotations": deployment.metadata.annotations,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": name,
                "uid": deployment.metadata.uid, "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "replicas": replicas, "minReadySeconds": spec.min_ready_seconds,
            "selector": spec.selector, "template": spec.template,
        },
        "status": { "replicas": replicas },
    }));
    let hash = json!({ HASH: hash });
    with(
        &set,
        &json!({
            "metadata": { "labels": hash },
            "spec": {
                "selector": { "matchLabels": hash },
                "template": { "metadata": { "labels": hash } },
            },
        }),
    )
}

/// Returns a ready pod of the ReplicaSet, which runs what its image says.
pub(crate) fn mk_pod(set: &ReplicaSet, suffix: &str) -> Pod {
    let name = set.metadata.name.clone().unwrap();
    let template = set.spec.as_ref().unwrap().template.clone().unwrap();
    let image = template.spec.as_ref().unwrap().containers.first().unwrap().image.clone();
    mk(json!({
        "metadata": {
            "name": format!("{name}-{suffix}"), "generateName": format!("{name}-"), "namespace": "apps",
            "uid": format!("uid-{name}-{suffix}"),
            "labels": template.metadata.unwrap().labels,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name,
                "uid": set.metadata.uid, "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": template.spec,
        "status": {
            "phase": "Running",
            "conditions": [{ "type": "Ready", "status": "True" }],
            "containerStatuses": [{
                "name": "main", "image": image, "imageID": image, "ready": true, "restartCount": 0,
            }],
        },
    }))
}

/// Returns the pod with times: its container took so many seconds to be ready.
pub(crate) fn mk_started(pod: &Pod, seconds: i64) -> Pod {
    let started: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let ready = Timestamp::from_second(started.as_second() + seconds).unwrap();
    let mut value = serde_json::to_value(pod).unwrap();
    value["status"]["conditions"][0]["lastTransitionTime"] = json!(ready.to_string());
    value["status"]["containerStatuses"][0]["state"] =
        json!({ "running": { "startedAt": started.to_string() } });
    mk(value)
}

pub(crate) fn mk_unready(pod: &Pod) -> Pod {
    with(pod, &json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } }))
}

pub(crate) fn mk_ending(pod: &Pod) -> Pod {
    with(pod, &json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }))
}

/// Returns the pod on its way out, with so many seconds to end in.
pub(crate) fn mk_ending_within(pod: &Pod, seconds: i64) -> Pod {
    with(&mk_ending(pod), &json!({ "metadata": { "deletionGracePeriodSeconds": seconds } }))
}

/// Returns the pod as it is after an eviction: it has ended, and nobody removes it.
pub(crate) fn mk_evicted(pod: &Pod) -> Pod {
    with(&mk_unready(pod), &json!({ "status": { "phase": "Failed", "reason": "Evicted" } }))
}

/// Returns the pod as it is after its ReplicaSet was deleted and it was not.
pub(crate) fn mk_orphan(pod: &Pod) -> Pod {
    with(pod, &json!({ "metadata": { "ownerReferences": null } }))
}

pub(crate) fn mk_service(name: &str, selector: &Value) -> Service {
    mk(json!({ "metadata": { "name": name, "namespace": "apps" }, "spec": { "selector": selector } }))
}

pub(crate) fn mk_slice(service: &str, pods: &[Pod]) -> EndpointSlice {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|pod| {
            json!({
                "addresses": ["10.0.0.1"],
                "conditions": { "ready": is_ready(pod) },
                "targetRef": { "kind": "Pod", "uid": pod.metadata.uid },
            })
        })
        .collect();
    mk(json!({
        "metadata": { "name": service, "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "endpoints": endpoints,
    }))
}

/// Returns three ready pods of image `a` behind one Service: a Deployment at rest.
pub(crate) fn mk_snapshot() -> Snapshot {
    let deployment = mk_deployment('a', 3);
    let set = mk_set(&deployment, "1a", 3);
    let pods: Vec<Pod> = ["x", "y", "z"].iter().map(|suffix| mk_pod(&set, suffix)).collect();
    let slices = vec![mk_slice("app", &pods)];
    Snapshot {
        deployment,
        container: "main".to_owned(),
        others: Vec::new(),
        set: None,
        replica_sets: vec![set],
        pods,
        routing: Some(Routing {
            services: vec![mk_service("app", &json!({ "app": "app" }))],
            slices,
            policies: Some(Vec::new()),
        }),
    }
}

pub(crate) fn mk_goal(letter: char) -> Goal {
    Goal {
        uid: "uid-app".to_owned(),
        generation: 1,
        image: mk_image(letter),
        identities: [mk_digest(letter)].into(),
        others: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn mk_order(letter: char) -> Order {
    Order {
        image: mk_pinned(letter),
        images: std::collections::BTreeMap::new(),
        tag: Some("latest".to_owned()),
        wait: Some(Duration::from_secs(60)),
        said_wait: None,
        drain: Drain::Auto,
        drain_wait: Duration::from_secs(5),
        build: Build::default(),
        policy: super::Policy::default(),
        on_failure: super::OnFailure::default(),
        settle: Duration::ZERO,
        canary: None,
        probe: None,
    }
}
