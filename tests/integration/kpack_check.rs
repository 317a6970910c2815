//! check: the builds of an Image as versions, from one list.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::apiserver::ApiServer;
use crate::support::kpack::{self, BUILDS, IMAGE, build_path, failed, published, request, succeeded, uid};
use crate::support::toolkit::{Outcome, Toolkit};

fn check(server: &ApiServer, source: &Value, version: &Value) -> Outcome {
    let rest = if version.is_null() { json!({}) } else { json!({"version": version}) };
    Toolkit::new().step("kpack-trigger", "check", None, &request(server, source, &rest))
}

fn version(number: u64) -> Value {
    json!({"image": published(number), "build": number.to_string(), "uid": uid(number)})
}

#[test]
fn the_first_check_tells_of_the_newest_build_and_later_ones_of_what_came_since() {
    let server = kpack::server(11);
    assert_eq!(check(&server, &json!({}), &Value::Null).json(), json!([version(11)]));
    let later = check(&server, &json!({}), &version(9));
    assert_eq!(later.json(), json!([version(9), version(10), version(11)]), "{later}");
}

#[test]
fn one_list_is_all_that_a_check_costs() {
    let server = kpack::server(3);
    let outcome = check(&server, &json!({}), &version(2));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let asked: Vec<String> = server.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(asked, ["/version", "/apis", BUILDS]);
}

#[test]
fn failed_builds_are_versions_when_they_are_asked_for() {
    let server = kpack::server(1);
    server.put(&build_path(2), failed(2, "no"));
    server.put(&build_path(3), kpack::build(3, "COMMIT"));
    assert_eq!(check(&server, &json!({}), &Value::Null).json(), json!([version(1)]));
    let any = check(&server, &json!({"status": "any"}), &version(1));
    assert_eq!(any.json(), json!([version(1), {"build": "2", "uid": uid(2)}]), "{any}");
}

#[test]
fn pruned_builds_and_an_image_made_anew_bring_no_old_version_back() {
    let server = kpack::server(9);
    for number in 1..=7 {
        server.remove(&build_path(number));
    }
    assert_eq!(check(&server, &json!({}), &version(5)).json(), json!([version(8), version(9)]));
    let mut anew = succeeded(1, "CONFIG");
    anew["metadata"]["uid"] = json!("another");
    anew["metadata"]["ownerReferences"][0]["uid"] = json!("another-image");
    for number in 8..=9 {
        server.remove(&build_path(number));
    }
    server.put(&build_path(1), anew);
    let outcome = check(&server, &json!({}), &version(9));
    assert_eq!(outcome.json()[0]["uid"], "another", "{outcome}");
}

#[test]
fn a_deleted_image_is_no_failure_of_a_check_that_knows_it() {
    let server = kpack::server(1);
    server.put("/apis/kpack.io/v1alpha2/namespaces/shop/images/other", kpack::image());
    server.remove(IMAGE);
    server.remove(&build_path(1));
    let outcome = check(&server, &json!({}), &version(1));
    assert_eq!((outcome.code, outcome.json()), (Some(0), json!([])), "{outcome}");
    assert!(outcome.stderr.contains("there is no Image `app` in namespace `shop`"), "{outcome}");
    let outcome = check(&server, &json!({}), &Value::Null);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("error: there is no Image `app` in namespace `shop`"), "{outcome}");
}

#[test]
fn an_image_without_builds_has_no_versions() {
    let server = kpack::server(0);
    assert_eq!(check(&server, &json!({}), &Value::Null).json(), json!([]));
}

#[test]
fn an_api_version_that_needs_a_missing_webhook_is_left_for_the_next() {
    let server = kpack::server(0);
    let old = "/apis/kpack.io/v1alpha1/namespaces/shop/builds";
    server.put(&format!("{old}/app-build-4"), succeeded(4, "COMMIT"));
    let why =
        "conversion webhook for kpack.io/v1alpha1, Kind=Build failed: service \"kpack-webhook\" not found";
    server.script(Method::GET, BUILDS, (500, "InternalError", why), 20);
    let outcome = check(&server, &json!({}), &Value::Null);
    assert_eq!(outcome.json(), json!([version(4)]), "{outcome}");
}

#[test]
fn the_oldest_kpack_is_read_with_its_own_prefixes() {
    let server = ApiServer::start();
    let text = succeeded(4, "COMMIT").to_string().replace("image.kpack.io/", "image.build.pivotal.io/");
    let path = "/apis/build.pivotal.io/v1alpha1/namespaces/shop/builds/app-build-4-x7b92";
    server.put(path, serde_json::from_str(&text).unwrap());
    let outcome = check(&server, &json!({}), &Value::Null);
    assert_eq!(outcome.json(), json!([version(4)]), "{outcome}");
}

#[test]
fn a_cluster_without_kpack_and_a_version_that_is_not_served_are_said() {
    let server = ApiServer::start();
    let outcome = check(&server, &json!({}), &Value::Null);
    assert!(outcome.stderr.contains("error: kpack is not in this cluster"), "{outcome}");
    let server = kpack::server(1);
    let outcome = check(&server, &json!({"api_version": "build.pivotal.io/v1alpha1"}), &Value::Null);
    assert!(
        outcome.stderr.contains("`source.api_version` is `build.pivotal.io/v1alpha1`, which"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("set it to one of kpack.io/v1alpha2"), "{outcome}");
}

#[test]
fn one_answer_that_fails_is_no_failure_of_a_check() {
    let server = kpack::server(1);
    let busy = (500, "InternalError", "etcdserver: request timed out");
    server.script(Method::GET, BUILDS, busy, 2);
    assert_eq!(check(&server, &json!({}), &Value::Null).json(), json!([version(1)]));
    server.script(Method::GET, BUILDS, busy, 99);
    let outcome = check(&server, &json!({}), &Value::Null);
    assert!(outcome.code == Some(1) && outcome.stderr.contains("etcdserver: request timed out"), "{outcome}");
}

#[test]
fn a_cursor_that_failed_or_was_deleted_brings_no_older_build_back() {
    let server = kpack::server(4);
    server.put(&build_path(5), failed(5, "no"));
    let cursor = json!({"build": "5", "uid": uid(5)});
    assert_eq!(check(&server, &json!({}), &cursor).json(), json!([]));
    server.remove(&build_path(5));
    assert_eq!(check(&server, &json!({}), &cursor).json(), json!([]));
    server.put(&build_path(6), succeeded(6, "COMMIT"));
    assert_eq!(check(&server, &json!({}), &cursor).json(), json!([version(6)]));
}

#[test]
fn rights_that_are_missing_are_named_with_the_role_that_has_them() {
    let server = kpack::server(1);
    let why = "builds.kpack.io is forbidden: User \"ci\" cannot list resource \"builds\"";
    server.script(Method::GET, BUILDS, (403, "Forbidden", why), 9);
    let outcome = check(&server, &json!({}), &Value::Null);
    assert!(outcome.stderr.contains("error: failed to list builds in `shop`"), "{outcome}");
    assert!(
        outcome.stderr.contains("hint: let the Role of that namespace allow it: kpack/pipeline-role.yml"),
        "{outcome}"
    );
}
