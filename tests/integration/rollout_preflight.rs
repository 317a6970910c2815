//! What the preflight rules learn from an API server, and that nothing is written before they had their
//! say.

use std::io::Write;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit, finish};

/// Runs the put while the test plays the controllers, until it ends.
fn put(server: &ApiServer, params: &Value) -> Outcome {
    let toolkit = Toolkit::new().variable("NO_COLOR", "1");
    let mut request = json!({
        "source": {"server": server.url(), "token": TOKEN, "namespace": "shop", "deployment": "app"},
        "params": {"reference": format!("{}@{}", shop::REPOSITORY, shop::digest('b')), "drain": "rolling",
            "settle": 0},
    });
    json_patch::merge(&mut request["params"], params);
    let mut child = toolkit.binary("rollout").arg("out").arg(toolkit.directory()).start_without_stdin();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    while child.try_wait().unwrap().is_none() {
        if !shop::reconcile(server) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    finish(&toolkit, child, b"")
}

fn server() -> ApiServer {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    server
}

fn full_quota(server: &ApiServer) {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": "shop"},
        "status": {"hard": {"pods": "3"}, "used": {"pods": "3"}}});
    server.put("/api/v1/namespaces/shop/resourcequotas/small", quota);
}

#[test]
fn rollout_that_cannot_succeed_is_refused_before_anything_is_written() {
    let server = server();
    full_quota(&server);
    let outcome = put(&server, &json!({}));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains("refused: quota `small`: 0 of 3 `pods` left"), "{outcome}");
    assert!(outcome.stderr.contains("(C605)"), "{outcome}");
    assert!(
        outcome.stderr.contains("hint: raise the quota; `allow: [C605]` goes ahead all the same"),
        "{outcome}"
    );
    assert!(server.writes().is_empty());
}

#[test]
fn allowed_rule_is_said_and_does_not_stop_it() {
    let server = server();
    full_quota(&server);
    let outcome = put(&server, &json!({"allow": ["C605"]}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("allowed: quota `small`"), "{outcome}");
}

#[test]
fn pod_that_the_api_server_refuses_is_refused_in_its_words() {
    let server = server();
    let words = "pods \"app-preflight-x\" is forbidden: error looking up service account shop/gone";
    server.refuse_trials((403, "Forbidden", words));
    let outcome = put(&server, &json!({}));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains(&format!("refuses a pod of the new template: {words}")), "{outcome}");
    assert!(outcome.stderr.contains("(C606)"), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn key_that_a_config_map_does_not_have_is_found_and_its_content_is_told_to_nobody() {
    let server = server();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf", "namespace": "shop"},
        "data": {"other": "canary-content-77"}});
    server.put("/api/v1/namespaces/shop/configmaps/conf", map);
    let mut deployment = server.object(shop::DEPLOYMENT).unwrap();
    let variable = json!({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "url"}}});
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([variable]);
    server.put(shop::DEPLOYMENT, deployment);
    let outcome = put(&server, &json!({"allow": ["T007"]}));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("`configmap/conf` has no key `url`"), "{outcome}");
    assert!(outcome.stderr.contains("(C607)") && !outcome.stderr.contains("canary-content"), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn questions_that_may_not_be_asked_are_one_line_and_stop_nothing() {
    let server = server();
    for path in [
        "/api/v1/nodes",
        "/api/v1/pods",
        "/apis",
        "/api/v1/namespaces/shop/resourcequotas",
        "/api/v1/namespaces/shop/limitranges",
        "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers",
        "/apis/policy/v1/namespaces/shop/poddisruptionbudgets",
        "/api/v1/namespaces/shop/persistentvolumeclaims",
        "/apis/networking.k8s.io/v1/namespaces/shop/ingresses",
    ] {
        server.script(Method::GET, path, (403, "Forbidden", "no"), 9);
    }
    let words = "pods is forbidden: User \"u\" cannot create resource \"pods\" in API group \"\"";
    server.refuse_trials((403, "Forbidden", words));
    let outcome = put(&server, &json!({}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let lines: Vec<&str> =
        outcome.stderr.lines().filter(|line| line.contains("not checked for want of")).collect();
    assert_eq!(lines.len(), 1, "{outcome}");
    for skipped in ["list resourcequotas (C605)", "list nodes (", "create pods (dry-run) (C606)"] {
        assert!(lines[0].contains(skipped), "{skipped} of {}", lines[0]);
    }
}

#[test]
fn a_policy_that_keeps_pods_from_being_relabelled_is_heard_before_anything_is_written() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    server.refuse_relabelling("admission webhook \"require-labels\" denied the request: `app` is missing");
    let reference = format!("{}@{}", shop::REPOSITORY, shop::digest('b'));
    let request = json!({
        "source": {"server": server.url(), "token": TOKEN, "namespace": "shop", "deployment": "app"},
        "params": {"reference": reference, "drain": "detached", "settle": 0},
    });
    let toolkit = Toolkit::new().variable("NO_COLOR", "1");
    let mut child = toolkit.binary("rollout").arg("out").arg(toolkit.directory()).start_without_stdin();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    while child.try_wait().unwrap().is_none() {
        if !shop::reconcile(&server) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let outcome = finish(&toolkit, child, b"");
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome.stderr.contains("drain rolling")
            && outcome.stderr.contains("relabelling them is refused: adm"),
        "{outcome}"
    );
}

#[test]
fn closed_window_stops_it_and_an_open_one_does_not() {
    let server = server();
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let other = |days: i32| (today + jiff::Span::new().days(days)).strftime("%A").to_string();
    let outcome = put(&server, &json!({"windows": [{"days": [other(2), other(3), other(4)]}]}));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("and rollouts start only on: "), "{outcome}");
    assert!(outcome.stderr.contains("(O805)") && server.writes().is_empty(), "{outcome}");
    let open = put(&server, &json!({"windows": [{"location": "Europe/Zurich"}], "strict": false}));
    assert_eq!(open.code, Some(0), "{open}");
}

#[test]
fn wrong_window_is_told_by_key_and_value() {
    let server = server();
    let outcome = put(&server, &json!({"windows": [{"start": "9", "stop": "17:00"}]}));
    assert!(outcome.stderr.contains("`params.windows[0].start`: `9` is not a time of day"), "{outcome}");
    let outcome = put(&server, &json!({"allow": ["C999"]}));
    assert!(outcome.stderr.contains("`params.allow` names `C999`, and there is no such rule"), "{outcome}");
    assert!(server.seen().is_empty());
}

#[test]
fn survey_costs_the_same_however_many_objects_there_are() {
    let count = |others: u32| {
        let server = server();
        for number in 0..others {
            let pod = json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("other-{number}"), "namespace": "shop", "uid": format!("u{number}")},
                "spec": {"containers": [{"name": "x", "image": "x"}]}});
            server.put(&format!("/api/v1/namespaces/shop/pods/other-{number}"), pod);
        }
        let outcome = put(&server, &json!({"windows": [], "strict": true, "allow": ["C608"]}));
        let before: Vec<_> = server
            .seen()
            .into_iter()
            .take_while(|seen| seen.method != "PATCH" || seen.query.contains("dryRun"))
            .collect();
        (before.len(), outcome)
    };
    let ((few, outcome), (many, _)) = (count(0), count(60));
    assert!(few == many && few < 30, "{few} and {many} requests\n{outcome}");
}
