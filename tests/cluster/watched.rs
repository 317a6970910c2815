//! What watches a rollout, on real pods: a canary and its checks, a probe, and what keeps it from starting.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::jiff;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::prometheus::{FIRING, Prometheus};
use crate::world::{App, Ended, PATIENCE, Shape, View, World};

fn uids(view: &View) -> BTreeSet<String> {
    view.pods.iter().filter_map(ResourceExt::uid).collect()
}

/// Returns what a probe asks, once the node sends it on.
async fn url(app: &App) -> String {
    let address = app.address().await;
    let started = std::time::Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "{address} takes no connection within {PATIENCE:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    format!("http://{address}/")
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_canary_that_holds_is_followed_by_all_other_pods() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let before = app.view().await;
    let prometheus = Prometheus::start(&app).await;
    let up = json!({ "url": prometheus.url, "query": "up{job='app'}", "min": 1 });
    let mut put = app
        .start_put(json!({
            "reference": new, "drain_wait": 5, "probe": { "url": url(&app).await, "rps": 20, "lanes": ["fresh"] },
            "canary": { "pods": "30%", "hold": "4s", "checks": ["restarts", "probe", { "prometheus": up }] },
        }))
        .await;
    assert!(put.says("canary: 1 of 3 pods serve and are watched").await, "{}", put.end().await.stderr);
    let meanwhile = app.view().await;
    assert!(uids(&meanwhile).is_superset(&uids(&before)), "{meanwhile:#?}");
    assert_eq!((meanwhile.pods.len(), meanwhile.ready()), (4, 4), "{meanwhile:#?}");
    assert!(put.says("canary: everything held").await, "{}", put.end().await.stderr);
    let ended = put.end().await;
    assert!(ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("probe: 0 of "), "{}", ended.stderr);
    app.view().await.assert_settled(&new, 3, &before.settings());
    app.remove().await;
}

/// A new image and params with a canary that cannot hold, and why.
struct Bad {
    image: String,
    params: Value,
    words: &'static [&'static str],
}

