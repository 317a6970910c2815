//! New pods that do not do: what is said, and that the old ones serve on.

use std::collections::BTreeSet;

use kube::ResourceExt;
use serde_json::json;

use crate::world::{Shape, View, World};

fn uids(view: &View) -> BTreeSet<String> {
    view.pods.iter().filter_map(ResourceExt::uid).collect()
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn pods_that_never_get_ready_are_named_and_the_old_ones_stay() {
    let world = World::connect().await;
    let old = world.publish("11.0.5", &[]).await;
    let new = world.publish("11.0.6", &[("NEVER_READY", "1")]).await;
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let before = app.view().await;
    let load = app.load(50.0).await;
    let ended = app.put(json!({ "reference": new, "wait_until_ready": 10 })).await;
    let report = load.stop().await;
    assert!(!ended.success);
    for words in
        ["0 of 3 new pods ready", "within 10 s", "pod app-", "readiness probe", "rolled back: 3 pods on"]
    {
        assert!(ended.stderr.contains(words), "lacks `{words}`:\n{}", ended.stderr);
    }
    let after = app.until("only the old pods are left", |view| view.pods.len() == 3).await;
    after.assert_settled(&old, 3, &before.settings());
    assert_eq!(uids(&after), uids(&before), "the pods are the same ones");
    assert_eq!(report.lanes[0].lost, 0, "{:?}", report.lanes[0].losses);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_crash_before_the_old_pods_end_brings_back_the_very_same_pods() {
    let world = World::connect().await;
    let old = world.publish("11.0.5", &[]).await;
    // Ready at once, detached on any machine before it ends, and gone long before a drain of 60 s is over.
    let new = world.publish("11.0.6", &[("CRASH_AFTER", "20")]).await;
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let before = app.view().await;
    let ended = app.put(json!({ "reference": new, "wait_until_ready": 90, "drain_wait": 60 })).await;
    assert!(!ended.success, "{}", ended.stderr);
    for words in ["taken out of their Services", "put back into their Services", "rolled back: 3 pods on"] {
        assert!(ended.stderr.contains(words), "lacks `{words}`:\n{}", ended.stderr);
    }
    assert!(ended.stderr.contains("exit code 1"), "{}", ended.stderr);
    let after = app.until("only the old pods are left", |view| view.pods.len() == 3).await;
    after.assert_settled(&old, 3, &before.settings());
    assert_eq!(uids(&after), uids(&before), "re-adopted, not re-created");
    app.remove().await;
}
