//! put: one write with preconditions, then the proof. The test plays the controllers.

use std::io::Write;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::probe::Shaky;
use crate::support::apiserver::{ApiServer, Seen, TOKEN};
use crate::support::registry::{Fault, Registry};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit, finish};

fn toolkit() -> Toolkit {
    Toolkit::new().variable("NO_COLOR", "1")
}

fn request(server: &ApiServer, params: &Value) -> String {
    let mut request = json!({
        "source": {"server": server.url(), "token": TOKEN, "namespace": "shop", "deployment": "app"},
        "params": {"reference": format!("{}:v2@{}", shop::REPOSITORY, shop::digest('b')), "drain": "none", "settle": 0},
    });
    for (key, value) in params.as_object().into_iter().flatten() {
        request["params"][key] = value.clone();
    }
    request.to_string()
}

/// Runs the put while the test plays the controllers, until it ends.
fn put(server: &ApiServer, toolkit: &Toolkit, params: &Value) -> Outcome {
    put_with(server, toolkit, &request(server, params))
}

fn put_with(server: &ApiServer, toolkit: &Toolkit, request: &str) -> Outcome {
    let run = toolkit.binary("rollout").arg("out").arg(toolkit.directory());
    let mut child =
        run.variable("BUILD_ID", "7").variable("ATC_EXTERNAL_URL", "https://ci").start_without_stdin();
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    while child.try_wait().unwrap().is_none() {
        if !shop::reconcile(server) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    finish(toolkit, child, b"")
}

fn operations(seen: &Seen) -> Vec<Value> {
    assert_eq!(seen.method, "PATCH", "{seen:?}");
    serde_json::from_str(&seen.body).unwrap()
}

#[test]
fn image_is_written_in_one_patch_that_tests_what_it_replaces() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let toolkit = toolkit();
    let outcome = put(&server, &toolkit, &json!({}));
    let version = json!({"digest": shop::digest('b'), "revision": "5", "uid": shop::UID});
    assert_eq!(outcome.json()["version"], version, "{outcome}");
    let writes = server.writes();
    let first = operations(&writes[0]);
    let old = json!(format!("{}@{}", shop::REPOSITORY, shop::digest('a')));
    let tested = first.iter().any(|operation| operation["op"] == json!("test") && operation["value"] == old);
    assert!(tested, "{first:?}");
    assert!(writes[0].query.contains("fieldManager=rollway"), "{:?}", writes[0]);
    assert!(writes.iter().all(|seen| seen.path == shop::DEPLOYMENT), "{writes:?}");
    let annotations = &server.object(shop::DEPLOYMENT).unwrap()["metadata"]["annotations"];
    assert_eq!(annotations["rollway.dev/digest"], json!(shop::digest('b')));
    assert_eq!(annotations["rollway.dev/tag"], json!("v2"));
    assert_eq!(annotations["rollway.dev/previous"], old);
}

#[test]
fn init_container_gets_the_image_in_the_same_patch_and_is_proven_too() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    shop::with_init_container(&server, "migrate", 'a');
    let toolkit = toolkit();
    let request = |server: &ApiServer, params: &Value| {
        let mut request: Value = serde_json::from_str(&request(server, params)).unwrap();
        request["source"]["container"] = json!(["app", "migrate"]);
        request.to_string()
    };
    let outcome = put_with(&server, &toolkit, &request(&server, &json!({})));
    assert_eq!(outcome.json()["version"]["digest"], json!(shop::digest('b')), "{outcome}");
    let image = json!(format!("{}@{}", shop::REPOSITORY, shop::digest('b')));
    let written = operations(&server.writes()[0]);
    for list in ["containers", "initContainers"] {
        let path = json!(format!("/spec/template/spec/{list}/0/image"));
        let is_written = |operation: &Value| operation["path"] == path && operation["value"] == image;
        assert!(written.iter().any(is_written), "{list}: {written:?}");
    }
    let mut pod = server.object("/api/v1/namespaces/shop/pods/app-8d1-2").unwrap();
    pod["status"]["initContainerStatuses"][0]["imageID"] = json!(format!("r@{}", shop::digest('a')));
    server.put("/api/v1/namespaces/shop/pods/app-8d1-2", pod);
    let outcome = put_with(&server, &toolkit, &request(&server, &json!({"wait_until_ready": 1})));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("container migrate of pod app-8d1-2 runs"), "{outcome}");
}

