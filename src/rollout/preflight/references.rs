//! Which objects a template names and cannot do without, and which custom resources name a workload.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use serde_json::Value;

use super::facts::Claim;

/// Returns the objects that pods of `spec` need, as kind and name; what is marked optional is not needed.
#[must_use]
pub fn named(spec: &PodSpec) -> BTreeSet<(&'static str, String)> {
    let mut found = BTreeSet::new();
    let mut add = |kind: &'static str, name: Option<&str>| {
        found.extend(name.filter(|name| !name.is_empty()).map(|name| (kind, name.to_owned())));
    };
    add("serviceaccount", spec.service_account_name.as_deref().filter(|name| *name != "default"));
    add("priorityclass", spec.priority_class_name.as_deref());
    add("runtimeclass", spec.runtime_class_name.as_deref());
    for (kind, name) in spec.volumes.iter().flatten().flat_map(of_volume) {
        add(kind, Some(&name));
    }
    for (kind, name) in containers(spec).flat_map(of_container) {
        add(kind, Some(&name));
    }
    found
}

/// Returns all containers of a pod, those that run first too.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn of_volume(volume: &Volume) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if let Some(secret) = volume.secret.as_ref().filter(|secret| secret.optional != Some(true)) {
        found.extend(secret.secret_name.clone().map(|name| ("secret", name)));
    }
    if let Some(map) = volume.config_map.as_ref().filter(|map| map.optional != Some(true)) {
        found.push(("configmap", map.name.clone()));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        found.push(("persistentvolumeclaim", claim.claim_name.clone()));
    }
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    for source in sources {
        if let Some(secret) = source.secret.as_ref().filter(|secret| secret.optional != Some(true)) {
            found.push(("secret", secret.name.clone()));
        }
        if let Some(map) = source.config_map.as_ref().filter(|map| map.optional != Some(true)) {
            found.push(("configmap", map.name.clone()));
        }
    }
    found
}

fn of_container(container: &Container) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        if let Some(key) = source.secret_key_ref.as_ref().filter(|key| key.optional != Some(true)) {
            found.push(("secret", key.name.clone()));
        }
        if let Some(key) = source.config_map_key_ref.as_ref().filter(|key| key.optional != Some(true)) {
            found.push(("configmap", key.name.clone()));
        }
    }
    for source in container.env_from.iter().flatten() {
        if let Some(secret) = source.secret_ref.as_ref().filter(|secret| secret.optional != Some(true)) {
            found.push(("secret", secret.name.clone()));
        }
        if let Some(map) = source.config_map_ref.as_ref().filter(|map| map.optional != Some(true)) {
            found.push(("configmap", map.name.clone()));
        }
    }
    found
}

/// Returns the claim that a custom resource makes on the Deployment called `workload`, if it makes one.
#[must_use]
pub fn claim(kind: &str, name: &str, object: &Value, workload: &str) -> Option<Claim> {
    let spec = &object["spec"];
    let target = match kind {
        "Rollout" => &spec["workloadRef"],
        _ => &spec["targetRef"],
    };
    let is_ours = target["kind"] == "Deployment" && target["name"] == workload;
    // A VerticalPodAutoscaler that says nothing acts.
    let mode = || spec["updatePolicy"]["updateMode"].as_str().unwrap_or("Auto");
    let detail =
        if kind == "VerticalPodAutoscaler" { format!("updateMode: {}", mode()) } else { String::new() };
    is_ours.then(|| Claim { kind: kind.to_owned(), name: name.to_owned(), detail })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::fixtures::mk;

    #[test]
    fn everything_that_is_named_and_not_optional_is_needed() {
        let spec: PodSpec = mk(json!({
            "serviceAccountName": "app", "priorityClassName": "high", "runtimeClassName": "gvisor",
            "volumes": [
                { "name": "a", "secret": { "secretName": "tls" } },
                { "name": "b", "configMap": { "name": "maybe", "optional": true } },
                { "name": "c", "persistentVolumeClaim": { "claimName": "data" } },
                { "name": "d", "projected": { "sources": [{ "configMap": { "name": "ca" } }] } },
            ],
            "initContainers": [{ "name": "init", "envFrom": [{ "secretRef": { "name": "db" } }] }],
            "containers": [{ "name": "main", "env": [
                { "name": "A", "valueFrom": { "configMapKeyRef": { "name": "config", "key": "a" } } },
                { "name": "B", "valueFrom": { "secretKeyRef": { "name": "x", "key": "b", "optional": true } } },
            ] }],
        }));
        let found: Vec<String> = named(&spec).iter().map(|(kind, name)| format!("{kind}/{name}")).collect();
        assert_eq!(
            found,
            [
                "configmap/ca",
                "configmap/config",
                "persistentvolumeclaim/data",
                "priorityclass/high",
                "runtimeclass/gvisor",
                "secret/db",
                "secret/tls",
                "serviceaccount/app",
            ]
        );
    }

    #[test]
    fn template_that_names_nothing_needs_nothing() {
        let spec: PodSpec =
            mk(json!({ "serviceAccountName": "default", "containers": [{ "name": "main" }] }));
        assert!(named(&spec).is_empty());
    }

    #[test]
    fn custom_resource_claims_the_deployment_that_it_names() {
        let canary = json!({ "spec": { "targetRef": { "kind": "Deployment", "name": "app" } } });
        assert!(claim("Canary", "c", &canary, "app").is_some());
        assert_eq!(claim("Canary", "c", &canary, "other"), None);
        let rollout = json!({ "spec": { "workloadRef": { "kind": "Deployment", "name": "app" } } });
        assert!(claim("Rollout", "r", &rollout, "app").is_some());
        let scaler = claim("VerticalPodAutoscaler", "v", &canary, "app").unwrap();
        assert_eq!(scaler.detail, "updateMode: Auto");
    }
}
