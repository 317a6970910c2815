//! There is no room for new pods.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::roll::{Scene, Seen, usual};
use crate::world::{Shape, World};

/// Adds before it removes, and has to.
fn careful() -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } })
}

async fn full(world: &World) -> (Scene, String) {
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let shape = Shape { pod_quota: Some(2), strategy: careful(), ..usual(&old) };
    (Scene::set(world, shape).await, new)
}

pub(super) async fn quota_is_blocked(world: World) -> Seen {
    let (scene, new) = full(&world).await;
    let seen = scene.roll(&new, &[]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn quota(world: World) -> Seen {
    let (scene, new) = full(&world).await;
    let seen = scene.roll(&new, &["--allow", "C605", "--allow", "C606"]).await;
    scene.goes_on_as_before(seen).await
}

/// Pods that want a label which their node has lost since.
pub(super) async fn no_node(world: World) -> Seen {
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let key = "test.rollway.dev/was-here";
    let nodes: Api<Node> = Api::all(world.client.clone());
    let all = nodes.list(&ListParams::default().labels("!test.rollway.dev/fake")).await.unwrap();
    let node = all.items[0].name_any();
    let label = |value: Value| Patch::Merge(json!({ "metadata": { "labels": { key: value } } }));
    nodes.patch(&node, &PatchParams::default(), &label("yes".into())).await.unwrap();
    let pod = json!({ "nodeSelector": { key: "yes" } });
    let scene = Scene::set(&world, Shape { pod, ..usual(&old) }).await;
    nodes.patch(&node, &PatchParams::default(), &label(Value::Null)).await.unwrap();
    let seen = scene.roll(&new, &["--allow", "C608", "--allow", "I103"]).await;
    scene.goes_on_as_before(seen).await
}

async fn apart(world: &World) -> (Scene, String) {
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let term = json!({
        "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "app" } },
    });
    let pod = json!({ "affinity": { "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [term],
    } } });
    let scene = Scene::set(world, Shape { replicas: 1, pod, strategy: careful(), ..usual(&old) }).await;
    (scene, new)
}

pub(super) async fn anti_affinity_is_blocked(world: World) -> Seen {
    let (scene, new) = apart(&world).await;
    let seen = scene.roll(&new, &[]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn anti_affinity(world: World) -> Seen {
    let (scene, new) = apart(&world).await;
    let seen = scene.roll(&new, &["--allow", "C601"]).await;
    scene.goes_on_as_before(seen).await
}
