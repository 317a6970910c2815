//! The manifests in `kpack/` on the real controller: three apps built from Git, built again when the runtime
//! moves, rebased when the stack does, and what the pods then run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rollway_lab::cluster::{Kpack, Lab};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::{App, PATIENCE, Shape, World};

const APPS: [&str; 3] = ["app-bar", "app-baz", "app-foo"];

/// kpack, and a kubectl to speak to it as its manifests' README does.
struct Fleet {
    lab: Lab,
    kpack: Kpack,
}

/// What one app's newest build is.
#[derive(Debug)]
struct Built {
    reason: String,
    image: String,
    /// The containers that worked on it.
    steps: Vec<String>,
    runtime: String,
}

impl Fleet {
    fn new() -> Self {
        let lab = Lab::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let kpack = lab.kpack.clone().expect("the lab has no kpack: `lab up --with kpack` starts one");
        Self { lab, kpack }
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        let output =
            Command::new(&self.lab.kubectl).args(arguments).kill_on_drop(true).output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {}: {errors}", arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn apply(&self, path: &str) {
        self.kubectl(&["apply", "-f", self.kpack.manifests.join(path).to_str().unwrap()]).await;
    }

    /// Takes away what this test, or one before it, has applied.
    async fn clear(&self) {
        for (kind, name) in [
            ("namespace", "kpack-builders"),
            ("clusterstores.kpack.io", "custom-java-store"),
            ("clusterstacks.kpack.io", "custom-java-stack"),
        ] {
            self.kubectl(&["delete", kind, name, "--ignore-not-found", "--timeout=120s"]).await;
        }
    }

    async fn builds(&self) -> Vec<Value> {
        let text = self.kubectl(&["get", "builds.kpack.io", "-n", "kpack-builders", "-o", "json"]).await;
        serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
    }

    /// Waits until the build `number` of every app has succeeded.
    async fn built(&self, number: &str) -> BTreeMap<String, Built> {
        let started = Instant::now();
        loop {
            let builds = self.builds().await;
            let done: BTreeMap<_, _> = builds.iter().filter_map(|build| built(build, number)).collect();
            if done.len() == APPS.len() {
                return done;
            }
            let failed = builds.iter().find(|build| condition(build) == Some("False"));
            assert!(failed.is_none(), "{failed:#?}");
            assert!(
                started.elapsed() < 2 * PATIENCE,
                "build {number}: not within {:?}: {builds:#?}",
                2 * PATIENCE
            );
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }
}

fn condition(build: &Value) -> Option<&str> {
    let conditions = build["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Succeeded")?["status"].as_str()
}

fn built(build: &Value, number: &str) -> Option<(String, Built)> {
    let metadata = &build["metadata"];
    let label = |name: &str| metadata["labels"][name].as_str().unwrap_or_default().to_owned();
    if label("image.kpack.io/buildNumber") != number || condition(build) != Some("True") {
        return None;
    }
    let steps = build["status"]["stepsCompleted"].as_array().cloned().unwrap_or_default();
    let built = Built {
        reason: metadata["annotations"]["image.kpack.io/reason"].as_str()?.to_owned(),
        image: build["status"]["latestImage"].as_str()?.to_owned(),
        steps: steps.iter().filter_map(|step| step.as_str().map(str::to_owned)).collect(),
        runtime: build["status"]["buildMetadata"][0]["version"].as_str().unwrap_or_default().to_owned(),
    };
    Some((label("image.kpack.io/image"), built))
}

/// Asks the application which runtime and which OpenSSL it has.
async fn told(app: &App) -> (String, String) {
    let url = format!("http://{}/actuator/metrics/app.info", app.address().await);
    let started = Instant::now();
    loop {
        let asked = async { reqwest::get(&url).await?.json::<Value>().await };
        if let Ok(Ok(info)) = tokio::time::timeout(std::time::Duration::from_secs(3), asked).await {
            let value = |name: &str| {
                let tags = info["availableTags"].as_array().unwrap();
                let tag = tags.iter().find(|tag| tag["tag"] == name).unwrap();
                tag["values"][0].as_str().unwrap().to_owned()
            };
            return (value("java.version"), value("openssl.version"));
        }
        assert!(started.elapsed() < PATIENCE, "{url} does not answer");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

fn reasons(built: &BTreeMap<String, Built>) -> Vec<&str> {
    built.values().map(|built| built.reason.as_str()).collect()
}

#[tokio::test]
#[ignore = "needs the lab with kpack"]
async fn kpack_builds_the_fleet_and_patches_it_when_runtime_and_stack_move() {
    let world = World::connect().await;
    let fleet = Fleet::new();
    fleet.clear().await;
    // Twice: templates beside filled-in credentials change nothing.
    for _ in 0..2 {
        fleet.apply("credentials").await;
    }
    fleet.apply("custom-java-builder.yml").await;
    fleet.apply("images").await;

    let first = fleet.built("1").await;
    assert_eq!(first.keys().map(String::as_str).collect::<Vec<_>>(), APPS);
    assert_eq!(reasons(&first), ["CONFIG"; 3]);
    let app = world.deploy(Shape { replicas: 2, ..Shape::dies_at_once(&first["app-foo"].image) }).await;
    let (java, old_openssl) = told(&app).await;
    assert_eq!(java, "11.0.5");

    fleet.apply("jvm-update").await;
    let second = fleet.built("2").await;
    assert_eq!(reasons(&second), ["BUILDPACK"; 3]);
    assert!(second.values().all(|built| built.runtime == "11.0.6"), "{second:#?}");
    assert_rolled(&app, &second["app-foo"].image).await;
    assert_eq!(told(&app).await, ("11.0.6".to_owned(), old_openssl.clone()));

    fleet.apply("stack-update").await;
    let third = fleet.built("3").await;
    assert_eq!(reasons(&third), ["STACK"; 3]);
    assert!(third.values().all(|built| built.steps == ["rebase", "completion"]), "{third:#?}");
    assert_rolled(&app, &third["app-foo"].image).await;
    let (java, openssl) = told(&app).await;
    assert_eq!(java, "11.0.6");
    assert_ne!(openssl, old_openssl);

    app.remove().await;
    fleet.clear().await;
}

/// Rolls the application to an image that kpack has built, every pod of it.
async fn assert_rolled(app: &App, image: &str) {
    let ended = app.put(json!({ "reference": image })).await;
    assert!(ended.success, "{}", ended.stderr);
    let view = app.view().await;
    assert!(view.images().values().all(|running| running == image), "{view:#?}");
}
