//! What is written to pods: out of their Services, and back into them.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Operations, escape, remove, set, test};
use crate::rollout::annotations::{DETACHED, HASH, LABELS};
use crate::rollout::observe::{Labels, Snapshot, annotation, labels};
use crate::rollout::plan::labels::routing_keys;

/// Takes a pod out of every Service that selects it, and marks it as ours to end. The hash goes too:
/// no ReplicaSet may adopt a pod that gets no traffic and count it. It also makes the Deployment its
/// owner (not its controller), so that it goes when the Deployment goes.
#[must_use]
pub fn detach(snapshot: &Snapshot, pod: &Pod) -> Operations {
    let taken: Labels = routing_keys(snapshot, labels(&pod.metadata))
        .into_iter()
        .chain([HASH.to_owned()])
        .filter_map(|key| labels(&pod.metadata).get(&key).map(|value| (key, value.clone())))
        .collect();
    let mut operations = vec![test_uid(pod)];
    operations.extend(taken.keys().map(|key| remove(&format!("/metadata/labels/{}", escape(key)))));
    let deployment = &snapshot.deployment.metadata;
    let name = deployment.name.clone().unwrap_or_default();
    operations.push(set(&format!("/metadata/labels/{}", escape(DETACHED)), name.clone().into()));
    if pod.metadata.annotations.is_none() {
        operations.push(set("/metadata/annotations", json!({})));
    }
    let saved = serde_json::to_string(&taken).unwrap_or_default();
    operations.push(set(&format!("/metadata/annotations/{}", escape(LABELS)), saved.into()));
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": snapshot.uid(),
    });
    operations.push(set("/metadata/ownerReferences", json!([owner])));
    operations
}

/// Puts a detached pod back into its Services, as an orphan that its ReplicaSet can adopt.
#[must_use]
pub fn attach(pod: &Pod) -> Operations {
    let saved = annotation(&pod.metadata, LABELS);
    let taken: Labels = saved.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut operations = vec![test_uid(pod)];
    operations.extend(
        taken
            .iter()
            .map(|(key, value)| set(&format!("/metadata/labels/{}", escape(key)), value.clone().into())),
    );
    operations.push(remove(&format!("/metadata/labels/{}", escape(DETACHED))));
    if pod.metadata.owner_references.is_some() {
        operations.push(remove("/metadata/ownerReferences"));
    }
    operations
}

fn test_uid(pod: &Pod) -> Value {
    test("/metadata/uid", pod.metadata.uid.as_deref().unwrap_or_default())
}
