//! Which objects a template names and cannot do without, and which custom resources name a workload.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, KeyToPath, PodSpec, Volume};
use serde_json::Value;

use super::facts::Claim;

/// An object that pods need, and what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// The keys that it must have.
    pub keys: BTreeSet<String>,
    /// Whether pods start without it: it is only shown to registries.
    pub only_pulls: bool,
}

/// The objects by kind and name.
pub type Named = BTreeMap<(&'static str, String), Needed>;

/// Returns the objects that pods of `spec` need; what is marked optional is not needed.
#[must_use]
pub fn named(spec: &PodSpec) -> Named {
    let mut named = Named::new();
    need(
        &mut named,
        "serviceaccount",
        spec.service_account_name.as_deref().filter(|name| *name != "default"),
    );
    need(&mut named, "priorityclass", spec.priority_class_name.as_deref());
    need(&mut named, "runtimeclass", spec.runtime_class_name.as_deref());
    spec.volumes.iter().flatten().for_each(|volume| of_volume(&mut named, volume));
    containers(spec).for_each(|container| of_container(&mut named, container));
    for secret in spec.image_pull_secrets.iter().flatten().filter(|secret| !secret.name.is_empty()) {
        let only_pulls = Needed { only_pulls: true, ..Needed::default() };
        named.entry(("secret", secret.name.clone())).or_insert(only_pulls);
    }
    named
}

fn need<'a>(named: &'a mut Named, kind: &'static str, name: Option<&str>) -> Option<&'a mut Needed> {
    let name = name.filter(|name| !name.is_empty())?;
    Some(named.entry((kind, name.to_owned())).or_default())
}

/// Returns all containers of a pod, those that run first too.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// Adds an object with the keys that are named of it, unless it may be missing.
fn keyed<'a>(
    named: &mut Named,
    (kind, name): (&'static str, Option<&str>),
    optional: Option<bool>,
    keys: impl IntoIterator<Item = &'a String>,
) {
    if optional == Some(true) {
        return;
    }
    if let Some(needed) = need(named, kind, name) {
        needed.keys.extend(keys.into_iter().cloned());
    }
}

fn keys(items: Option<&Vec<KeyToPath>>) -> impl Iterator<Item = &String> {
    items.into_iter().flatten().map(|item| &item.key)
}

fn of_volume(named: &mut Named, volume: &Volume) {
    if let Some(secret) = &volume.secret {
        let name = ("secret", secret.secret_name.as_deref());
        keyed(named, name, secret.optional, keys(secret.items.as_ref()));
    }
    if let Some(map) = &volume.config_map {
        keyed(named, ("configmap", Some(&map.name)), map.optional, keys(map.items.as_ref()));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        need(named, "persistentvolumeclaim", Some(&claim.claim_name));
    }
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        if let Some(secret) = &source.secret {
            keyed(named, ("secret", Some(&secret.name)), secret.optional, keys(secret.items.as_ref()));
        }
        if let Some(map) = &source.config_map {
            keyed(named, ("configmap", Some(&map.name)), map.optional, keys(map.items.as_ref()));
        }
    }
}

fn of_container(named: &mut Named, container: &Container) {
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        if let Some(secret) = &source.secret_key_ref {
            keyed(named, ("secret", Some(&secret.name)), secret.optional, [&secret.key]);
        }
        if let Some(map) = &source.config_map_key_ref {
            keyed(named, ("configmap", Some(&map.name)), map.optional, [&map.key]);
        }
    }
    for source in container.env_from.iter().flatten() {
        if let Some(secret) = &source.secret_ref {
            keyed(named, ("secret", Some(&secret.name)), secret.optional, []);
        }
        if let Some(map) = &source.config_map_ref {
            keyed(named, ("configmap", Some(&map.name)), map.optional, []);
        }
    }
}

