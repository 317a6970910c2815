//! The false successes of waiting for "all pods ready": here they are failures, or waits.

use serde_json::{Value, json};

use crate::world::{Shape, World};

#[tokio::test]
#[ignore = "needs the lab"]
async fn quota_wall_is_a_failure_that_quotes_the_quota() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape { pod_quota: Some(3), ..Shape::dies_at_once(&old) }).await;
    let settings = app.view().await.settings();
    let ended = app.put(json!({ "reference": new, "wait_until_ready": 20 })).await;
    assert!(!ended.success, "every old pod was ready, and that is not success:\n{}", ended.stderr);
    assert!(ended.stderr.contains("exceeded quota"), "{}", ended.stderr);
    assert_eq!(app.view().await.settings(), settings);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn paused_deployment_is_refused_before_anything_is_written() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    app.change(json!({ "spec": { "paused": true } })).await;
    let before = app.view().await.deployment.spec;
    let ended = app.put(json!({ "reference": new, "wait_until_ready": 20 })).await;
    assert!(!ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("is paused"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: kubectl"), "{}", ended.stderr);
    assert_eq!(app.view().await.deployment.spec, before);
    app.remove().await;
}

/// Before the first and between any two batches all pods that are not ending are ready.
#[tokio::test]
#[ignore = "needs the lab"]
async fn success_is_not_reported_before_or_between_batches() {
    let world = World::connect().await;
    let old = world.publish("11.0.5", &[]).await;
    let new = world.publish("11.0.6", &[("START_DELAY", "3")]).await;
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let cursor: Vec<Value> = app.check(None).await;
    let mut put =
        app.start_put(json!({ "reference": new, "drain": "rolling", "wait_until_ready": 90 })).await;
    app.until("old and new pods run side by side", |view| {
        let new_ones = view.images().values().filter(|image| **image == new).count();
        new_ones > 0 && new_ones < view.images().len()
    })
    .await;
    assert!(
        app.check(cursor.last()).await.iter().all(|version| version == &cursor[0]),
        "nothing new while pods differ"
    );
    assert!(put.is_running(), "it must not have ended while pods differ");
    let ended = put.end().await;
    assert!(ended.success, "{}", ended.stderr);
    let images = app.view().await.images();
    assert!(images.len() == 3 && images.values().all(|image| *image == new), "{images:#?}");
    app.remove().await;
}
