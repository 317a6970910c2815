//! The container cannot be made or started.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use rollway_lab::image::SampleApp;
use serde_json::json;

use super::roll::{Scene, Seen, newer, usual};
use crate::world::{Shape, World};

pub(super) async fn command(world: World) -> Seen {
    let scene = Scene::usual(&world).await;
    let app = SampleApp { entrypoint: vec!["/app/not-there".to_owned()], ..newer() };
    let seen = scene.roll(&world.publish_app(&app).await, &[]).await;
    scene.goes_on_as_before(seen).await
}

/// Pods that may not run as root, and an image that would.
async fn as_root(world: &World) -> (Scene, String) {
    let old = world.publish("11.0.5", &[]).await;
    let pod = json!({ "securityContext": { "runAsNonRoot": true } });
    let scene = Scene::set(world, Shape { pod, ..usual(&old) }).await;
    let new = world.publish_app(&SampleApp { user: String::new(), ..newer() }).await;
    (scene, new)
}

pub(super) async fn root_is_blocked(world: World) -> Seen {
    let (scene, new) = as_root(&world).await;
    let seen = scene.roll(&new, &[]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn root(world: World) -> Seen {
    let (scene, new) = as_root(&world).await;
    let seen = scene.roll(&new, &["--allow", "I107"]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn config_key(world: World) -> Seen {
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let key = json!({ "configMapKeyRef": { "name": "app", "key": "greeting" } });
    let container = json!({ "env": [{ "name": "GREETING", "valueFrom": key }] });
    let shape = Shape {
        container,
        beside: &[("v1", "ConfigMap", r#"{"data":{"greeting":"hello"}}"#)],
        ..usual(&old)
    };
    let scene = Scene::set(&world, shape).await;
    let gone = Patch::Merge(json!({ "data": { "greeting": null } }));
    scene.app.api::<ConfigMap>().patch("app", &PatchParams::default(), &gone).await.unwrap();
    let seen = scene.roll(&new, &["--allow", "C607"]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn secret_volume(world: World) -> Seen {
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let pod = json!({ "volumes": [{ "name": "keys", "secret": { "secretName": "app" } }] });
    let container = json!({ "volumeMounts": [{ "name": "keys", "mountPath": "/keys" }] });
    let beside = &[("v1", "Secret", r#"{"stringData":{"key":"value"}}"#)];
    let scene = Scene::set(&world, Shape { pod, container, beside, ..usual(&old) }).await;
    scene.app.api::<Secret>().delete("app", &DeleteParams::default()).await.unwrap();
    let seen = scene.roll(&new, &["--allow", "C607"]).await;
    scene.goes_on_as_before(seen).await
}
