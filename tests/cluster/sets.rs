//! StatefulSets and DaemonSets, really rolled: under load, and back again when the new pods crash.

use std::time::Instant;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::world::{App, Ended, PATIENCE, Put, ROLLOUT, Shape, World};

/// Makes a namespace whose only pods are those of a set called `app`, behind the Service `app`.
async fn deploy(world: &World, image: &str, kind: &str, replicas: usize) -> App {
    let empty = Shape { replicas: 0, ..Shape::dies_at_once(image) };
    let app = world.deploy(empty.clone()).await;
    let mut body = empty.deployment();
    let spec = body["spec"].as_object_mut().unwrap();
    spec.remove("strategy");
    spec.remove("replicas");
    let labels = json!({ "app": "app", "set": "yes" });
    spec.insert("selector".to_owned(), json!({ "matchLabels": labels }));
    spec["template"]["metadata"]["labels"] = labels;
    if kind == "StatefulSet" {
        spec.insert("replicas".to_owned(), replicas.into());
        spec.insert("serviceName".to_owned(), "app".into());
    }
    app.apply("apps/v1", kind, &body).await;
    until(&app, "all its pods are ready", |pods| pods.len() == replicas && pods.iter().all(is_ready)).await;
    app
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn runs(pod: &Pod, image: &str) -> bool {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image)
}

async fn until(app: &App, what: &str, wanted: impl Fn(&[Pod]) -> bool) -> Vec<Pod> {
    let started = Instant::now();
    loop {
        let pods = app.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        if wanted(&pods) {
            return pods;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {pods:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn put(app: &App, key: &str, params: Value) -> Ended {
    let mut request = app.request(params);
    let source = request["source"].as_object_mut().unwrap();
    source.remove("deployment");
    source.insert(key.to_owned(), "app".into());
    Put::start(ROLLOUT, "out", request).await.end().await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_stateful_set_is_rolled_pod_by_pod_and_says_what_that_costs() {
    let world = World::connect().await;
    let old = world.publish("11.0.5", &[]).await;
    let new = world.publish("11.0.6", &[]).await;
    let app = deploy(&world, &old, "StatefulSet", 3).await;
    let load = app.load(50.0).await;
    let ended = put(&app, "statefulset", json!({ "reference": new })).await;
    let report = load.stop().await;
    assert!(ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("3 in turn"), "{}", ended.stderr);
    let pods = until(&app, "only new pods", |pods| pods.iter().all(|pod| runs(pod, &new))).await;
    assert_eq!(pods.len(), 3);
    let set = app.api::<StatefulSet>().get("app").await.unwrap();
    let status = set.status.unwrap();
    assert_eq!(status.current_revision, status.update_revision);
    assert_eq!(ended.version()["revision"], "2", "{}", ended.stderr);
    // Two of three pods serve at any time; only connections to the one that dies may be lost, for as long
    // as a busy node still sends them there.
    assert!(report.lanes[0].lost * 3 < report.lanes[0].requests, "{:?}", report.lanes[0].losses);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_stateful_set_whose_new_pod_crashes_gets_out_of_the_trap_of_its_order() {
    let world = World::connect().await;
    let old = world.publish("11.0.5", &[]).await;
    let new = world.publish("11.0.6", &[("CRASH_AFTER", "0")]).await;
    let app = deploy(&world, &old, "StatefulSet", 3).await;
    let before = until(&app, "at rest", |pods| pods.len() == 3).await;
    let kept: Vec<String> =
        before.iter().filter(|pod| pod.name_any() != "app-2").filter_map(Pod::uid).collect();
    let ended = put(&app, "statefulset", json!({ "reference": new, "wait_until_ready": 60 })).await;
    assert!(!ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("rolled back: 3 pods on"), "{}", ended.stderr);
    let is_back = |pods: &[Pod]| pods.len() == 3 && pods.iter().all(|pod| runs(pod, &old) && is_ready(pod));
    let after = until(&app, "all pods run the old image again", is_back).await;
    assert!(
        kept.iter().all(|uid| after.iter().any(|pod| pod.uid().as_ref() == Some(uid))),
        "others were touched"
    );
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_daemon_set_is_rolled_without_a_gap_on_its_node() {
    let world = World::connect().await;
    let old = world.publish("11.0.5", &[]).await;
    let new = world.publish("11.0.6", &[]).await;
    let app = deploy(&world, &old, "DaemonSet", 1).await;
    let strategy = app.api::<DaemonSet>().get("app").await.unwrap().spec.unwrap().update_strategy;
    let ended = put(&app, "daemonset", json!({ "reference": new })).await;
    assert!(ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("each node gets its new pod before the old one ends"), "{}", ended.stderr);
    let pods = until(&app, "only the new pod", |pods| pods.len() == 1 && runs(&pods[0], &new)).await;
    assert!(is_ready(&pods[0]));
    let after = app.api::<DaemonSet>().get("app").await.unwrap().spec.unwrap().update_strategy;
    assert_eq!(after, strategy, "its own strategy is back");
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_daemon_set_whose_new_pod_crashes_keeps_the_old_one_throughout() {
    let world = World::connect().await;
    let old = world.publish("11.0.5", &[]).await;
    let new = world.publish("11.0.6", &[("CRASH_AFTER", "0")]).await;
    let app = deploy(&world, &old, "DaemonSet", 1).await;
    let before = until(&app, "at rest", |pods| pods.len() == 1).await;
    let ended = put(&app, "daemonset", json!({ "reference": new, "wait_until_ready": 60 })).await;
    assert!(!ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("rolled back: 1 pod on"), "{}", ended.stderr);
    let after = until(&app, "only the old pod", |pods| pods.len() == 1 && is_ready(&pods[0])).await;
    assert_eq!(after[0].uid(), before[0].uid(), "the pod that served all the time");
    app.remove().await;
}
