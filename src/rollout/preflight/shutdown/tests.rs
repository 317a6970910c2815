use std::time::Duration;

use serde_json::{Value, json};

use crate::rollout::Drain;
use crate::rollout::annotations::DRAINS;
use crate::rollout::fixtures::mk;
use crate::rollout::preflight::facts::Severity::{Info, Warn};
use crate::rollout::preflight::facts::{Asked, Findings, Trial};
use crate::rollout::preflight::tests::{Case, Scene};

pub(in crate::rollout::preflight) const CASES: &[Case] = &[
    Case {
        rule: "D401",
        severity: Warn,
        says: "3 pods that run have no preStop hook: they stop while they still get traffic, expect refused connections for about a second per pod, at worst 5 s",
        triggers: || Scene::exposed().inspect(),
        silent: || {
            let declared = json!({ "metadata": { "annotations": { DRAINS: "20s" } } });
            let template = json!({ "spec": { "template": declared } });
            Scene::exposed().pods(&declared).deployment(&template).inspect()
        },
    },
    Case {
        rule: "D401",
        severity: Info,
        says: "nothing is lost, they leave their Services",
        triggers: || Scene::exposed().but(|scene| scene.obstacle = None).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "D401",
        severity: Info,
        says: "the new pods have no preStop hook",
        triggers: || Scene::fine().new_container(&json!({ "lifecycle": null })).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "D402",
        severity: Warn,
        says: "3 pods that run go on serving for 4 s, where 5 s are wanted",
        triggers: || rolling(&json!({ "sleep": { "seconds": 4 } })).inspect(),
        silent: || rolling(&json!({ "sleep": { "seconds": 5 } })).inspect(),
    },
    Case {
        rule: "D402",
        severity: Warn,
        says: "have a preStop hook of unknown length",
        triggers: || rolling(&exec("nginx -s quit")).inspect(),
        // No hook at all is the matter of another rule, also where no Service sends traffic.
        silent: || {
            Scene::exposed().but(|scene| scene.snapshot.routing.as_mut().unwrap().services.clear()).inspect()
        },
    },
    Case {
        rule: "D401",
        severity: Info,
        says: "3 pods that run have no preStop hook",
        triggers: || {
            Scene::exposed().but(|scene| scene.snapshot.routing.as_mut().unwrap().services.clear()).inspect()
        },
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "D402",
        severity: Info,
        says: "no Service sends them traffic",
        triggers: || {
            let short = rolling(&json!({ "sleep": { "seconds": 4 } }));
            short.but(|scene| scene.snapshot.routing.as_mut().unwrap().services.clear()).inspect()
        },
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "D403",
        severity: Warn,
        says: "the preStop hook of 3 pods that run runs a command of the image",
        triggers: || rolling(&exec("sleep 9")).inspect(),
        silent: || rolling(&exec("sleep 9")).but(|scene| scene.survey.server = Some((1, 29))).inspect(),
    },
    Case {
        rule: "D404",
        severity: Warn,
        says: "3 pods that run are killed 30 s after they are asked to end, and 10 s of serving on, 20 s of the app's own drain and 2 s need 32: work in flight",
        // A worker has work too.
        triggers: || {
            drained(30).but(|scene| scene.snapshot.routing.as_mut().unwrap().services.clear()).inspect()
        },
        silent: || drained(32).inspect(),
    },
    Case {
        rule: "D404",
        severity: Info,
        says: "the new pods are killed 30 s after",
        triggers: || Scene::fine().new_container(&json!({ "env": spring("PT20S") })).inspect(),
        silent: || Scene::fine().new_container(&json!({ "env": spring("soon") })).inspect(),
    },
    Case {
        rule: "D405",
        severity: Info,
        says: "3 pods that run do not: it protects the next rollout, not this one",
        triggers: || Scene::fine().old_container(&json!({ "lifecycle": null })).inspect(),
        silent: || Scene::exposed().inspect(),
    },
    Case {
        rule: "D406",
        severity: Warn,
        says: "istio-proxy in 3 pods that run does not wait for the application to end: its last requests are cut off",
        triggers: || meshed("istio-proxy", &json!({})).inspect(),
        silent: || {
            let env = json!([{ "name": "EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "value": "true" }]);
            meshed("istio-proxy", &json!({ "env": env })).inspect()
        },
    },
    Case {
        rule: "D406",
        severity: Warn,
        says: "linkerd-proxy in 3 pods that run",
        triggers: || meshed("linkerd-proxy", &json!({})).inspect(),
        silent: || {
            let hook = json!({ "lifecycle": { "preStop": { "sleep": { "seconds": 20 } } } });
            meshed("linkerd-proxy", &hook).inspect()
        },
    },
    Case {
        rule: "D407",
        severity: Warn,
        says: "container `main` has a native sleep as its preStop hook and the API server is 1.29",
        triggers: || Scene::fine().but(|scene| scene.survey.server = Some((1, 29))).inspect(),
        silent: || rolling(&exec("sleep 9")).but(|scene| scene.survey.server = Some((1, 29))).inspect(),
    },
    Case {
        rule: "D407",
        severity: Warn,
        says: "the API server drops it from the pod",
        triggers: || tried(&json!({ "name": "main" })),
        silent: || {
            tried(&json!({ "name": "main", "lifecycle": { "preStop": { "sleep": { "seconds": 10 } } } }))
        },
    },
];

fn exec(command: &str) -> Value {
    json!({ "exec": { "command": ["sh", "-c", command] } })
}

/// Returns a rolling update of pods with `hook`.
fn rolling(hook: &Value) -> Scene {
    let part = json!({ "lifecycle": { "preStop": null } });
    let hook = json!({ "lifecycle": { "preStop": hook } });
    Scene::fine().container(&part).container(&hook).but(|scene| scene.order.drain = Drain::Rolling)
}

fn spring(drain: &str) -> Value {
    json!([{ "name": "SPRING_LIFECYCLE_TIMEOUT_PER_SHUTDOWN_PHASE", "value": drain }])
}

fn drained(grace: i64) -> Scene {
    Scene::fine()
        .container(&json!({ "env": spring("20s") }))
        .pod_spec(&json!({ "terminationGracePeriodSeconds": grace }))
}

/// Returns a rolling update of pods with a proxy beside the application.
fn meshed(name: &str, part: &Value) -> Scene {
    let mut proxy = json!({ "name": name });
    proxy.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
    Scene::fine().but(|scene| {
        for pod in &mut scene.snapshot.pods {
            pod.spec.as_mut().unwrap().containers.push(mk(proxy.clone()));
        }
    })
}

fn tried(container: &Value) -> Findings {
    let pod = mk(json!({ "metadata": {}, "spec": { "containers": [container] } }));
    Scene::fine().but(|scene| scene.survey.trial = Asked::Known(Trial::Allowed(Box::new(pod)))).inspect()
}

#[test]
fn a_warning_says_what_would_prevent_it() {
    let denied = Scene::exposed().inspect();
    let hint = &denied.by_rule()["D401"].hint;
    assert!(hint.contains("the credentials may not patch pods"), "{hint}");
    assert!(hint.contains("a preStop sleep of 5 s in the template"), "{hint}");
    let chosen = Scene::exposed().but(|scene| scene.order.drain = Drain::None).inspect();
    assert!(chosen.by_rule()["D401"].hint.starts_with("`drain: detached` loses nothing"));
}

#[test]
fn the_drain_that_is_wanted_is_the_one_that_is_waited_for() {
    let scene = rolling(&json!({ "sleep": { "seconds": 10 } }));
    let scene = scene.but(|scene| scene.order.drain_wait = Duration::from_secs(15));
    assert!(scene.inspect().by_rule()["D402"].words.contains("where 15 s are wanted"));
}

#[test]
fn pods_that_are_out_of_their_services_already_are_not_counted() {
    let scene = Scene::exposed().but(|scene| {
        let mark = json!({ "metadata": { "labels": { crate::rollout::annotations::DETACHED: "app" } } });
        scene.snapshot.pods[0] = crate::rollout::fixtures::with(&scene.snapshot.pods[0], &mark);
    });
    assert!(scene.inspect().by_rule()["D401"].words.starts_with("2 pods that run"));
}

#[test]
fn an_unknown_server_is_said_where_its_version_matters() {
    let skipped = |scene: Scene| {
        let scene = scene.but(|scene| {
            scene.survey.server = None;
            scene.survey.trial = Asked::default();
        });
        scene
            .inspect()
            .skipped
            .iter()
            .map(|skipped| skipped.rule)
            .filter(|rule| rule.starts_with('D'))
            .collect::<Vec<_>>()
    };
    assert_eq!(skipped(rolling(&exec("sleep 9"))), ["D403"]);
    assert_eq!(skipped(Scene::fine()), ["D407"]);
    assert_eq!(skipped(Scene::exposed()), [""; 0]);
}
