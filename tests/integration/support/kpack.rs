//! One kpack Image with builds, as kpack writes them: `shop/app`, published at
//! `registry.example/shop/app`, built from Git. kpack's controller is played by the test.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::apiserver::{ApiServer, TOKEN};
use super::toolkit::{Outcome, Toolkit, finish};

/// Where the Image is.
pub(crate) const IMAGE: &str = "/apis/kpack.io/v1alpha2/namespaces/shop/images/app";
/// Its uid.
pub(crate) const IMAGE_UID: &str = "0a5ce10e-0000-4000-8000-000000000001";
/// Where its builds are.
pub(crate) const BUILDS: &str = "/apis/kpack.io/v1alpha2/namespaces/shop/builds";
/// The annotation that asks for a build.
pub(crate) const TRIGGER: &str = "image.kpack.io/additionalBuildNeeded";
/// The steps of a build that is no rebase.
pub(crate) const STEPS: [&str; 7] =
    ["prepare", "analyze", "detect", "restore", "build", "export", "completion"];

/// Returns the path of a build.
pub(crate) fn build_path(number: u64) -> String {
    format!("{BUILDS}/app-build-{number}")
}

/// Returns the path of a build's pod.
pub(crate) fn pod_path(number: u64) -> String {
    format!("/api/v1/namespaces/shop/pods/{}", pod_name(number))
}

/// Returns the name of a build's pod.
pub(crate) fn pod_name(number: u64) -> String {
    format!("app-build-{number}-build-pod")
}

/// Returns what a build publishes.
pub(crate) fn published(number: u64) -> String {
    format!("registry.example/shop/app@sha256:{number:064x}")
}

/// Returns the uid of a build.
pub(crate) fn uid(number: u64) -> String {
    format!("0a5ce10e-0000-4000-8000-1000{number:08}")
}

/// Returns the Image, current.
pub(crate) fn image() -> Value {
    json!({
        "apiVersion": "kpack.io/v1alpha2", "kind": "Image",
        "metadata": {"name": "app", "namespace": "shop", "uid": IMAGE_UID, "generation": 1},
        "spec": {
            "tag": "registry.example/shop/app", "serviceAccountName": "builder",
            "builder": {"kind": "ClusterBuilder", "name": "java"},
            "source": {"git": {"url": "https://git.example/shop/app.git", "revision": "main"}},
            "somethingNew": {"kept": true},
        },
        "status": {"observedGeneration": 1, "conditions": [
            {"type": "Ready", "status": "True", "reason": "UpToDate"},
            {"type": "BuilderReady", "status": "True", "reason": "BuilderReady"}]},
    })
}

/// Returns a build as it is when it was just made.
pub(crate) fn build(number: u64, reason: &str) -> Value {
    let changes = match reason {
        "COMMIT" => json!([{"reason": "COMMIT", "old": "a".repeat(40), "new": "b".repeat(40)}]),
        "BUILDPACK" => {
            json!([{"reason": "BUILDPACK", "old": [{"id": "lab/jre", "version": "11.0.5"}], "new": null}])
        }
        "STACK" => json!([{"reason": "STACK", "old": format!("sha256:{}", "a".repeat(64)),
            "new": format!("sha256:{}", "b".repeat(64))}]),
        _ => json!([{"reason": "TRIGGER", "old": "", "new":
            "A new build was manually triggered on Mon, 23 Nov 2026 19:04:08 +0000"}]),
    };
    json!({
        "apiVersion": "kpack.io/v1alpha2", "kind": "Build",
        "metadata": {
            "name": format!("app-build-{number}"), "namespace": "shop", "uid": uid(number), "generation": 1,
            "creationTimestamp": "2026-11-23T19:00:00Z",
            "labels": {"image.kpack.io/image": "app", "image.kpack.io/buildNumber": number.to_string(),
                "image.kpack.io/imageGeneration": "1"},
            "annotations": {"image.kpack.io/reason": reason, "image.kpack.io/buildChanges": changes.to_string()},
            "ownerReferences": [{"apiVersion": "kpack.io/v1alpha2", "kind": "Image", "name": "app",
                "uid": IMAGE_UID, "controller": true}],
        },
        "spec": {
            "tags": ["registry.example/shop/app", format!("registry.example/shop/app:b{number}.20261123.190000")],
            "source": {"git": {"url": "https://git.example/shop/app.git", "revision": "b".repeat(40)}},
        },
    })
}

/// Returns a build that has published its image.
pub(crate) fn succeeded(number: u64, reason: &str) -> Value {
    let mut build = build(number, reason);
    build["status"] = json!({
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed",
            "lastTransitionTime": "2026-11-23T19:00:19Z"}],
        "latestImage": published(number), "podName": pod_name(number),
        "buildMetadata": [{"id": "lab/jre", "version": "11.0.6"}],
        "stack": {"id": "lab", "runImage": format!("registry.example/run@sha256:{}", "b".repeat(64))},
    });
    build
}

