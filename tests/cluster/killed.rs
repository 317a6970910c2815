//! A rollout that is killed at any step, and the same put again.

use serde_json::json;

use crate::world::{Shape, World};

/// What the log says when a step has just been done, in order.
const STEPS: [&str; 6] = [
    "drain detached",
    "image written",
    "lets go of the old ones",
    "own settings are back",
    "taken out of their Services",
    "old pods end",
];

#[tokio::test]
#[ignore = "needs the lab"]
async fn killed_at_any_step_the_next_run_ends_where_the_first_would_have() {
    let world = World::connect().await;
    let mut old = world.publish("11.0.5", &[]).await;
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let settings = app.view().await.settings();
    let load = app.load(100.0).await;
    for (index, step) in STEPS.iter().enumerate() {
        let new = world.publish(&format!("11.0.{}", index + 6), &[]).await;
        assert_ne!(old, new);
        let params = json!({ "reference": new, "wait_until_ready": 90 });
        let mut put = app.start_put(params.clone()).await;
        assert!(put.says(step).await, "never said `{step}`: {}", put.end().await.stderr);
        let said = put.kill().await;
        let ended = app.put(params).await;
        assert!(ended.success, "after a kill at `{step}`:\n{}\nthen:\n{}", said.join("\n"), ended.stderr);
        app.view().await.assert_settled(&new, 3, &settings);
        old = new;
    }
    let report = load.stop().await;
    assert_eq!(report.lanes[0].lost, 0, "{:?}", report.lanes[0].losses);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn sigterm_ends_it_within_ten_seconds_and_says_what_is_left() {
    let world = World::connect().await;
    let old = world.publish("11.0.5", &[]).await;
    let new = world.publish("11.0.6", &[("NEVER_READY", "1")]).await;
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let settings = app.view().await.settings();
    let mut put = app.start_put(json!({ "reference": new, "wait_until_ready": 600 })).await;
    assert!(put.says("image written").await);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), put.terminate()).await;
    let ended = ended.expect("Concourse kills after ten seconds");
    assert!(!ended.success);
    assert!(ended.stderr.contains("interrupted: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: run the same put again"), "{}", ended.stderr);
    // Another image supersedes what was left, and the saved settings come back with it.
    let better = world.publish("11.0.7", &[]).await;
    let ended = app.put(json!({ "reference": better, "wait_until_ready": 90 })).await;
    assert!(ended.success, "{}", ended.stderr);
    app.view().await.assert_settled(&better, 3, &settings);
    app.remove().await;
}
