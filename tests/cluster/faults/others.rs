//! Somebody else acts on the Deployment while it rolls.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::roll::{Roll, Scene, Seen};
use crate::world::World;

/// Longer than anybody here needs to step in, on any machine; what steps in ends the wait for it.
const FOR_LONG: &str = "40";

/// A rollout whose pods take so many seconds to start, with its image written.
async fn under_way(world: &World, start_delay: &str, arguments: &[&str]) -> (Scene, Roll, String) {
    let scene = Scene::usual(world).await;
    let new = world.publish("11.0.6", &[("START_DELAY", start_delay)]).await;
    let mut roll = scene.start(&new, arguments);
    roll.is_written().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    (scene, roll, new)
}

pub(super) async fn paused(world: World) -> Seen {
    let (scene, roll, _) = under_way(&world, FOR_LONG, &["--wait", "10"]).await;
    scene.app.change(json!({ "spec": { "paused": true } })).await;
    let seen = roll.end().await;
    scene.app.remove().await;
    seen
}

pub(super) async fn superseded(world: World) -> Seen {
    let newest = world.publish("11.0.7", &[]).await;
    let (scene, roll, _) = under_way(&world, FOR_LONG, &[]).await;
    let (seen, newer) = tokio::join!(roll.end(), scene.roll(&newest, &[]));
    let both = format!("{}\nthe newer one:\n{}", seen.log, newer.log);
    assert_eq!(newer.outcome, "rolled", "{both}");
    scene.settles_on(&newest, Seen { log: both, ..seen }).await
}

pub(super) async fn reverted(world: World) -> Seen {
    let (scene, roll, _) = under_way(&world, FOR_LONG, &[]).await;
    let back = json!({ "spec": { "template": { "spec": {
        "containers": [{ "name": "app", "image": scene.old }],
    } } } });
    let owner = PatchParams { field_manager: Some("argocd-controller".to_owned()), ..PatchParams::default() };
    scene.app.api::<Deployment>().patch("app", &owner, &Patch::Strategic(back)).await.unwrap();
    let seen = roll.end().await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn made_again(world: World) -> Seen {
    let (scene, roll, _) = under_way(&world, FOR_LONG, &[]).await;
    let api = scene.app.api::<Deployment>();
    let mut again = api.get("app").await.unwrap();
    again.metadata = kube::api::ObjectMeta { name: Some("app".to_owned()), ..Default::default() };
    again.status = None;
    api.delete("app", &DeleteParams::background()).await.unwrap();
    while api.get_opt("app").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    api.create(&PostParams::default(), &again).await.unwrap();
    let seen = roll.end().await;
    scene.app.remove().await;
    seen
}

pub(super) async fn scaled(world: World) -> Seen {
    let (mut scene, roll, new) = under_way(&world, "8", &[]).await;
    let three = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    let autoscaler =
        PatchParams { field_manager: Some("kube-controller-manager".to_owned()), ..PatchParams::default() };
    scene.app.api::<Deployment>().patch_scale("app", &autoscaler, &three).await.unwrap();
    let seen = roll.end().await;
    scene.has_replicas(3);
    scene.settles_on(&new, seen).await
}
