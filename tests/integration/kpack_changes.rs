//! put: what it changes in an Image, and which build it then takes for its own.

use std::thread;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::apiserver::ApiServer;
use crate::support::kpack::{
    self, BUILDS, IMAGE, build, build_path, failed, published, put, put_in, run_build, succeeded, uid,
    wait_until,
};
use crate::support::toolkit::Toolkit;

fn version(number: u64) -> Value {
    json!({"image": published(number), "build": number.to_string(), "uid": uid(number)})
}

/// Plays a controller that sees generation 2 of the Image and builds it as `number`.
fn obey(number: u64) -> impl FnOnce(&ApiServer) {
    move |server| {
        wait_until(server, "a change", |server| {
            server.object(IMAGE).is_some_and(|image| image["metadata"]["generation"] == 2)
        });
        observe(server, "Unknown");
        let mut made = build(number, "CONFIG");
        made["metadata"]["labels"]["image.kpack.io/imageGeneration"] = json!("2");
        server.put(&build_path(number), made);
        run_build(server, number);
    }
}

/// Lets the Image say that its newest generation was seen.
fn observe(server: &ApiServer, ready: &str) {
    let mut image = server.object(IMAGE).unwrap();
    image["status"]["observedGeneration"] = image["metadata"]["generation"].clone();
    image["status"]["conditions"][0]["status"] = json!(ready);
    server.put(IMAGE, image);
}

fn spec(server: &ApiServer) -> Value {
    server.object(IMAGE).unwrap()["spec"].clone()
}

#[test]
fn a_revision_is_built_and_nothing_else_of_the_image_is_touched() {
    let server = kpack::server(1);
    let toolkit = Toolkit::new();
    toolkit.file("git/ref", "abc123\n");
    let outcome = put_in(&toolkit, &server, &json!({"revision_file": "git/ref"}), obey(2));
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert!(outcome.stderr.contains("changes source of the Image `app`"), "{outcome}");
    let mut wanted = kpack::image()["spec"].clone();
    wanted["source"]["git"]["revision"] = json!("abc123");
    assert_eq!(spec(&server), wanted);
    let writes = server.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    let patch: Value = serde_json::from_str(&writes[0].body).unwrap();
    assert!(patch["metadata"]["resourceVersion"].is_string() && patch["metadata"]["uid"].is_string());
    // What is there at the last moment before the write is not what the write has made.
    let seen: Vec<(String, String)> = server.seen().into_iter().map(|it| (it.method, it.path)).collect();
    let at = seen.iter().position(|(method, _)| method == "PATCH").unwrap();
    assert_eq!(seen[at - 1], ("GET".to_owned(), BUILDS.to_owned()));
}

#[test]
fn a_build_of_the_state_before_is_not_the_one() {
    let server = kpack::server(1);
    let outcome = put(&server, &json!({"revision": "v2"}), |server| {
        wait_until(server, "a change", |server| server.writes().len() == 1);
        server.put(&build_path(2), build(2, "COMMIT"));
        thread::sleep(Duration::from_millis(300));
        server.put(&build_path(2), succeeded(2, "COMMIT"));
        obey(3)(server);
    });
    assert_eq!(outcome.json()["version"], version(3), "{outcome}");
}

#[test]
fn many_changes_are_one_patch() {
    let server = kpack::server(1);
    let params = json!({"revision": "v2", "builder": "Builder/go", "service_account": "other",
        "env": {"BP_JVM_VERSION": 17, "TOKEN": "canary-env"}, "additional_tags": ["registry.example/shop/app:v2"]});
    let outcome = put(&server, &params, obey(2));
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert_eq!(server.writes().len(), 1);
    let spec = spec(&server);
    assert_eq!(spec["builder"], json!({"kind": "Builder", "name": "go"}));
    assert_eq!(spec["serviceAccountName"], "other");
    assert_eq!(spec["additionalTags"], json!(["registry.example/shop/app:v2"]));
    assert_eq!(spec["build"]["env"][0], json!({"name": "BP_JVM_VERSION", "value": "17"}));
    assert_eq!(spec["somethingNew"], json!({"kept": true}));
    assert!(!outcome.to_string().contains("canary-env"), "{outcome}");
}