/// Returns a build that failed, with kpack's message.
pub(crate) fn failed(number: u64, message: &str) -> Value {
    let mut build = build(number, "TRIGGER");
    build["status"] = json!({
        "conditions": [{"type": "Succeeded", "status": "False", "reason": "Failed", "message": message,
            "lastTransitionTime": "2026-11-23T19:00:07Z"}],
        "podName": pod_name(number),
    });
    build
}

/// Returns a build's pod: `done` steps have ended, the next one runs.
pub(crate) fn pod(number: u64, done: usize) -> Value {
    pod_with(number, &STEPS, done, 0)
}

/// Returns a build's pod whose step after `done` has ended with this code.
pub(crate) fn failed_pod(number: u64, done: usize, code: i32) -> Value {
    let mut pod = pod_with(number, &STEPS, done, code);
    pod["status"]["phase"] = json!("Failed");
    pod
}

/// Returns a build's pod with other steps.
pub(crate) fn pod_with(number: u64, steps: &[&str], done: usize, code: i32) -> Value {
    let state = |index: usize| match index {
        index if index < done => json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
        index if index == done && code != 0 => json!({"terminated": {"exitCode": code, "reason": "Error"}}),
        index if index == done => json!({"running": {"startedAt": "2026-11-23T19:00:01Z"}}),
        _ => json!({"waiting": {"reason": "PodInitializing"}}),
    };
    let statuses: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            json!({"name": step, "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": state(index)})
        })
        .collect();
    let (last, first) = statuses.split_last().unwrap();
    let containers = |steps: &[&str]| steps.iter().map(|step| json!({"name": step})).collect::<Vec<_>>();
    let (end, start) = steps.split_last().unwrap();
    let phase = if done >= steps.len() { "Succeeded" } else { "Pending" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod_name(number), "namespace": "shop", "uid": format!("pod-{number}"),
            "labels": {"image.kpack.io/image": "app", "kpack.io/build": format!("app-build-{number}")},
            "ownerReferences": [{"apiVersion": "kpack.io/v1alpha2", "kind": "Build",
                "name": format!("app-build-{number}"), "uid": uid(number)}],
        },
        "spec": {"initContainers": containers(start), "containers": containers(&[end])},
        "status": {"phase": phase, "initContainerStatuses": first, "containerStatuses": [last]},
    })
}

/// Starts a server with the Image and `builds` successful builds.
pub(crate) fn server(builds: u64) -> ApiServer {
    let server = ApiServer::start();
    server.put(IMAGE, image());
    for number in 1..=builds {
        server.put(&build_path(number), succeeded(number, "TRIGGER"));
    }
    server
}

/// Runs a build from its first step to its end, with a line of log in each step.
pub(crate) fn run_build(server: &ApiServer, number: u64) {
    for (done, step) in STEPS.iter().enumerate() {
        server.log(&pod_name(number), step, &[&format!("{step} says hello")]);
        server.put(&pod_path(number), pod(number, done));
        thread::sleep(Duration::from_millis(15));
    }
    server.put(&pod_path(number), pod(number, STEPS.len()));
    // The real one takes a second to see it.
    thread::sleep(Duration::from_millis(600));
    server.put(&build_path(number), succeeded(number, "TRIGGER"));
}

/// Waits until the server is as a test wants it.
pub(crate) fn wait_until(server: &ApiServer, what: &str, is_so: impl Fn(&ApiServer) -> bool) {
    let started = Instant::now();
    while !is_so(server) {
        assert!(started.elapsed() < Duration::from_secs(20), "it never came to this: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until somebody asks for the build after `number`.
pub(crate) fn wait_for_trigger(server: &ApiServer, number: u64) {
    wait_until(server, "a trigger", |server| {
        server.object(&build_path(number)).is_some_and(|it| !it["metadata"]["annotations"][TRIGGER].is_null())
    });
}

/// Returns a request with these keys beside the way to the cluster.
pub(crate) fn request(server: &ApiServer, source: &Value, rest: &Value) -> String {
    let mut request =
        json!({"source": {"server": server.url(), "token": TOKEN, "namespace": "shop", "image": "app"}});
    for (key, value) in source.as_object().into_iter().flatten() {
        request["source"][key] = value.clone();
    }
    for (key, value) in rest.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    request.to_string()
}

/// Runs a put while `controller` plays kpack's part.
pub(crate) fn put(server: &ApiServer, params: &Value, controller: impl FnOnce(&ApiServer)) -> Outcome {
    let toolkit = Toolkit::new();
    put_in(&toolkit, server, params, controller)
}

/// Does the same in the directory of this toolkit.
pub(crate) fn put_in(
    toolkit: &Toolkit,
    server: &ApiServer,
    params: &Value,
    controller: impl FnOnce(&ApiServer),
) -> Outcome {
    // A test that fails must not wait for the hour that a put has.
    let mut params = params.clone();
    if params["timeout"].is_null() {
        params["timeout"] = json!(40);
    }
    let request = request(server, &json!({}), &json!({"params": params}));
    let directory: &Path = toolkit.directory();
    let child = toolkit.binary("kpack-trigger").arg("out").arg(directory).start_without_stdin();
    thread::scope(|scope| {
        let run = scope.spawn(|| finish(toolkit, child, request.as_bytes()));
        controller(server);
        run.join().unwrap()
    })
}