impl Bad {
    /// Rolls to it, and asserts that no old pod was touched.
    async fn goes_back(self, app: App) {
        let before = app.view().await;
        let old = before.images().into_values().next().unwrap();
        let mut params = json!({ "reference": self.image, "wait_until_ready": 60, "drain_wait": 2 });
        params.as_object_mut().unwrap().extend(self.params.as_object().unwrap().clone());
        let log = app.put(params).await;
        assert!(!log.success, "{}", log.stderr);
        for words in
            ["canary: 1 of 2 pods serve and are watched", "rolled back: 2 pods on"].iter().chain(self.words)
        {
            assert!(log.stderr.contains(words), "lacks `{words}`:\n{}", log.stderr);
        }
        let is_alone = |view: &View| view.pods.len() == 2;
        let after = app.until_after("only the old pods are left", is_alone, &log.stderr).await;
        after.assert_settled_after(&old, 2, &before.settings(), &log.stderr);
        assert_eq!(uids(&after), uids(&before), "the pods are the same ones:\n{}", log.stderr);
        app.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the lab"]
async fn a_canary_that_does_not_hold_goes_back_before_any_old_pod_is_touched() {
    let world = World::connect().await;
    let (old, good) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let shape = Shape { replicas: 2, ..Shape::dies_at_once(&old) };
    let apps = join_all((0..4).map(|_| world.deploy(shape.clone()))).await;
    let [crashing, erring, above, blind] = apps.try_into().unwrap_or_else(|_| panic!("there are four"));
    let prometheus = Prometheus::start(&above).await;
    let asks = |query: &str, hold: u32| {
        let check = json!({ "prometheus": { "url": prometheus.url, "query": query, "max": 0.1 } });
        json!({ "canary": { "hold": hold, "checks": [check] } })
    };
    let probe = json!({ "url": url(&erring).await, "rps": 20 });
    join_all([
        // Ready at once, and gone while it is watched; a canary goes back whatever `on_failure` says.
        Bad {
            image: world.publish("11.0.6", &[("CRASH_AFTER", "6")]).await,
            params: json!({ "canary": { "hold": "60s", "checks": ["restarts"] }, "on_failure": "leave" }),
            words: &["while the canary was watched"],
        }
        .goes_back(crashing),
        // Healthy, and every page is an error.
        Bad {
            image: world.publish("11.0.6", &[("FAIL_REQUESTS", "1")]).await,
            params: json!({ "probe": probe, "canary": { "hold": "60s" } }),
            words: &["requests failed while the canary was watched", "the server answered with an error"],
        }
        .goes_back(erring),
        Bad {
            image: good.clone(),
            params: asks("vector(0.5)", 60),
            words: &["`vector(0.5)` is 0.5, which is above 0.1"],
        }
        .goes_back(above),
        Bad {
            image: good,
            params: asks("absent_here", 2),
            words: &["`absent_here` has no value at the end of the canary"],
        }
        .goes_back(blind),
    ])
    .await;
}

/// Whether a lost request is told with the pod that ended meanwhile.
fn tells_what_ended(ended: &Ended) -> bool {
    let mut lost = ended.stderr.lines().filter(|line| line.contains(" requests failed "));
    lost.any(|line| [" ended", "during the drain of "].iter().any(|words| line.contains(words)))
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn requests_that_a_rolling_update_loses_are_told_with_the_pod_that_ended() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape::dies_at_once(&old)).await;
    let settings = app.view().await.settings();
    let url = url(&app).await;

    // The way that loses none comes first: for two minutes the node sends a connection from a port that
    // was used before to the pod that it led to, which may be gone. A kept connection ends with its pod.
    let probe = json!({ "url": url, "rps": 50, "lanes": ["fresh"] });
    let ended = app.put(json!({ "reference": new, "drain": "detached", "probe": probe })).await;
    assert!(ended.success, "{}", ended.stderr);
    assert!(ended.stderr.contains("probe: 0 of "), "{}", ended.stderr);

    // What loses requests is a race, so it may take more than one rollout to lose any.
    let mut rolled: Vec<(&String, Ended)> = Vec::new();
    for image in [&old, &new, &old, &new] {
        let probe = json!({ "url": url, "rps": 200, "lanes": ["fresh", "pooled"], "fail": false });
        let ended = app.put(json!({ "reference": image, "drain": "rolling", "probe": probe })).await;
        assert!(ended.success, "{}", ended.stderr);
        rolled.push((image, ended));
        if rolled.last().is_some_and(|(_, ended)| tells_what_ended(ended)) {
            break;
        }
    }
    let (image, last) = rolled.pop().unwrap();
    assert!(tells_what_ended(&last), "no lost request is told with what ended:\n{}", last.stderr);
    app.view().await.assert_settled(image, 3, &settings);
    app.remove().await;
}

/// Asserts that it was kept from starting, with these words.
fn assert_kept(ended: &Ended, words: &str) {
    let error = ended.stderr.lines().find(|line| line.starts_with("error: "));
    assert!(!ended.success && error.is_some_and(|error| error.contains(words)), "{}", ended.stderr);
    assert!(!ended.stderr.contains("image written"), "{}", ended.stderr);
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_closed_window_and_a_firing_alert_keep_it_from_starting() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape { replicas: 1, ..Shape::dies_at_once(&old) }).await;
    let before = app.view().await.deployment.spec;
    // Neither today nor tomorrow, whatever the time of day is.
    let day = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(72);
    let day = day.strftime("%A").to_string();
    let ended = app.put(json!({ "reference": new, "windows": [{ "days": [day] }] })).await;
    assert_kept(&ended, "rollouts start only on: ");

    let prometheus = Prometheus::start(&app).await;
    let freeze = |alerts: &str| json!({ "prometheus": prometheus.url, "alerts": alerts });
    let ended = app.put(json!({ "reference": new, "freeze": freeze("^Slo") })).await;
    assert_kept(&ended, FIRING);
    assert_eq!(app.view().await.deployment.spec, before, "nothing was written");

    let ended = app.put(json!({ "reference": new, "windows": [{}], "freeze": freeze("^Disk") })).await;
    assert!(ended.success, "{}", ended.stderr);
    app.remove().await;
}
