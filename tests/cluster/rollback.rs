//! A rollout that fails under load, by every way: the old digest comes back and no request is lost.

use futures::future::join_all;
use serde_json::json;

use crate::world::{Shape, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the lab"]
async fn every_way_goes_back_to_the_old_digest_without_a_lost_request() {
    let world = World::connect().await;
    join_all(["auto", "detached", "rolling", "none"].map(|drain| goes_back(world.clone(), drain))).await;
}

async fn goes_back(world: World, drain: &str) {
    let old = world.publish("11.0.5", &[]).await;
    let bad = world.publish("11.0.6", &[("NEVER_READY", "1")]).await;
    let careful = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 2, "maxUnavailable": 0 } });
    let app = world.deploy(Shape { replicas: 2, strategy: careful, ..Shape::dies_at_once(&old) }).await;
    let settings = app.view().await.settings();
    let load = app.load(60.0).await;
    let ended = app.put(json!({ "reference": bad, "wait_until_ready": 8, "drain": drain })).await;
    let report = load.stop().await;
    let log = format!("drain {drain}:\n{}", ended.stderr);
    assert!(!ended.success, "{log}");
    assert!(ended.stderr.contains("rolled back"), "{log}");
    let view = app.until_after("only the old pods are left", |view| view.pods.len() == 2, &log).await;
    view.assert_settled_after(&old, 2, &settings, &log);
    let lane = &report.lanes[0];
    assert!(lane.requests > 300, "{} requests are too few to show anything\n{log}", lane.requests);
    assert_eq!(lane.lost, 0, "{:?}\n{log}", lane.losses);
    app.remove().await;
}