/// Returns the claim that a custom resource makes on the workload of this kind and name, if it makes one.
#[must_use]
pub fn claim(kind: &str, name: &str, object: &Value, workload: (&str, &str)) -> Option<Claim> {
    let spec = &object["spec"];
    let target = match kind {
        "Rollout" => &spec["workloadRef"],
        _ => &spec["targetRef"],
    };
    let is_ours = target["kind"] == workload.0 && target["name"] == workload.1;
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

    fn shown(spec: &PodSpec) -> Vec<String> {
        let show = |((kind, name), needed): (&(&str, String), &Needed)| {
            let keys: String = needed.keys.iter().map(|key| format!(" {key}")).collect();
            let pulls = if needed.only_pulls { " (pulls)" } else { "" };
            format!("{kind}/{name}{keys}{pulls}")
        };
        named(spec).iter().map(show).collect()
    }

    #[test]
    fn everything_that_is_named_and_not_optional_is_needed() {
        let spec: PodSpec = mk(json!({
            "serviceAccountName": "app", "priorityClassName": "high", "runtimeClassName": "gvisor",
            "volumes": [
                { "name": "a", "secret": { "secretName": "tls", "items": [{ "key": "crt", "path": "c" }] } },
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
        assert_eq!(
            shown(&spec),
            [
                "configmap/ca",
                "configmap/config a",
                "persistentvolumeclaim/data",
                "priorityclass/high",
                "runtimeclass/gvisor",
                "secret/db",
                "secret/tls crt",
                "serviceaccount/app",
            ]
        );
    }

    #[test]
    fn keys_of_one_object_are_gathered_and_those_that_may_be_missing_are_not() {
        let spec: PodSpec = mk(json!({
            "volumes": [
                { "name": "a", "secret": { "secretName": "db", "items": [{ "key": "ca", "path": "ca" }] } },
                { "name": "b", "configMap": {
                    "name": "maybe", "optional": true, "items": [{ "key": "x", "path": "x" }] } },
                { "name": "c", "projected": { "sources": [
                    { "secret": { "name": "db", "items": [{ "key": "crt", "path": "crt" }] } },
                ] } },
            ],
            "containers": [{ "name": "main", "env": [
                { "name": "A", "valueFrom": { "secretKeyRef": { "name": "db", "key": "url" } } },
                { "name": "B", "valueFrom": { "secretKeyRef": { "name": "db", "key": "no", "optional": true } } },
            ] }],
        }));
        assert_eq!(shown(&spec), ["secret/db ca crt url"]);
    }

    #[test]
    fn pull_secret_is_not_what_a_pod_cannot_start_without_unless_it_is_used_otherwise_too() {
        let spec: PodSpec = mk(json!({
            "imagePullSecrets": [{ "name": "hub" }, { "name": "both" }],
            "containers": [{ "name": "main", "envFrom": [{ "secretRef": { "name": "both" } }] }],
        }));
        assert_eq!(shown(&spec), ["secret/both", "secret/hub (pulls)"]);
    }

    #[test]
    fn template_that_names_nothing_needs_nothing() {
        let spec: PodSpec =
            mk(json!({ "serviceAccountName": "default", "containers": [{ "name": "main" }] }));
        assert!(named(&spec).is_empty());
    }

    #[test]
    fn custom_resource_claims_the_workload_that_it_names() {
        let canary = json!({ "spec": { "targetRef": { "kind": "Deployment", "name": "app" } } });
        assert!(claim("Canary", "c", &canary, ("Deployment", "app")).is_some());
        assert_eq!(claim("Canary", "c", &canary, ("Deployment", "other")), None);
        assert_eq!(claim("Canary", "c", &canary, ("DaemonSet", "app")), None);
        let rollout = json!({ "spec": { "workloadRef": { "kind": "Deployment", "name": "app" } } });
        assert!(claim("Rollout", "r", &rollout, ("Deployment", "app")).is_some());
        let scaled = json!({ "spec": { "targetRef": { "kind": "StatefulSet", "name": "app" } } });
        let scaler = claim("VerticalPodAutoscaler", "v", &scaled, ("StatefulSet", "app")).unwrap();
        assert_eq!(scaler.detail, "updateMode: Auto");
    }
}
