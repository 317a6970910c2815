//! A rollout that cannot succeed ends as soon as that is certain. The test plays the controllers and
//! the kubelets; the registry is not there.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit, finish};

const SETS: &str = "/apis/apps/v1/namespaces/shop/replicasets";
const SET_UID: &str = "b5ce10e4-0000-4000-8000-000000000005";

/// Runs a put while `play` follows the Deployment with a ReplicaSet that has this status and these pods.
fn put(server: &ApiServer, status: &Value, pods: &[Value]) -> (Outcome, Duration) {
    let toolkit = Toolkit::new().variable("NO_COLOR", "1");
    let request = json!({
        "source": {"server": server.url(), "token": TOKEN, "namespace": "shop", "deployment": "app"},
        "params": {
            "reference": format!("{}:v2@{}", shop::REPOSITORY, shop::digest('b')),
            "drain": "none", "wait_until_ready": 60,
        },
    });
    let started = Instant::now();
    let mut child = toolkit.binary("rollout").arg("out").arg(toolkit.directory()).start_without_stdin();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    while child.try_wait().unwrap().is_none() {
        follow(server, status, pods);
        std::thread::sleep(Duration::from_millis(20));
    }
    (finish(&toolkit, child, b""), started.elapsed())
}

/// The controllers: one new ReplicaSet for the new image, and everything observed.
fn follow(server: &ApiServer, status: &Value, pods: &[Value]) {
    let mut deployment = server.object(shop::DEPLOYMENT).unwrap();
    if deployment["metadata"]["generation"] == deployment["status"]["observedGeneration"] {
        return;
    }
    let path = format!("{SETS}/app-8d1");
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    if server.object(&path).is_none() && image.ends_with(&shop::digest('b')) {
        let mut set = server.object(&format!("{SETS}/app-7c9")).unwrap();
        set["metadata"]["name"] = json!("app-8d1");
        set["metadata"]["uid"] = json!(SET_UID);
        set["spec"]["template"] = deployment["spec"]["template"].clone();
        set["status"] = status.clone();
        server.put(&path, set);
        for pod in pods {
            let name = pod["metadata"]["name"].as_str().unwrap();
            server.put(&format!("/api/v1/namespaces/shop/pods/{name}"), pod.clone());
        }
    }
    if image.ends_with(&shop::digest('a')) {
        // The way back: the pods that failed end.
        for pod in pods {
            server.remove(&format!(
                "/api/v1/namespaces/shop/pods/{}",
                pod["metadata"]["name"].as_str().unwrap()
            ));
        }
        server.remove(&path);
    }
    deployment["status"]["observedGeneration"] = deployment["metadata"]["generation"].clone();
    server.put(shop::DEPLOYMENT, deployment);
}

fn mk_pod(number: u32, container: &Value) -> Value {
    let mut pod = shop::pod(number, 'b');
    pod["metadata"]["name"] = json!(format!("app-8d1-{number}"));
    pod["metadata"]["uid"] = json!(format!("b5ce10e4-0000-4000-8000-00000000002{number}"));
    pod["metadata"]["ownerReferences"][0]["uid"] = json!(SET_UID);
    pod["spec"]["nodeName"] = json!("node-1");
    pod["status"]["conditions"][0]["status"] = json!("False");
    let status = &mut pod["status"]["containerStatuses"][0];
    status["ready"] = json!(false);
    for (key, value) in container.as_object().unwrap() {
        status[key] = value.clone();
    }
    pod
}

#[test]
fn pods_that_are_refused_for_a_missing_service_account_end_it_at_once() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let message = "pods \"app-8d1-\" is forbidden: error looking up service account shop/robot: serviceaccount \"robot\" not found";
    let status = json!({"replicas": 0, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
    ]});
    let (outcome, took) = put(&server, &status, &[]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("(F601"), "{outcome}");
    assert!(outcome.stderr.contains("serviceaccount \"robot\" not found"), "{outcome}");
    assert!(took < Duration::from_secs(20), "{took:?}: {outcome}");
    let trials =
        server.seen().into_iter().filter(|seen| seen.method == "POST" && seen.path.ends_with("/pods"));
    assert!(trials.into_iter().all(|seen| seen.query.contains("dryRun=All")));
}

#[test]
fn an_image_that_two_nodes_do_not_find_ends_it_when_nobody_else_can_be_asked() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let message = "rpc error: code = NotFound desc = failed to pull and unpack image \"x\": failed to resolve reference \"x\": x: not found";
    let waiting =
        json!({"imageID": "", "state": {"waiting": {"reason": "ErrImagePull", "message": message}}});
    let pods = [mk_pod(1, &waiting), mk_pod(2, &waiting)];
    let (outcome, took) = put(&server, &json!({"replicas": 2}), &pods);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("(F101"), "{outcome}");
    assert!(outcome.stderr.contains("pod app-8d1-1 (×2) on node node-1"), "{outcome}");
    assert!(outcome.stderr.contains("hint: push the image"), "{outcome}");
    assert!(took < Duration::from_secs(20), "{took:?}: {outcome}");
}

#[test]
fn a_program_for_another_processor_is_told_by_its_log() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    server.log("app-8d1-1", "app", &["exec /app/server: exec format error"]);
    let crash = json!({"imageID": "", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 255, "reason": "Error"}}});
    let (outcome, _) = put(&server, &json!({"replicas": 1}), &[mk_pod(1, &crash)]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("(F206") && outcome.stderr.contains("TEMPLATE"), "{outcome}");
    assert!(outcome.stderr.contains("hint: build the image for the nodes' platform"), "{outcome}");
}

#[test]
fn a_namespace_full_of_services_is_listed_once_and_its_endpoints_never() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    for number in 0..30 {
        let name = format!("other-{number}");
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
        });
        server.put(&format!("/api/v1/namespaces/shop/services/{name}"), service);
    }
    let crash = json!({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": "no license"}}});
    let (outcome, _) = put(&server, &json!({"replicas": 1}), &[mk_pod(1, &crash)]);
    assert!(outcome.stderr.contains("no license") && outcome.stderr.contains("(F301"), "{outcome}");
    let seen = server.seen();
    let services = seen.iter().filter(|seen| seen.path.ends_with("/services")).count();
    let slices: Vec<_> = seen.iter().filter(|seen| seen.path.ends_with("/endpointslices")).collect();
    assert!(services <= 3, "{services}");
    assert!(
        slices.iter().all(|seen| seen.query.contains("service-name") && !seen.query.contains("other")),
        "{slices:?}"
    );
}