#[test]
fn zero_seconds_write_the_image_and_say_that_nothing_is_known() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let outcome = put(&server, &toolkit(), &json!({"wait_until_ready": "0"}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("not waiting: wait_until_ready is 0"), "{outcome}");
    assert_eq!(outcome.json()["version"]["digest"], json!(shop::digest('b')));
}

#[test]
fn second_put_of_the_same_digest_touches_nothing() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let toolkit = toolkit();
    let first = put(&server, &toolkit, &json!({}));
    let writes = server.writes().len();
    let second = put(&server, &toolkit, &json!({}));
    assert_eq!(second.json()["version"], first.json()["version"], "{second}");
    assert_eq!(server.writes().len(), writes);
}

#[test]
fn write_that_the_credentials_may_not_make_names_the_role() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let refusal = "deployments.apps \"app\" is forbidden: User \"u\" cannot patch resource \"deployments\"";
    server.script(Method::PATCH, shop::DEPLOYMENT, (403, "Forbidden", refusal), 1);
    let outcome = put(&server, &toolkit(), &json!({}));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains("cannot patch resource \"deployments\""), "{outcome}");
    assert!(outcome.stderr.contains("hint: let the Role of that namespace allow it"), "{outcome}");
}

#[test]
fn registry_that_cannot_be_asked_is_said_and_stops_nothing() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let outcome = put(&server, &toolkit(), &json!({}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("warning: cannot ask the registry about"), "{outcome}");
}

#[test]
fn digest_that_the_registry_does_not_have_is_never_written() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let registry = Registry::plain();
    registry.image("shop/app", "latest", &[]);
    let missing = format!("{}@{}", registry.repository("shop/app"), shop::digest('b'));
    let outcome = put(&server, &toolkit(), &json!({"reference": missing}));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains(&format!("error: `{missing}` is not in the registry")), "{outcome}");
    assert!(outcome.stderr.contains("hint: push it first"), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn pods_that_report_the_platforms_digest_prove_the_index() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let registry = Registry::plain();
    let child = registry.image("shop/app", "amd64", &[]);
    let index = registry.index("shop/app", "latest", &[("linux/amd64", &child)]);
    shop::run(&server, &format!("{}@{index}", registry.repository("shop/app")), &child);
    let reference = format!("{}@{index}", registry.repository("shop/app"));
    let outcome = put(&server, &toolkit(), &json!({"reference": reference}));
    assert_eq!(outcome.json()["version"]["digest"], json!(index), "{outcome}");
    assert!(outcome.stderr.contains("already there"), "{outcome}");
    assert!(server.writes().is_empty());
}

/// Rolls to an index whose pods report `reported`, at a registry that denies the first question.
fn put_of_an_index(registry: &Registry, index: &str, reported: &str) -> Outcome {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let reference = format!("{}@{index}", registry.repository("shop/app"));
    let line = format!("GET /v2/shop/app/manifests/{index}");
    registry.fault(&line, Fault::refusal(403, "DENIED", "not now"));
    let toolkit = toolkit();
    let run = toolkit.binary("rollout").arg("out").arg(toolkit.directory());
    let mut child = run.start_without_stdin();
    let params = json!({"reference": reference, "on_failure": "leave"});
    child.stdin.take().unwrap().write_all(request(&server, &params).as_bytes()).unwrap();
    while child.try_wait().unwrap().is_none() {
        let deployment = server.object(shop::DEPLOYMENT).unwrap();
        let is_written = deployment["spec"]["template"]["spec"]["containers"][0]["image"] == json!(reference);
        if is_written && deployment["metadata"]["generation"] != deployment["status"]["observedGeneration"] {
            shop::run(&server, &reference, reported);
            let mut seen = server.object(shop::DEPLOYMENT).unwrap();
            seen["status"]["observedGeneration"] = seen["metadata"]["generation"].clone();
            server.put(shop::DEPLOYMENT, seen);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    finish(&toolkit, child, b"")
}

#[test]
fn a_registry_that_denied_the_first_question_is_asked_again_while_a_digest_is_not_known() {
    let registry = Registry::plain();
    let child = registry.image("shop/app", "amd64", &[]);
    let index = registry.index("shop/app", "latest", &[("linux/amd64", &child)]);
    let outcome = put_of_an_index(&registry, &index, &child);
    assert!(outcome.stderr.contains("warning: cannot ask the registry about"), "{outcome}");
    assert_eq!(outcome.json()["version"]["digest"], json!(index), "{outcome}");
}

#[test]
fn a_digest_that_the_registry_does_not_count_to_the_image_ends_the_rollout() {
    let registry = Registry::plain();
    let child = registry.image("shop/app", "amd64", &[]);
    let index = registry.index("shop/app", "latest", &[("linux/amd64", &child)]);
    let outcome = put_of_an_index(&registry, &index, &shop::digest('e'));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains("does not count that to") && outcome.stderr.contains("F111"),
        "{outcome}"
    );
}

#[test]
fn a_probe_asks_all_the_while_and_its_requests_are_part_of_the_proof() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let app = Shaky::start();
    let outcome = put(&server, &toolkit(), &json!({"probe": {"url": app.url(), "rps": 50}, "settle": 1}));
    let fields = outcome.json()["metadata"].clone();
    let proof = fields.as_array().unwrap().iter().find(|field| field["name"] == "proof").unwrap();
    assert!(proof["value"].as_str().unwrap().contains("probe: 0 of "), "{outcome}");
    assert!(outcome.stderr.contains("settle"), "{outcome}");
}

