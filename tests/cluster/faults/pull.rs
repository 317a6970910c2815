//! The image cannot be had, or not at once.

use std::time::Duration;

use rollway_lab::image::{SampleApp, sample_app};

use super::roll::{Scene, Seen, newer, usual};
use crate::proxy::{Line, Proxy};
use crate::world::World;

/// Returns a reference of the same repository that nothing is behind.
fn absent_from(old: &str) -> String {
    let (repository, _) = old.split_once('@').unwrap();
    format!("{repository}@sha256:{}", "0".repeat(64))
}

pub(super) async fn absent_is_blocked(world: World) -> Seen {
    let scene = Scene::usual(&world).await;
    let seen = scene.roll(&absent_from(&scene.old), &[]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn absent(world: World) -> Seen {
    let scene = Scene::usual(&world).await;
    let seen = scene.roll(&absent_from(&scene.old), &["--allow", "I101"]).await;
    scene.goes_on_as_before(seen).await
}

/// A registry of its own for one scene, that can be cut off.
async fn behind_a_proxy(world: &World) -> (Proxy, Scene, String) {
    let proxy = Proxy::start(world.registry.parse().unwrap()).await;
    let through = |image: String| image.replace(&world.registry, &format!("127.0.0.1:{}", proxy.port));
    let old = through(world.publish("11.0.5", &[]).await);
    let new = through(world.publish("11.0.6", &[]).await);
    let scene = Scene::set(world, usual(&old)).await;
    (proxy, scene, new)
}

pub(super) async fn down_then_back(world: World) -> Seen {
    let (proxy, scene, new) = behind_a_proxy(&world).await;
    proxy.set(Line::Cut);
    let mut roll = scene.start(&new, &[]);
    roll.is_written().await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    proxy.set(Line::Up);
    let seen = roll.end().await;
    scene.settles_on(&new, seen).await
}

pub(super) async fn one_fails(world: World) -> Seen {
    let (proxy, scene, new) = behind_a_proxy(&world).await;
    let mut roll = scene.start(&new, &[]);
    roll.is_written().await;
    let before = proxy.turned_away();
    proxy.set(Line::Cut);
    let started = std::time::Instant::now();
    while proxy.turned_away() == before && started.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.set(Line::Up);
    let seen = roll.end().await;
    scene.settles_on(&new, seen).await
}

pub(super) async fn denied(world: World) -> Seen {
    let (proxy, scene, new) = behind_a_proxy(&world).await;
    proxy.set(Line::Denied);
    let seen = scene.roll(&new, &["--allow", "I102"]).await;
    scene.goes_on_as_before(seen).await
}

async fn for_arm(world: &World) -> String {
    let app = SampleApp { architecture: "arm64".to_owned(), ..newer() };
    // Without an index a runtime takes what it gets, and finds out when it starts it.
    world.push(&sample_app(&app).unwrap().indexed()).await
}

pub(super) async fn platform_is_blocked(world: World) -> Seen {
    let scene = Scene::usual(&world).await;
    let seen = scene.roll(&for_arm(&world).await, &[]).await;
    scene.goes_on_as_before(seen).await
}

pub(super) async fn platform(world: World) -> Seen {
    let scene = Scene::usual(&world).await;
    let seen = scene.roll(&for_arm(&world).await, &["--allow", "I103"]).await;
    scene.goes_on_as_before(seen).await
}
