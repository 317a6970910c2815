//! check: what really runs, and nothing while that is not one thing.

use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit};

fn check(server: &ApiServer, source: &Value, cursor: &Value) -> Outcome {
    let mut request = json!({"source": {"server": server.url(), "token": TOKEN, "namespace": "shop",
        "deployment": "app"}, "version": cursor});
    for (key, value) in source.as_object().into_iter().flatten() {
        request["source"][key] = value.clone();
    }
    Toolkit::new().step("rollout", "check", None, &request.to_string())
}

fn current(letter: char) -> Value {
    json!({"digest": shop::digest(letter), "revision": "4", "uid": shop::UID})
}

#[test]
fn first_check_finds_the_digest_that_runs_on_every_pod() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let outcome = check(&server, &json!({}), &Value::Null);
    assert_eq!(outcome.json(), json!([current('a')]), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn state_that_was_seen_before_is_no_news() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let outcome = check(&server, &json!({}), &current('a'));
    assert_eq!(outcome.json(), json!([current('a')]), "{outcome}");
    let outcome = check(&server, &json!({}), &current('b'));
    assert_eq!(outcome.json(), json!([current('a')]), "{outcome}");
}

#[test]
fn nothing_is_found_while_a_pod_runs_something_else() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    server.put(&shop::pod_path(2), shop::pod(2, 'b'));
    let outcome = check(&server, &json!({}), &Value::Null);
    assert_eq!((outcome.code, outcome.json()), (Some(0), json!([])), "{outcome}");
}

#[test]
fn nothing_is_found_before_the_controller_has_seen_the_change() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let mut deployment = shop::deployment('a');
    deployment["metadata"]["generation"] = json!(5);
    server.put(shop::DEPLOYMENT, deployment);
    let outcome = check(&server, &json!({}), &Value::Null);
    assert_eq!((outcome.code, outcome.json()), (Some(0), json!([])), "{outcome}");
}

#[test]
fn unknown_deployment_is_an_error_with_the_names_there_are() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let outcome = check(&server, &json!({"deployment": "ap"}), &Value::Null);
    insta::assert_snapshot!(outcome.to_string(), @r"
    exit 1
    --- stderr
    error: there is no Deployment `ap` in namespace `shop`
    hint: the Deployments in `shop` are `app`
    ");
}

#[test]
fn missing_right_is_an_error_that_names_the_role() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let refusal = "deployments.apps \"app\" is forbidden: User \"system:serviceaccount:rollway:deployer\" cannot get \
                   resource \"deployments\" in API group \"apps\" in the namespace \"shop\"";
    server.script(axum::http::Method::GET, shop::DEPLOYMENT, (403, "Forbidden", refusal), 1);
    let outcome = check(&server, &json!({}), &Value::Null);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("cannot get resource \"deployments\""), "{outcome}");
    assert!(outcome.stderr.contains("hint: let the Role of that namespace allow it"), "{outcome}");
}

#[test]
fn debug_says_where_it_looked() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let outcome = check(&server, &json!({"debug": true}), &Value::Null);
    assert!(
        outcome.stderr.contains(&format!("API server {} v1.34.1, namespace shop", server.url())),
        "{outcome}"
    );
}

#[test]
fn a_name_that_is_too_long_for_a_label_is_looked_at_without_asking_for_what_cannot_be() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let name = "shop-".repeat(12) + "front";
    let mut deployment = server.object(shop::DEPLOYMENT).unwrap();
    deployment["metadata"]["name"] = json!(name);
    server.put(&shop::DEPLOYMENT.replace("deployments/app", &format!("deployments/{name}")), deployment);
    let source = json!({"server": server.url(), "token": TOKEN, "namespace": "shop", "deployment": name});
    let outcome = Toolkit::new().step("rollout", "check", None, &json!({"source": source}).to_string());
    assert_eq!(outcome.json()[0]["digest"], json!(shop::digest('a')), "{outcome}");
    assert!(server.seen().iter().all(|seen| !seen.query.contains("detached")), "{:?}", server.seen());
}
