//! get: what a build was, as files.

use std::fs;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::apiserver::ApiServer;
use crate::support::kpack::{
    self, STEPS, build_path, failed, pod, pod_name, pod_path, published, request, uid,
};
use crate::support::toolkit::{Outcome, Toolkit};

fn get(server: &ApiServer, toolkit: &Toolkit, version: &Value, params: &Value) -> Outcome {
    let request = request(server, &json!({}), &json!({"version": version, "params": params}));
    toolkit.step("kpack-trigger", "in", Some(&toolkit.folder("out")), &request)
}

fn version(number: u64) -> Value {
    json!({"image": published(number), "build": number.to_string(), "uid": uid(number)})
}

fn read(toolkit: &Toolkit, name: &str) -> String {
    fs::read_to_string(toolkit.directory().join("out").join(name)).unwrap()
}

fn field<'a>(outcome: &'a Value, name: &str) -> Vec<&'a str> {
    let fields = outcome["metadata"].as_array().unwrap().iter();
    fields.filter(|field| field["name"] == name).map(|field| field["value"].as_str().unwrap()).collect()
}

#[test]
fn a_build_is_written_down_and_told_in_words() {
    let server = kpack::server(3);
    server.put(&build_path(4), kpack::succeeded(4, "BUILDPACK"));
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &version(4), &json!({}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    for (name, text) in [
        ("image", published(4)),
        ("repository", "registry.example/shop/app".to_owned()),
        ("tag", "latest".to_owned()),
        ("build-number", "4".to_owned()),
        ("build-name", "app-build-4".to_owned()),
        ("reason", "BUILDPACK".to_owned()),
        ("commit", "b".repeat(40)),
    ] {
        assert_eq!(read(&toolkit, name), text, "{name}");
    }
    assert_eq!(format!("registry.example/shop/app@{}", read(&toolkit, "digest")), published(4));
    let changes: Value = serde_json::from_str(&read(&toolkit, "changes.json")).unwrap();
    assert_eq!(changes[0]["old"][0]["version"], "11.0.5");
    let build: Value = serde_json::from_str(&read(&toolkit, "build.json")).unwrap();
    assert_eq!(
        (build["kind"].as_str(), build["metadata"]["uid"].as_str()),
        (Some("Build"), Some(uid(4).as_str()))
    );
    let answer = outcome.json();
    assert_eq!(field(&answer, "reason"), ["buildpack lab/jre 11.0.5 → 11.0.6"]);
    assert_eq!(field(&answer, "buildpacks"), ["lab/jre 11.0.6"]);
    assert_eq!(field(&answer, "duration"), ["19 s"]);
    assert!(
        field(&answer, "link")[0].ends_with("/apis/kpack.io/v1alpha2/namespaces/shop/builds/app-build-4")
    );
    assert!(server.writes().is_empty());
    assert!(!toolkit.directory().join("out/log").exists());
}

#[test]
fn its_directory_is_what_a_rollout_takes_as_its_image() {
    use crate::support::shop;
    let server = kpack::server(1);
    shop::fill(&server, 'a');
    let mut build = kpack::succeeded(2, "STACK");
    build["status"]["latestImage"] = json!(format!("{}@{}", shop::REPOSITORY, shop::digest('a')));
    server.put(&build_path(2), build.clone());
    let toolkit = Toolkit::new();
    let version = json!({"image": build["status"]["latestImage"], "build": "2", "uid": uid(2)});
    let outcome = get(&server, &toolkit, &version, &json!({}));
    assert_eq!(
        field(&outcome.json(), "reason"),
        ["stack: run image sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb"]
    );
    let request = json!({"source": {"server": server.url(), "token": crate::support::apiserver::TOKEN,
        "namespace": "shop", "deployment": "app"}, "params": {"image": "out", "drain": "none"}});
    let outcome = toolkit.step("rollout", "out", Some(toolkit.directory()), &request.to_string());
    assert!(outcome.stderr.contains("already there"), "{outcome}");
}

#[test]
fn a_pruned_build_still_has_its_image_and_its_number() {
    let server = kpack::server(3);
    let toolkit = Toolkit::new();
    let gone = json!({"image": published(3), "build": "3", "uid": "another"});
    let outcome = get(&server, &toolkit, &gone, &json!({"log": true}));
    assert_eq!((outcome.code, &outcome.json()["version"]), (Some(0), &gone), "{outcome}");
    assert!(outcome.stderr.contains("build 3 is gone from the cluster"), "{outcome}");
    assert_eq!((read(&toolkit, "image"), read(&toolkit, "build-number")), (published(3), "3".to_owned()));
    assert!(!toolkit.directory().join("out/build.json").exists());
}

#[test]
fn the_log_is_written_when_it_is_asked_for() {
    let server = kpack::server(1);
    server.put(&pod_path(1), pod(1, STEPS.len()));
    for step in STEPS {
        server.log(&pod_name(1), step, &[&format!("{step} one"), &format!("{step} two")]);
    }
    // The first connection breaks in mid-log: no line is lost, and none comes twice.
    server.cut_log_after(1);
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &version(1), &json!({"log": "true"}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let log = read(&toolkit, "log");
    assert!(log.contains("detect one\ndetect two\n"), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("===> ")).count(), STEPS.len());
}

#[test]
fn a_log_that_is_gone_or_forbidden_is_said_and_is_no_failure() {
    let server = kpack::server(1);
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &version(1), &json!({"log": true}));
    assert_eq!((outcome.code, read(&toolkit, "log").as_str()), (Some(0), ""), "{outcome}");
    assert!(outcome.stderr.contains("the build's pod is gone"), "{outcome}");
    server.put(&pod_path(1), pod(1, STEPS.len()));
    let why = "pods \"x\" is forbidden: User \"ci\" cannot get resource \"pods/log\"";
    server.script(Method::GET, &format!("{}/log", pod_path(1)), (403, "Forbidden", why), 9);
    let outcome = get(&server, &toolkit, &version(1), &json!({"log": true}));
    assert!(outcome.code == Some(0) && outcome.stderr.contains("may not read logs (pods/log)"), "{outcome}");
}

