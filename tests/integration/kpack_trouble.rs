//! put beside an API server that is not quite there: rights that are missing, watches that are silent,
//! and answers that come late or never. None of it is a verdict.

use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, WATCHED};
use crate::support::kpack::{
    self, BUILDS, STEPS, build, build_path, failed, pod, pod_path, pod_with, published, put, run_build,
    succeeded, uid, wait_for_trigger, wait_until,
};

fn version(number: u64) -> Value {
    json!({"image": published(number), "build": number.to_string(), "uid": uid(number)})
}

/// Lets every watch of a collection be refused as an API server does that knows the user.
fn forbid_watches(server: &ApiServer, path: &str, resource: &str) {
    let why = format!("{resource}.kpack.io is forbidden: User \"ci\" cannot watch resource \"{resource}\"");
    server.script(Method::GET, &format!("{path}{WATCHED}"), (403, "Forbidden", &why), 999);
}

#[test]
fn a_watch_that_is_forbidden_ends_the_wait_with_the_role_that_allows_it() {
    for (path, resource, params) in [
        (BUILDS, "builds", json!({"trigger": true})),
        (
            "/apis/kpack.io/v1alpha2/namespaces/shop/images",
            "images",
            json!({"additional_tags": ["registry.example/shop/app:v2"]}),
        ),
    ] {
        let server = kpack::server(1);
        forbid_watches(&server, path, resource);
        let started = Instant::now();
        let outcome = put(&server, &params, |_| {});
        assert!(started.elapsed() < Duration::from_secs(20), "it waited for what cannot come");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
        let words = format!("error: failed to watch {resource}: {resource}.kpack.io is forbidden");
        assert!(outcome.stderr.contains(&words), "{outcome}");
        assert!(outcome.stderr.contains("hint: let the Role of that namespace allow it"), "{outcome}");
    }
}

#[test]
fn a_refusal_while_the_api_server_starts_is_part_of_that() {
    let server = kpack::server(1);
    let watches = format!("{BUILDS}{WATCHED}");
    server.script(Method::GET, &watches, (500, "InternalError", "starting"), 1);
    server.script(Method::GET, &watches, (403, "Forbidden", "builds is forbidden: User \"ci\""), 1);
    let outcome = put(&server, &json!({"trigger": true}), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        run_build(server, 2);
    });
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
}

#[test]
fn a_verdict_that_a_silent_watch_does_not_tell_is_looked_for_once_the_pod_has_ended() {
    let server = kpack::server(1);
    let started = Instant::now();
    let outcome = put(&server, &json!({"trigger": true, "timeout": 60}), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        server.put(&pod_path(2), pod(2, 0));
        wait_until(server, "a log", |server| server.seen().iter().any(|seen| seen.path.ends_with("/log")));
        server.silence_watches(BUILDS);
        server.put(&pod_path(2), pod(2, STEPS.len()));
        server.put(&build_path(2), succeeded(2, "TRIGGER"));
    });
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert!(started.elapsed() < Duration::from_secs(30), "it was found by chance");
}

#[test]
fn a_log_that_is_not_served_is_said_and_nobody_is_sent_to_it() {
    let server = kpack::server(1);
    let path = format!("{}/log", pod_path(2));
    let why = "Get \"https://10.0.0.9:10250/containerLogs\": dial tcp 10.0.0.9:10250: connection refused";
    server.script(Method::GET, &path, (500, "InternalError", why), 999);
    let steps = ["build", "completion"];
    let outcome = put(&server, &json!({"trigger": true}), |server| {
        wait_for_trigger(server, 1);
        server.put(&build_path(2), build(2, "TRIGGER"));
        server.put(&pod_path(2), pod_with(2, &steps, 0, 0));
        let tries = |server: &ApiServer| server.seen().iter().filter(|seen| seen.path == path).count();
        wait_until(server, "some tries", |server| tries(server) > 3);
        let mut ended = pod_with(2, &steps, 0, 51);
        ended["status"]["phase"] = json!("Failed");
        server.put(&pod_path(2), ended);
        let why = "Error:  Container build terminated with error exit status 1";
        server.put(&build_path(2), failed(2, why));
    });
    let told = outcome.stderr.matches("the log of this step cannot be read: ").count();
    assert_eq!((outcome.code, told), (Some(1), 1), "{outcome}");
    assert!(
        outcome.stderr.contains("read the log with `kubectl logs app-build-2-build-pod -c build`"),
        "{outcome}"
    );
    assert!(!outcome.stderr.contains("log above"), "{outcome}");
}
