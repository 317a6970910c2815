//! `rollway history`.

use insta::assert_snapshot;
use serde_json::json;

use crate::support::apiserver::{ApiServer, TOKEN, kubeconfig};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit};

fn history(server: &ApiServer, args: &[&str]) -> Outcome {
    let toolkit = Toolkit::new();
    let path = toolkit.file("kubeconfig", &kubeconfig(server, TOKEN));
    toolkit.binary("rollway").arg("history").args(args).arg("--kubeconfig").arg(path).run()
}

/// A Deployment that remembers a rollout that failed and the one before.
fn scene() -> ApiServer {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let image = |letter| format!("{}@{}", shop::REPOSITORY, shop::digest(letter));
    let records = json!([
        {"image": image('a'), "tag": "1.0", "build": "https://ci/7", "at": "2026-01-02T03:04:00Z",
         "outcome": "rolled", "revision": "4"},
        {"image": image('b'), "tag": "1.1", "build": "https://ci/8", "at": "2026-01-03T03:04:00Z",
         "outcome": "failed and rolled back"},
    ]);
    let mut deployment = server.object(shop::DEPLOYMENT).unwrap();
    deployment["metadata"]["annotations"]["rollway.dev/history"] = json!(records.to_string());
    server.put(shop::DEPLOYMENT, deployment);
    server
}

#[test]
fn newest_comes_first_and_what_runs_is_marked() {
    let server = scene();
    assert_snapshot!(history(&server, &["app"]), @r"
    exit 0
    --- stdout
    NOW  REVISION  DIGEST        TAG  WHEN                  BY            OUTCOME
         -         bbbbbbbbbbbb  1.1  2026-01-03T03:04:00Z  https://ci/8  failed and rolled back
    *    4         aaaaaaaaaaaa  1.0  2026-01-02T03:04:00Z  https://ci/7  rolled
    ");
    assert!(server.writes().is_empty());
}

#[test]
fn json_is_one_object_with_whole_images() {
    let document = history(&scene(), &["deployment/app", "-o", "json"]).json();
    assert_eq!(document["workload"], json!("shop/deployment/app"));
    assert_eq!(document["history"][0]["digest"], json!(shop::digest('b')));
    assert_eq!(
        (&document["history"][0]["current"], &document["history"][1]["current"]),
        (&json!(false), &json!(true))
    );
}

#[test]
fn deployment_that_is_not_there_is_told_with_those_that_are() {
    let outcome = history(&scene(), &["ap"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("hint: the Deployments in `shop` are `app`"), "{outcome}");
    let outcome = history(&scene(), &["app", "-c", "nope"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains("`nope`") && outcome.stderr.contains("\nhint: "), "{outcome}");
}
