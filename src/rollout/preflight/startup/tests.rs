use serde_json::{Value, json};

use crate::rollout::preflight::facts::Findings;
use crate::rollout::preflight::facts::Severity::{Block, Warn};
use crate::rollout::preflight::tests::{Case, Scene};

pub(in crate::rollout::preflight) const CASES: &[Case] = &[
    Case {
        rule: "R301",
        severity: Warn,
        says: "3 pods get traffic as soon as their process starts",
        triggers: || Scene::fine().container(&json!({ "readinessProbe": null })).inspect(),
        silent: || {
            let gates = json!({ "readinessGates": [{ "conditionType": "example.com/in" }] });
            Scene::fine().container(&json!({ "readinessProbe": null })).pod_spec(&gates).inspect()
        },
    },
    Case {
        rule: "R302",
        severity: Warn,
        says: "starts in up to 8 s and its livenessProbe kills it after 11 s",
        triggers: || probes(&json!({ "livenessProbe": budget(5, 3, 2) })),
        silent: || probes(&json!({ "livenessProbe": budget(6, 3, 2) })),
    },
    Case {
        rule: "R303",
        severity: Warn,
        says: "starts in up to 8 s and its startupProbe gives up after 10 s",
        triggers: || probes(&json!({ "startupProbe": budget(0, 5, 2) })),
        silent: || probes(&json!({ "startupProbe": budget(0, 6, 2), "livenessProbe": budget(0, 1, 1) })),
    },
    Case {
        rule: "R304",
        severity: Warn,
        says: "a pod that is only busy is killed",
        triggers: || probes(&json!({ "livenessProbe": ready(3) })),
        silent: || probes(&json!({ "livenessProbe": ready(10) })),
    },
    Case {
        rule: "R305",
        severity: Block,
        says: "the startupProbe of container `main` asks port `web`, which it does not declare",
        triggers: || probes(&json!({ "startupProbe": port(&json!("web")) })),
        silent: || probes(&json!({ "startupProbe": port(&json!(81)) })),
    },
    Case {
        rule: "R306",
        severity: Warn,
        says: "service `app` sends traffic to pods that are not ready: 3 pods",
        triggers: || published("10.0.0.9"),
        silent: || published("None"),
    },
    Case {
        rule: "R307",
        severity: Warn,
        says: "restarted 3 times, last 5 min ago",
        triggers: || restarted(3, "2026-01-01T23:55:00Z"),
        silent: || restarted(3, "2026-01-01T22:55:00Z"),
    },
];

fn probes(part: &Value) -> Findings {
    Scene::fine().new_container(part).inspect()
}

fn budget(delay: i32, failures: i32, period: i32) -> Value {
    json!({
        "tcpSocket": { "port": 8080 }, "initialDelaySeconds": delay, "failureThreshold": failures,
        "periodSeconds": period,
    })
}

fn ready(failures: i32) -> Value {
    json!({
        "httpGet": { "path": "/ready", "port": "http" }, "periodSeconds": 5, "failureThreshold": failures,
    })
}

fn port(port: &Value) -> Value {
    json!({ "tcpSocket": { "port": port } })
}

fn published(address: &str) -> Findings {
    let part = json!({ "spec": { "publishNotReadyAddresses": true, "clusterIP": address } });
    Scene::fine().service(&part).inspect()
}

fn restarted(count: i32, ended: &str) -> Findings {
    let last = json!({ "terminated": { "exitCode": 1, "finishedAt": ended } });
    Scene::fine()
        .but(|scene| {
            let mut value = serde_json::to_value(&scene.snapshot.pods[1]).unwrap();
            let status = &mut value["status"]["containerStatuses"][0];
            status["restartCount"] = json!(count);
            status["lastState"] = last;
            scene.snapshot.pods[1] = serde_json::from_value(value).unwrap();
        })
        .inspect()
}

#[test]
fn twice_is_not_a_habit() {
    assert!(!restarted(2, "2026-01-01T23:55:00Z").by_rule().contains_key("R307"));
}

#[test]
fn services_that_nobody_may_list_are_said() {
    let findings = Scene::fine().but(|scene| scene.snapshot.routing = None).inspect();
    for rule in ["R301", "R306"] {
        let skipped = findings.skipped.iter().find(|skipped| skipped.rule == rule);
        assert_eq!(skipped.map(|skipped| skipped.needs.as_str()), Some("list services"), "{rule}");
    }
}
