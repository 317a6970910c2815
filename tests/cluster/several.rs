//! Several workloads in one put: so many at a time, and none begun after a failure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::{App, Ended, PATIENCE, Put, ROLLOUT, Shape, World};

const NAMES: [&str; 3] = ["one", "three", "two"];

/// Adds Deployments of one pod each to the application's namespace.
async fn deploy(app: &App, shape: &Shape<'_>) {
    let apply = PatchParams::apply("test").force();
    for name in NAMES {
        let labels = json!({ "app": name });
        let mut object = shape.deployment();
        object["apiVersion"] = "apps/v1".into();
        object["kind"] = "Deployment".into();
        object["metadata"] = json!({ "name": name, "labels": { "team": "shop" } });
        object["spec"]["selector"] = json!({ "matchLabels": labels });
        object["spec"]["template"]["metadata"]["labels"] = labels;
        app.api::<Deployment>().patch(name, &apply, &Patch::Apply(&object)).await.unwrap();
    }
    let started = std::time::Instant::now();
    while !all(app)
        .await
        .iter()
        .all(|one| one.status.as_ref().and_then(|status| status.available_replicas) == Some(1))
    {
        assert!(started.elapsed() < PATIENCE, "they never serve");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn all(app: &App) -> Vec<Deployment> {
    app.api().list(&ListParams::default().labels("team=shop")).await.unwrap().items
}

async fn images(app: &App) -> BTreeMap<String, String> {
    let image = |one: &Deployment| {
        one.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].image.clone().unwrap()
    };
    all(app).await.iter().map(|one| (one.name_any(), image(one))).collect()
}

async fn put(app: &App, source: Value, params: Value) -> Ended {
    let mut request = app.request(params);
    let all = request["source"].as_object_mut().unwrap();
    all.remove("deployment");
    all.extend(source.as_object().unwrap().clone());
    Put::start(ROLLOUT, "out", request).await.end().await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn several_are_rolled_together_and_none_is_begun_after_the_first_that_fails() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let shape = Shape { replicas: 1, service: "ClusterIP", ..Shape::dies_at_once(&old) };
    let app = world.deploy(Shape { replicas: 0, ..shape.clone() }).await;
    deploy(&app, &shape).await;

    let together = json!({ "reference": new, "drain_wait": 2, "max_parallel": 3 });
    let ended = put(&app, json!({ "selector": "team=shop" }), together).await;
    assert!(ended.success, "{}", ended.stderr);
    assert_eq!(images(&app).await, NAMES.map(|name| (name.to_owned(), new.clone())).into());
    // All of them are written before the first is done.
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let written = lines.iter().rposition(|line| line.contains("image written")).unwrap();
    let done = lines.iter().position(|line| line.contains("done: ")).unwrap();
    assert!(written < done, "{}", ended.stderr);

    let crashes = world.publish("11.0.7", &[("CRASH_AFTER", "0")]).await;
    let ended =
        put(&app, json!({ "deployment": ["two", "one", "three"] }), json!({ "reference": crashes })).await;
    assert!(!ended.success, "{}", ended.stderr);
    for words in ["1 of 3 workloads failed", "not begun: one, three"] {
        assert!(ended.stderr.contains(words), "lacks `{words}`:\n{}", ended.stderr);
    }
    assert_eq!(images(&app).await, NAMES.map(|name| (name.to_owned(), new.clone())).into());
    let writes = ended.stderr.lines().filter(|line| line.contains("image written")).count();
    assert_eq!(writes, 1, "{}", ended.stderr);
    app.remove().await;
}
