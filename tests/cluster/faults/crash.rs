//! The application ends, never gets ready, or only takes its time.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::roll::{Scene, Seen, usual};
use crate::world::{Shape, World};

async fn with_switch(world: &World, key: &str, value: &str) -> (Scene, String) {
    (Scene::usual(world).await, world.publish("11.0.6", &[(key, value)]).await)
}

pub(super) async fn at_once(world: World) -> Seen {
    let (scene, new) = with_switch(&world, "CRASH_AFTER", "0").await;
    let seen = scene.roll(&new, &[]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn after_a_while(world: World) -> Seen {
    let (scene, new) = with_switch(&world, "CRASH_AFTER", "5").await;
    // The old pods live on for longer than the new ones.
    let seen = scene.roll(&new, &["--drain-wait", "30"]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn memory(world: World) -> Seen {
    let old = world.publish("11.0.5", &[]).await;
    let new = world.publish("11.0.6", &[("ALLOCATE", "200")]).await;
    let container = json!({ "resources": { "limits": { "memory": "64Mi" } } });
    let scene = Scene::set(&world, Shape { container, ..usual(&old) }).await;
    let seen = scene.roll(&new, &[]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn init(world: World) -> Seen {
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let settings = json!([{ "configMapRef": { "name": "app" } }]);
    let pod = json!({ "initContainers": [{ "name": "migrate", "image": old, "envFrom": settings }] });
    let job = r#"{"data":{"CRASH_AFTER":"0","EXIT_CODE":"0"}}"#;
    let scene = Scene::set(&world, Shape { pod, beside: &[("v1", "ConfigMap", job)], ..usual(&old) }).await;
    let fails = Patch::Merge(json!({ "data": { "EXIT_CODE": "3" } }));
    scene.app.api::<ConfigMap>().patch("app", &PatchParams::default(), &fails).await.unwrap();
    let seen = scene.roll(&new, &["--container", "app"]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn never_ready(world: World) -> Seen {
    let (scene, new) = with_switch(&world, "NEVER_READY", "1").await;
    let seen = scene.roll(&new, &[]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn slow(world: World) -> Seen {
    let (scene, new) = with_switch(&world, "START_DELAY", "12").await;
    let seen = scene.roll(&new, &[]).await;
    scene.settles_on(&new, seen).await
}