#[test]
fn a_change_that_lost_a_race_is_made_again_on_what_is_there() {
    let server = kpack::server(1);
    server.script(Method::PATCH, IMAGE, (409, "Conflict", "the object has been modified"), 2);
    let outcome = put(&server, &json!({"revision": "v2"}), obey(2));
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert!(outcome.stderr.contains("somebody changed it meanwhile: once more"), "{outcome}");
    let server = kpack::server(1);
    server.script(Method::PATCH, IMAGE, (409, "Conflict", "the object has been modified"), 99);
    let outcome = put(&server, &json!({"revision": "v2"}), |_| {});
    assert!(
        outcome.stderr.contains("error: failed to change the Image `app`: others changed it 10 times"),
        "{outcome}"
    );
}

#[test]
fn a_put_that_is_run_again_joins_the_build_that_the_first_one_began() {
    let server = kpack::server(1);
    server.put(&build_path(2), build(2, "COMMIT"));
    let outcome = put(&server, &json!({"revision": "main"}), |server| {
        wait_until(server, "a watch", |server| {
            server.seen().iter().any(|it| it.query.contains("watch=true"))
        });
        run_build(server, 2);
    });
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert!(outcome.stderr.contains("a build with all of that is under way"), "{outcome}");
    // And once more, when it is there.
    let outcome = put(&server, &json!({"revision": "main"}), |_| {});
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert!(outcome.stderr.contains("built already: build 2 succeeded"), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn what_failed_before_is_built_again_by_who_asks_for_it() {
    let server = kpack::server(1);
    server.put(&build_path(2), failed(2, "no"));
    let outcome = put(&server, &json!({"revision": "main"}), |server| {
        kpack::wait_for_trigger(server, 2);
        server.put(&build_path(3), build(3, "TRIGGER"));
        run_build(server, 3);
    });
    assert_eq!(outcome.json()["version"], version(3), "{outcome}");
}

#[test]
fn a_change_that_kpack_does_not_build_for_is_said() {
    let server = kpack::server(1);
    let outcome = put(&server, &json!({"additional_tags": ["registry.example/shop/app:v2"]}), |server| {
        wait_until(server, "a change", |server| server.writes().len() == 1);
        observe(server, "True");
    });
    assert_eq!(outcome.json()["version"], version(1), "{outcome}");
    assert!(outcome.stderr.contains("kpack builds nothing for that"), "{outcome}");
    assert!(!outcome.stderr.contains("build 1 succeeded"), "it looks like a new build: {outcome}");
    assert!(outcome.stderr.contains("`trigger: true` builds all the same"), "{outcome}");
}

#[test]
fn a_builder_that_is_missing_is_never_answered_with_what_was_built_before() {
    let server = kpack::server(1);
    let params = json!({"builder": "ClusterBuilder/typo", "timeout": 5});
    for is_again in [false, true] {
        let outcome = put(&server, &params, |server| {
            wait_until(server, "a change", |server| server.writes().len() == 1);
            observe(server, "False");
            let mut image = server.object(IMAGE).unwrap();
            image["status"]["conditions"] = json!([{"type": "Ready", "status": "False",
                "reason": "BuilderNotFound", "message": "Error: Unable to find builder 'typo'."}]);
            server.put(IMAGE, image);
        });
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{is_again}: {outcome}");
        let words = "kpack began no build of `app` within 5 s: kpack builds nothing now: BuilderNotFound";
        assert!(outcome.stderr.contains(words), "{is_again}: {outcome}");
    }
    assert_eq!(server.writes().len(), 1);
}

const MANIFEST: &str = "apiVersion: kpack.io/v1alpha2\nkind: Image\nmetadata:\n  name: app\nspec:\n  \
                        tag: registry.example/shop/app\n  serviceAccountName: builder\n  builder: {kind: \
                        ClusterBuilder, name: java}\n  source:\n    git: {url: 'https://git.example/shop/app.git', \
                        revision: v9}\n";

#[test]
fn an_image_is_made_when_it_is_not_there_and_patched_when_it_is() {
    let server = kpack::server(0);
    server.remove(IMAGE);
    server.put("/apis/kpack.io/v1alpha2/namespaces/shop/images/other", kpack::image());
    let toolkit = Toolkit::new();
    toolkit.file("k/image.yml", MANIFEST);
    let params = json!({"create": "k/image.yml"});
    let outcome = put_in(&toolkit, &server, &params, |server| {
        wait_until(server, "the Image", |server| server.object(IMAGE).is_some());
        let mut made = build(1, "CONFIG");
        made["metadata"]["ownerReferences"] = Value::Null;
        server.put(&build_path(1), made.clone());
        made["status"] = succeeded(1, "CONFIG")["status"].clone();
        thread::sleep(Duration::from_millis(200));
        server.put(&build_path(1), made);
    });
    assert_eq!(outcome.json()["version"], version(1), "{outcome}");
    assert!(outcome.stderr.contains("made the Image `app` from k/image.yml"), "{outcome}");
    assert_eq!(spec(&server)["source"]["git"]["revision"], "v9");
    let server = kpack::server(1);
    let outcome = put_in(&toolkit, &server, &params, obey(2));
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert_eq!(spec(&server)["somethingNew"], json!({"kept": true}));
    assert_eq!(spec(&server)["source"]["git"]["revision"], "v9");
}

#[test]
fn a_manifest_and_a_revision_are_one_write_and_none_when_they_are_put_again() {
    let toolkit = Toolkit::new();
    toolkit.file("k/image.yml", MANIFEST);
    let params = json!({"create": "k/image.yml", "revision": "abc123", "env": {"A": "1"}});
    let server = kpack::server(1);
    let outcome = put_in(&toolkit, &server, &params, obey(2));
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert_eq!(spec(&server)["source"]["git"]["revision"], "abc123");
    observe(&server, "True");
    let outcome = put_in(&toolkit, &server, &params, |_| {});
    assert_eq!(outcome.json()["version"], version(2), "{outcome}");
    assert!(outcome.stderr.contains("built already: build 2"), "{outcome}");
    assert_eq!(server.writes().len(), 1, "{:?}", server.writes());
    // The same where there is no Image yet.
    let server = kpack::server(0);
    server.remove(IMAGE);
    server.put("/apis/kpack.io/v1alpha2/namespaces/shop/images/other", kpack::image());
    let outcome = put_in(&toolkit, &server, &params, |server| {
        wait_until(server, "the Image", |server| server.object(IMAGE).is_some());
        let mut made = succeeded(1, "CONFIG");
        made["metadata"]["ownerReferences"] = Value::Null;
        server.put(&build_path(1), made);
    });
    assert_eq!(outcome.json()["version"], version(1), "{outcome}");
    assert_eq!(spec(&server)["source"]["git"]["revision"], "abc123");
    assert_eq!(spec(&server)["build"]["env"], json!([{"name": "A", "value": "1"}]));
    assert_eq!(server.writes().len(), 1, "{:?}", server.writes());
}

#[test]
fn an_image_that_makes_kpack_build_without_end_is_warned_about() {
    let server = kpack::server(1);
    let mut image = kpack::image();
    image["metadata"]["annotations"] = json!({ kpack::TRIGGER: "x" });
    server.put(IMAGE, image);
    let outcome = put(&server, &json!({"revision": "main"}), |_| {});
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome.stderr.contains("warning: the Image `app` has the annotation `additionalBuildNeeded`"),
        "{outcome}"
    );
}