#[test]
fn an_address_that_does_not_answer_stops_a_rollout_before_it_writes() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://bob:canary@{nobody}/health?key=canary");
    let outcome = put(&server, &toolkit(), &json!({"probe": {"url": url, "rps": 50}}));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let words = format!(
        "`probe.url` does not answer before anything is written: http://{nobody}/health: no connection"
    );
    assert!(outcome.stderr.contains(&words) && outcome.stderr.contains("hint: make it answer"), "{outcome}");
    assert!(!outcome.stderr.contains("canary"), "{outcome}");
    assert!(server.writes().is_empty());
    let metric = json!({"prometheus": {"url": format!("http://{nobody}"), "query": "up", "min": 1}});
    let outcome = put(&server, &toolkit(), &json!({"canary": {"checks": [metric]}}));
    assert!(outcome.stderr.contains("the canary's metric `up` cannot be asked"), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn keys_that_say_something_impossible_are_told_before_anything_is_written() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    for (params, wanted) in [
        (
            json!({"canary": {"checks": ["probe"]}}),
            "`canary.checks` asks for `probe`, and there is no `probe`",
        ),
        (json!({"canary": {}, "wait_until_ready": 0}), "`canary` is set, and nobody stays to watch it"),
        (
            json!({"probe": {"url": "app"}}),
            "`probe.url` has the address `app`, which is no URL that can be asked",
        ),
        (json!({"settle": 3601}), "`params.settle` is 3601, which is not between 0 and 3600 seconds"),
        (json!({"canary": {"pods": "100%"}}), "`100%` is not a number of pods above 0"),
    ] {
        let outcome = put(&server, &toolkit(), &params);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains(wanted), "{outcome}");
    }
    assert!(server.writes().is_empty());
}

#[test]
fn rule_that_forbids_to_start_writes_nothing_unless_it_is_allowed() {
    let recreate = || {
        let server = ApiServer::start();
        shop::fill(&server, 'a');
        let mut deployment = server.object(shop::DEPLOYMENT).unwrap();
        deployment["spec"]["strategy"] = json!({"type": "Recreate"});
        server.put(shop::DEPLOYMENT, deployment);
        server
    };
    let server = recreate();
    let refused = put(&server, &toolkit(), &json!({}));
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused}");
    assert!(
        refused.stderr.contains("error: strategy Recreate stops every pod first: an outage"),
        "{refused}"
    );
    assert!(refused.stderr.contains("`allow: [T008]`"), "{refused}");
    assert!(server.writes().is_empty());
    let server = recreate();
    let allowed = put(&server, &toolkit(), &json!({"allow": "T008"}));
    assert_eq!(allowed.code, Some(0), "{allowed}");
    assert!(allowed.stderr.contains("allowed: strategy Recreate"), "{allowed}");
}

#[test]
fn warnings_stop_only_a_strict_rollout() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let outcome = put(&server, &toolkit(), &json!({"strict": true}));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("refused: container `app` has no readinessProbe"), "{outcome}");
    assert!(server.writes().is_empty());
}
