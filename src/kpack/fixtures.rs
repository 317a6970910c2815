//! Objects for the tests: made by hand, and as a real kpack 0.17.2 wrote them (`recorded/`, reduced to
//! what is read).

use k8s_openapi::api::core::v1::Pod;
use kube::core::dynamic::DynamicObject;
use serde_json::{Value, json};

use super::{Build, Dialect, Image};

/// The uid of the Image `app`.
pub(crate) const IMAGE: &str = "uid-image";

fn digest(number: u64) -> String {
    format!("sha256:{number:064x}")
}

/// Returns the Build `number` of the Image `app`, a success.
pub(crate) fn mk_build(number: u64) -> Build {
    build(&build_object(
        number,
        &json!({
            "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed",
                "lastTransitionTime": "2026-11-23T19:00:10Z"}],
            "latestImage": format!("r.example/app@{}", digest(number)),
            "podName": format!("app-build-{number}-build-pod"),
        }),
    ))
}

/// Returns the Build `number` of the Image `app`, a failure.
pub(crate) fn mk_failed(number: u64) -> Build {
    build(&build_object(
        number,
        &json!({
            "conditions": [{"type": "Succeeded", "status": "False", "reason": "Failed", "message": "no"}],
        }),
    ))
}

/// Returns the Build `number` of the Image `app`, which has no verdict.
pub(crate) fn mk_running(number: u64) -> Build {
    build(&build_object(number, &json!({})))
}

fn build_object(number: u64, status: &Value) -> Value {
    json!({
        "metadata": {
            "name": format!("app-build-{number}"), "uid": format!("uid-{number}"),
            "creationTimestamp": "2026-11-23T19:00:00Z",
            "labels": {"image.kpack.io/image": "app", "image.kpack.io/buildNumber": number.to_string(),
                "image.kpack.io/imageGeneration": "1"},
            "annotations": {"image.kpack.io/reason": "TRIGGER", "image.kpack.io/buildChanges":
                r#"[{"reason":"TRIGGER","old":"","new":"A new build was manually triggered on Mon"}]"#},
            "ownerReferences": [{"apiVersion": "kpack.io/v1alpha2", "kind": "Image", "name": "app", "uid": IMAGE}],
        },
        "spec": {"tags": ["r.example/app"]},
        "status": status,
    })
}

/// Returns the Image `app`, generation 1, current, built from Git.
pub(crate) fn mk_image() -> Image {
    image(&json!({
        "metadata": {"name": "app", "uid": IMAGE, "resourceVersion": "7", "generation": 1},
        "spec": {"tag": "r.example/app", "serviceAccountName": "builder",
            "builder": {"kind": "ClusterBuilder", "name": "java"},
            "source": {"git": {"url": "https://git.example/app.git", "revision": "main"}, "subPath": "a"},
            "build": {"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"x": "y"}}],
                "buildTimeout": 600}},
        "status": {"observedGeneration": 1, "conditions": [
            {"type": "Ready", "status": "True", "reason": "UpToDate"},
            {"type": "BuilderReady", "status": "True"}]},
    }))
}

/// Reads a Build as the API serves it.
pub(crate) fn build(object: &Value) -> Build {
    Build::of(&dynamic(object), Dialect::V1Alpha2)
}

/// Reads an Image as the API serves it.
pub(crate) fn image(object: &Value) -> Image {
    Image::of(&dynamic(object), Dialect::V1Alpha2)
}

fn dynamic(object: &Value) -> DynamicObject {
    serde_json::from_value(object.clone()).unwrap()
}

/// What one case of a real run left behind.
pub(crate) struct Case {
    object: Value,
}

/// Returns what `name` left behind.
pub(crate) fn recorded(name: &str) -> Case {
    let all: Value = serde_json::from_str(include_str!("recorded/objects.json")).unwrap();
    let object = all[name].clone();
    assert!(object.is_object(), "nothing was recorded for `{name}`");
    Case { object }
}

/// Returns every Build that was recorded, as the API served it.
pub(crate) fn every_build() -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("recorded/objects.json")).unwrap();
    let cases = all.as_object().unwrap().values();
    cases.map(|case| case["build"].clone()).filter(Value::is_object).collect()
}

impl Case {
    /// Returns its Build.
    pub(crate) fn build(&self) -> Build {
        build(&self.object["build"])
    }

    /// Returns its Image.
    pub(crate) fn image(&self) -> Image {
        image(&self.object["image"])
    }

    /// Returns its pod, where there was one.
    pub(crate) fn pod(&self) -> Option<Pod> {
        let pod = &self.object["pod"];
        pod.is_object().then(|| serde_json::from_value(pod.clone()).unwrap())
    }
}

/// One moment of a recorded stream of watch events: everything as it was then.
#[derive(Clone, Default)]
pub(crate) struct Moment {
    /// The Image, once it was told of.
    pub(crate) image: Option<Image>,
    /// The Builds, oldest first.
    pub(crate) builds: Vec<Build>,
    /// Their pods.
    pub(crate) pods: Vec<Pod>,
}

/// Returns a recorded stream as the moments after each of its events.
pub(crate) fn stream(name: &str) -> Vec<Moment> {
    let text = match name {
        "two-concurrent" => include_str!("recorded/two-concurrent.jsonl"),
        "delete-running" => include_str!("recorded/delete-running.jsonl"),
        "delete-newest" => include_str!("recorded/delete-newest.jsonl"),
        "trigger-running" => include_str!("recorded/trigger-running.jsonl"),
        "pull-backoff" => include_str!("recorded/pull-backoff.jsonl"),
        other => panic!("no stream is called `{other}`"),
    };
    let mut now = Moment::default();
    let moments = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        now.take(&event);
        now.clone()
    });
    moments.collect()
}

impl Moment {
    fn take(&mut self, event: &Value) {
        let object = &event["object"];
        let (is_gone, name) = (event["type"] == "DELETED", object["metadata"]["name"].as_str().unwrap());
        match event["kind"].as_str().unwrap() {
            "images" => self.image = (!is_gone).then(|| image(object)),
            "builds" => {
                self.builds.retain(|build| build.name != name);
                self.builds.extend((!is_gone).then(|| build(object)));
                Build::sort(&mut self.builds);
            }
            _ => {
                self.pods.retain(|pod| pod.metadata.name.as_deref() != Some(name));
                self.pods.extend((!is_gone).then(|| serde_json::from_value::<Pod>(object.clone()).unwrap()));
            }
        }
    }
}
