//! put, check and get of StatefulSets, DaemonSets and of several workloads. The test plays the controllers.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN};
use crate::support::sets::{AGENT, DB, Kind};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit, finish};

fn toolkit() -> Toolkit {
    Toolkit::new().variable("NO_COLOR", "1")
}

fn source(server: &ApiServer, part: &Value) -> Value {
    let mut source = json!({"server": server.url(), "token": TOKEN, "namespace": "shop"});
    for (key, value) in part.as_object().into_iter().flatten() {
        source[key] = value.clone();
    }
    source
}

fn put(server: &ApiServer, toolkit: &Toolkit, part: &Value, play: impl Fn() -> bool) -> Outcome {
    let reference = format!("{}@{}", shop::REPOSITORY, shop::digest('b'));
    let params = json!({"reference": reference, "wait_until_ready": 20, "settle": 0});
    let request = json!({"source": source(server, part), "params": params}).to_string();
    let mut child = toolkit.binary("rollout").arg("out").arg(toolkit.directory()).start_without_stdin();
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    while child.try_wait().unwrap().is_none() {
        if !play() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    finish(toolkit, child, b"")
}

fn roll(server: &ApiServer, kind: Kind, part: &Value) -> Outcome {
    put(server, &toolkit(), part, || kind.reconcile(server))
}

fn check(server: &ApiServer, part: &Value) -> Outcome {
    let request = json!({"source": source(server, part)}).to_string();
    toolkit().step("rollout", "check", None, &request)
}

#[test]
fn stateful_set_is_rolled_one_pod_after_the_other_and_says_so_before() {
    let server = ApiServer::start();
    DB.fill(&server, 'a');
    let part = json!({"statefulset": "db"});
    assert_eq!(check(&server, &part).json()[0]["revision"], json!("4"));
    let outcome = roll(&server, DB, &part);
    let version = json!({"digest": shop::digest('b'), "revision": "5", "uid": "uid-db"});
    assert_eq!(outcome.json()["version"], version, "{outcome}");
    assert!(outcome.stderr.contains("3 in turn"), "{outcome}");
    let set = server.object(DB.path).unwrap();
    assert_eq!(
        set["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    );
    assert!(server.writes().iter().filter(|seen| seen.method != "POST").all(|seen| seen.path == DB.path));
    let lease = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/rollway-statefulset-db";
    let owner = server.object(lease).unwrap()["metadata"]["ownerReferences"][0].clone();
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("StatefulSet"), &json!("uid-db")), "{owner}");
    assert_eq!(check(&server, &part).json(), json!([version]));
}

#[test]
fn daemon_set_surges_while_it_rolls_and_has_its_own_strategy_afterwards() {
    let server = ApiServer::start();
    AGENT.fill(&server, 'a');
    let before = server.object(AGENT.path).unwrap()["spec"]["updateStrategy"].clone();
    let outcome = roll(&server, AGENT, &json!({"daemonset": "agent"}));
    assert_eq!(outcome.json()["version"]["revision"], json!("5"), "{outcome}");
    let bodies: Vec<String> = server.writes().into_iter().map(|seen| seen.body).collect();
    let surges = bodies
        .iter()
        .any(|body| body.contains(r#""path":"/spec/updateStrategy""#) && body.contains(r#""maxSurge":1"#));
    assert!(surges, "{bodies:?}");
    assert_eq!(server.object(AGENT.path).unwrap()["spec"]["updateStrategy"], before);
}

#[test]
fn owner_of_a_stateful_set_is_asked_for_as_the_kind_that_it_is() {
    let server = ApiServer::start();
    DB.fill(&server, 'a');
    let outcome = roll(&server, DB, &json!({"statefulset": "db"}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let tried =
        server.seen().into_iter().find(|seen| seen.method == "PATCH" && seen.query.contains("dryRun"));
    let tried = tried.expect("the owners are asked for");
    assert_eq!(tried.path, DB.path);
    assert_eq!(serde_json::from_str::<Value>(&tried.body).unwrap()["kind"], json!("StatefulSet"));
}

#[test]
fn nothing_is_found_while_the_pods_of_a_set_differ() {
    let server = ApiServer::start();
    DB.fill(&server, 'a');
    server.put(&DB.pod_path(1), DB.pod(1, 'b'));
    assert_eq!(check(&server, &json!({"statefulset": "db"})).json(), json!([]));
}

#[test]
fn get_of_a_set_tells_what_ran() {
    let server = ApiServer::start();
    DB.fill(&server, 'a');
    let version = json!({"digest": shop::digest('a'), "revision": "4", "uid": "uid-db"});
    let toolkit = toolkit();
    let request = json!({"source": source(&server, &json!({"statefulset": "db"})), "version": version});
    let directory = toolkit.folder("get");
    let outcome = toolkit.step("rollout", "in", Some(&directory), &request.to_string());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let record: Value =
        serde_json::from_str(&std::fs::read_to_string(directory.join("rollout.json")).unwrap()).unwrap();
    assert_eq!((&record["statefulset"], &record["current"]), (&json!("db"), &json!(true)), "{record}");
    assert_eq!(record["pods"].as_object().unwrap().len(), 3);
}

#[test]
fn set_whose_pods_are_only_replaced_by_hand_is_refused() {
    let server = ApiServer::start();
    DB.fill(&server, 'a');
    let mut set = server.object(DB.path).unwrap();
    set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    server.put(DB.path, set);
    let outcome = roll(&server, DB, &json!({"statefulset": "db"}));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("the update strategy is OnDelete"), "{outcome}");
    assert!(outcome.stderr.contains("hint: set updateStrategy.type to RollingUpdate"), "{outcome}");
    assert!(server.writes().iter().all(|seen| seen.method == "POST"), "{:?}", server.writes());
}

/// Two StatefulSets under one label; only `db` is played.
fn two(server: &ApiServer) {
    for kind in [DB, DB.called("cache")] {
        kind.fill(server, 'a');
        let mut set = server.object(&kind.address()).unwrap();
        set["metadata"]["labels"] = json!({"team": "a"});
        server.put(&kind.address(), set);
    }
}

#[test]
fn several_workloads_are_one_version_and_each_tells_under_its_name() {
    let server = ApiServer::start();
    two(&server);
    let part = json!({"selector": "team=a", "kind": "statefulset"});
    let cache = DB.called("cache");
    let outcome = put(&server, &toolkit(), &part, || DB.reconcile(&server) | cache.reconcile(&server));
    assert_eq!(outcome.json()["version"]["revision"], json!("cache=5,db=5"), "{outcome}");
    assert!(outcome.stderr.contains("cache: image written") && outcome.stderr.contains("db: image written"));
    assert_eq!(check(&server, &part).json()[0], outcome.json()["version"]);
}

#[test]
fn workloads_that_were_not_begun_are_named_when_one_fails() {
    let server = ApiServer::start();
    two(&server);
    let outcome = put(&server, &toolkit(), &json!({"statefulset": ["cash", "db"]}), || DB.reconcile(&server));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains("1 of 2 workloads failed; cash: there is no StatefulSet `cash`"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("not begun: db"), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn selector_that_selects_nothing_tells_the_labels_there_are() {
    let server = ApiServer::start();
    two(&server);
    let outcome = check(&server, &json!({"selector": "team=b", "kind": "statefulset"}));
    assert!(
        outcome.stderr.contains("no StatefulSet in namespace `shop` has the labels `team=b`"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("team=a"), "{outcome}");
}