#[test]
fn a_log_that_the_api_server_does_not_serve_is_said_and_is_no_failure() {
    let server = kpack::server(1);
    server.put(&pod_path(1), pod(1, STEPS.len()));
    server.log(&pod_name(1), "prepare", &["cloned"]);
    let busy = (500, "InternalError", "dial tcp 10.0.0.9:10250: connect: connection refused");
    let builds = "/apis/kpack.io/v1alpha2/namespaces/shop/builds";
    server.script(Method::GET, builds, (500, "InternalError", "etcdserver: request timed out"), 2);
    server.script(Method::GET, &format!("{}/log", pod_path(1)), busy, 99);
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &version(1), &json!({"log": true}));
    assert_eq!((outcome.code, read(&toolkit, "image")), (Some(0), published(1)), "{outcome}");
    assert!(outcome.stderr.contains("the file `log` ends early, for the log cannot be read"), "{outcome}");
    assert!(read(&toolkit, "log").contains("===> PREPARE"), "{outcome}");
}

#[test]
fn a_failed_build_has_no_image_to_write() {
    let server = kpack::server(1);
    server.put(&build_path(2), failed(2, "no"));
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &json!({"build": "2", "uid": uid(2)}), &json!({}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!toolkit.directory().join("out/image").exists());
    assert_eq!(read(&toolkit, "build-name"), "app-build-2");
    assert_eq!(read(&toolkit, "status"), "failed");
    let answer = outcome.json();
    assert_eq!((field(&answer, "status"), field(&answer, "message")), (vec!["failed"], vec!["Failed: no"]));
    assert!(outcome.stderr.contains("build 2 failed, and there is no image: Failed: no"), "{outcome}");
}

#[test]
fn a_version_with_an_image_alone_has_the_number_of_its_build() {
    let server = kpack::server(2);
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &json!({"image": published(1)}), &json!({}));
    assert_eq!((outcome.code, read(&toolkit, "build-number").as_str()), (Some(0), "1"), "{outcome}");
}

#[test]
fn a_revision_that_kpack_could_not_resolve_is_no_commit() {
    let server = kpack::server(1);
    let mut build = failed(2, "no");
    build["spec"]["source"]["git"]["revision"] = json!("main");
    server.put(&build_path(2), build);
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &json!({"build": "2", "uid": uid(2)}), &json!({}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!toolkit.directory().join("out/commit").exists(), "{outcome}");
    assert_eq!(field(&outcome.json(), "commit"), [""; 0], "{outcome}");
}

#[test]
fn unwritable_directory_is_named() {
    let server = kpack::server(1);
    let toolkit = Toolkit::new();
    toolkit.folder("out/digest");
    let outcome = get(&server, &toolkit, &version(1), &json!({}));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains("error: failed to write `[DIR]/out/digest`"), "{outcome}");
}
