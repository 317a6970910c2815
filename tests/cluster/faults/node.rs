//! The cluster itself is away for a while.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use rollway_lab::cluster::Lab;

use super::roll::{Roll, Scene, Seen};
use crate::world::{PATIENCE, World};

async fn under_way(world: &World) -> (Scene, Roll, String) {
    let scene = Scene::usual(world).await;
    let new = world.publish("11.0.6", &[("START_DELAY", "4")]).await;
    let mut roll = scene.start(&new, &[]);
    roll.is_written().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    (scene, roll, new)
}

fn lab() -> Lab {
    Lab::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

pub(super) async fn api_restarts(world: World) -> Seen {
    let (scene, roll, new) = under_way(&world).await;
    tokio::task::spawn_blocking(|| lab().restart("kube-apiserver")).await.unwrap().unwrap();
    let seen = roll.end().await;
    scene.settles_on(&new, seen).await
}

/// Lets the kubelet go on, whatever becomes of the test.
struct Frozen;

impl Frozen {
    fn kubelet() -> Self {
        lab().freeze("kubelet").unwrap();
        Self
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = lab().thaw("kubelet");
    }
}

pub(super) async fn hangs(world: World) -> Seen {
    let (scene, roll, new) = under_way(&world).await;
    let frozen = Frozen::kubelet();
    until_ready_is(&world, false).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(frozen);
    until_ready_is(&world, true).await;
    let seen = roll.end().await;
    scene.settles_on(&new, seen).await
}

async fn until_ready_is(world: &World, wanted: bool) {
    let nodes: Api<Node> = Api::all(world.client.clone());
    let started = std::time::Instant::now();
    loop {
        let all = nodes.list(&ListParams::default().labels("!test.rollway.dev/fake")).await.unwrap();
        let conditions = all.items[0].status.clone().unwrap().conditions.unwrap_or_default();
        if conditions.iter().any(|it| it.type_ == "Ready" && (it.status == "True") == wanted) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the node's readiness never is {wanted}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
