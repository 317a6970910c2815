//! Old pods leave without a lost request, whatever they do on SIGTERM.

use serde_json::json;

use crate::world::{Shape, World};

#[tokio::test]
#[ignore = "needs the lab"]
async fn detached_drain_loses_no_request_of_an_app_that_dies_at_once() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let settings = app.view().await.settings();
    let load = app.load(150.0).await;
    let ended = app.put(json!({ "reference": new, "wait_until_ready": 90 })).await;
    let report = load.stop().await;
    assert!(ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("drain detached"), "{}", ended.stderr);
    app.view().await.assert_settled(&new, 3, &settings);
    let lane = &report.lanes[0];
    assert!(lane.requests > 500, "{} requests are too few to show anything", lane.requests);
    assert_eq!(lane.lost, 0, "{:?}\n{}", lane.losses, ended.stderr);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn pods_with_a_drain_of_their_own_are_rolled_in_place_without_a_loss() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world
        .deploy(Shape { env: &[("ON_SIGTERM", "drain")], pre_stop: Some(10), ..Shape::dies_at_once(&old) })
        .await;
    let settings = app.view().await.settings();
    let load = app.load(100.0).await;
    let ended = app.put(json!({ "reference": new, "wait_until_ready": 90 })).await;
    let report = load.stop().await;
    assert!(ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("drain rolling"), "{}", ended.stderr);
    app.view().await.assert_settled(&new, 3, &settings);
    assert_eq!(report.lanes[0].lost, 0, "{:?}\n{}", report.lanes[0].losses, ended.stderr);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn no_room_for_all_pods_twice_goes_on_as_a_rolling_update_and_says_so() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape { pod_quota: Some(4), ..Shape::dies_at_once(&old) }).await;
    let settings = app.view().await.settings();
    let ended = app.put(json!({ "reference": new, "wait_until_ready": 90 })).await;
    assert!(ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("no room for all new pods"), "{}", ended.stderr);
    app.view().await.assert_settled(&new, 3, &settings);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn replicas_changed_by_somebody_else_meanwhile_are_kept() {
    let world = World::connect().await;
    let (old, new) =
        (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[("START_DELAY", "4")]).await);
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let mut put = app.start_put(json!({ "reference": new, "wait_until_ready": 90 })).await;
    assert!(put.says("image written").await);
    app.change(json!({ "spec": { "replicas": 5 } })).await;
    let ended = put.end().await;
    assert!(ended.success, "{}", ended.stderr);
    let view = app.view().await;
    let mut settings = view.settings();
    settings[3] = 5.into();
    view.assert_settled(&new, 5, &settings);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn already_there_succeeds_at_once_and_touches_nothing() {
    let world = World::connect().await;
    let image = world.publish("11.0.5", &[]).await;
    let app = world.deploy(Shape::dies_at_once(&image)).await;
    // The controller's last word about the rollout that made it; it writes nothing after that.
    let before = app.until("the Deployment is quiet", |view| {
        let status = view.deployment.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        status.available_replicas == Some(3)
            && conditions.iter().any(|it| it.reason.as_deref() == Some("NewReplicaSetAvailable"))
    });
    let before = before.await.deployment.metadata.resource_version;
    let ended = app.put(json!({ "reference": image, "wait_until_ready": 90 })).await;
    assert!(ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("already there"), "{}", ended.stderr);
    assert_eq!(app.view().await.deployment.metadata.resource_version, before);
    assert_eq!(app.check(None).await, [ended.version()]);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_roll_back_to_an_earlier_digest_is_a_new_version() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape { replicas: 1, ..Shape::dies_at_once(&old) }).await;
    let mut versions = app.check(None).await;
    for image in [&new, &old] {
        versions.push(app.put(json!({ "reference": image, "wait_until_ready": 90 })).await.version());
        assert_eq!(app.check(versions.last()).await.last(), versions.last());
    }
    assert_eq!(versions[0]["digest"], versions[2]["digest"]);
    assert_ne!(versions[0], versions[2]);
    app.remove().await;
}
