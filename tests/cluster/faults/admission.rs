//! The API server does not let new pods in.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::roll::{Scene, Seen};
use crate::world::{PATIENCE, World};

/// A policy for one namespace that denies pods of one image.
struct Policy {
    world: World,
    name: String,
}

impl Policy {
    async fn against(scene: &Scene, image: &str) -> Self {
        let world = scene.app.world.clone();
        let name = scene.app.namespace.clone();
        let policy = json!({
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [
                    { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] },
                ] },
                "validations": [{
                    "expression": format!("!object.spec.containers.exists(c, c.image == '{image}')"),
                    "message": "this image is not signed",
                }],
            },
        });
        let binding = json!({
            "metadata": { "name": name },
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": {
                    "matchLabels": { "kubernetes.io/metadata.name": name },
                } },
            },
        });
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client.clone());
        policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client.clone());
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        until_refused(scene, image).await;
        Self { world, name }
    }

    async fn remove(self) {
        let at_once = DeleteParams::default();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.world.client.clone());
        policies.delete(&self.name, &at_once).await.unwrap();
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.world.client.clone());
        bindings.delete(&self.name, &at_once).await.unwrap();
    }
}

/// The API server hears of what it is to refuse a moment after it is written.
async fn until_refused(scene: &Scene, image: &str) {
    let pod = json!({
        "metadata": { "generateName": "trial-" },
        "spec": { "containers": [{ "name": "app", "image": image }] },
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let trial = PostParams { dry_run: true, ..PostParams::default() };
    let started = std::time::Instant::now();
    while scene.app.api::<Pod>().create(&trial, &pod).await.is_ok() {
        assert!(started.elapsed() < PATIENCE, "pods of {image} are never refused");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn unsigned(world: &World, arguments: &[&str]) -> Seen {
    let scene = Scene::usual(world).await;
    let new = world.publish("11.0.6", &[]).await;
    let policy = Policy::against(&scene, &new).await;
    let seen = scene.roll(&new, arguments).await;
    policy.remove().await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn denied_is_blocked(world: World) -> Seen {
    unsigned(&world, &[]).await
}

pub(super) async fn denied(world: World) -> Seen {
    unsigned(&world, &["--allow", "C606"]).await
}

pub(super) async fn pod_security(world: World) -> Seen {
    let scene = Scene::usual(&world).await;
    let new = world.publish("11.0.6", &[]).await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let level = |level: Value| {
        Patch::Merge(json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": level } } }))
    };
    let name = &scene.app.namespace;
    namespaces.patch(name, &PatchParams::default(), &level("restricted".into())).await.unwrap();
    until_refused(&scene, &new).await;
    let seen = scene.roll(&new, &["--allow", "C606"]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn webhook_down_then_up(world: World) -> Seen {
    let scene = Scene::usual(&world).await;
    let new = world.publish("11.0.6", &[]).await;
    let name = scene.app.namespace.clone();
    let webhook = json!({
        "metadata": { "name": name },
        "webhooks": [{
            "name": "pods.test.rollway.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 2,
            // Nobody listens there.
            "clientConfig": { "url": "https://127.0.0.1:9/" },
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }],
        }],
    });
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(world.client.clone());
    webhooks.create(&PostParams::default(), &serde_json::from_value(webhook).unwrap()).await.unwrap();
    until_refused(&scene, &new).await;
    let mut roll = scene.start(&new, &["--allow", "C606"]);
    roll.is_written().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    webhooks.delete(&name, &DeleteParams::default()).await.unwrap();
    let seen = roll.end().await;
    scene.settles_on(&new, seen).await
}
