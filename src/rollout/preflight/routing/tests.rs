use serde_json::{Value, json};

use crate::rollout::Drain;
use crate::rollout::fixtures::mk;
use crate::rollout::preflight::facts::Severity::{Block, Info, Warn};
use crate::rollout::preflight::facts::{Asked, Trial};
use crate::rollout::preflight::tests::{Case, Scene};

pub(in crate::rollout::preflight) const CASES: &[Case] = &[
    Case {
        rule: "N501",
        severity: Info,
        says: "no Service selects the pods",
        triggers: || Scene::fine().service(&json!({ "spec": { "selector": { "app": "other" } } })).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "N502",
        severity: Block,
        says: "service `app` selects pods that run and would not select the new ones",
        triggers: || {
            let hash = json!({ "spec": { "selector": { "pod-template-hash": "1a" } } });
            Scene::fine().service(&hash).inspect()
        },
        silent: || Scene::fine().service(&json!({ "spec": { "selector": { "tier": "web" } } })).inspect(),
    },
    Case {
        rule: "N503",
        severity: Warn,
        says: "service `app` has 0 ready endpoints for 3 pods before the change",
        triggers: || {
            Scene::fine().but(|scene| scene.snapshot.routing.as_mut().unwrap().slices.clear()).inspect()
        },
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "N504",
        severity: Warn,
        says: "3 pods that run stop before that",
        triggers: || outside(29).inspect(),
        silent: || outside(30).inspect(),
    },
    Case {
        rule: "N504",
        severity: Warn,
        says: "a node whose last pod leaves its Services drops connections",
        triggers: || outside(30).but(|scene| scene.order.drain = Drain::Detached).inspect(),
        silent: || Scene::fine().service(&json!({ "spec": { "type": "LoadBalancer" } })).inspect(),
    },
    Case {
        rule: "N505",
        severity: Warn,
        says: "new pods may be on any of 2 nodes",
        triggers: || inside(2).inspect(),
        silent: || inside(1).inspect(),
    },
    Case {
        rule: "N506",
        severity: Warn,
        says: "ingress `web` sends traffic to pod addresses, and no readiness gate `target-health.elbv2.k8s.aws`",
        triggers: || balanced("app", "ip").inspect(),
        silent: || balanced("other", "ip").inspect(),
    },
    Case {
        rule: "N506",
        severity: Warn,
        says: "service `app` sends traffic to pod addresses, and no readiness gate `cloud.google.com",
        triggers: || neg().inspect(),
        silent: || {
            let gate = json!({ "conditionType": "cloud.google.com/load-balancer-neg-ready" });
            let pod = mk(json!({ "metadata": {}, "spec": { "containers": [], "readinessGates": [gate] } }));
            neg().but(|scene| scene.survey.trial = Asked::Known(Trial::Allowed(Box::new(pod)))).inspect()
        },
    },
    Case {
        rule: "N506",
        severity: Warn,
        says: "no readiness gate `target-health.elbv2.k8s.aws`",
        triggers: || {
            let key = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type";
            Scene::fine().service(&json!({ "metadata": { "annotations": { key: "ip" } } })).inspect()
        },
        silent: || balanced("app", "instance").inspect(),
    },
    Case {
        rule: "N507",
        severity: Warn,
        says: "service `app` has sessionAffinity ClientIP: the clients of 3 pods",
        triggers: || Scene::fine().service(&json!({ "spec": { "sessionAffinity": "ClientIP" } })).inspect(),
        silent: || Scene::fine().service(&json!({ "spec": { "sessionAffinity": "None" } })).inspect(),
    },
    Case {
        rule: "N508",
        severity: Warn,
        says: "network policy `guard` goes by every label by which service `app` selects the pods",
        triggers: || guarded(Scene::exposed(), "app").inspect(),
        silent: || guarded(Scene::exposed(), "tier").inspect(),
    },
    Case {
        rule: "N508",
        severity: Info,
        says: "they are not taken out of it before they end",
        triggers: || guarded(Scene::fine(), "app").inspect(),
        silent: || Scene::fine().inspect(),
    },
];

/// Lays a network policy around the pods that goes by one of their labels.
fn guarded(scene: Scene, key: &str) -> Scene {
    let selector = json!({ "matchExpressions": [{ "key": key, "operator": "Exists" }] });
    let policy = json!({ "metadata": { "name": "guard" }, "spec": { "podSelector": selector } });
    scene.but(|scene| scene.snapshot.routing.as_mut().unwrap().policies = Some(vec![mk(policy)]))
}

/// Returns a Service that the outside reaches on nodes with a pod, and pods that serve on for so long.
fn outside(seconds: i64) -> Scene {
    let part = json!({ "spec": { "type": "LoadBalancer", "externalTrafficPolicy": "Local" } });
    let hook = json!({ "lifecycle": { "preStop": { "sleep": { "seconds": seconds } } } });
    let grace = json!({ "terminationGracePeriodSeconds": 60 });
    Scene::fine().service(&part).container(&hook).pod_spec(&grace)
}

fn inside(nodes: usize) -> Scene {
    let part = json!({ "spec": { "internalTrafficPolicy": "Local" } });
    let node = mk(json!({ "metadata": { "name": "n" } }));
    Scene::fine().service(&part).but(|scene| scene.survey.nodes = Asked::Known(vec![node; nodes]))
}

fn balanced(service: &str, target: &str) -> Scene {
    let backend: Value = json!({ "service": { "name": service, "port": { "number": 80 } } });
    let ingress = mk(json!({
        "metadata": { "name": "web", "annotations": { "alb.ingress.kubernetes.io/target-type": target } },
        "spec": { "rules": [{ "http": { "paths": [{ "pathType": "Prefix", "backend": backend }] } }] },
    }));
    Scene::fine().but(|scene| scene.survey.ingresses = Asked::Known(vec![ingress]))
}

fn neg() -> Scene {
    let neg = r#"{"ingress": true}"#;
    Scene::fine().service(&json!({ "metadata": { "annotations": { "cloud.google.com/neg": neg } } }))
}

#[test]
fn without_the_right_to_list_network_policies_that_rule_is_skipped() {
    let unread = |scene: &mut Scene| scene.snapshot.routing.as_mut().unwrap().policies = None;
    let findings = Scene::fine().but(unread).inspect();
    let skipped: Vec<_> = findings.skipped.iter().map(|it| (it.rule, it.needs.as_str())).collect();
    assert_eq!(skipped, [("N508", "list networkpolicies")]);
}

#[test]
fn without_the_right_to_list_services_every_rule_here_is_skipped() {
    let findings = Scene::fine().but(|scene| scene.snapshot.routing = None).inspect();
    let skipped: Vec<_> = findings.skipped.iter().map(|skipped| skipped.rule).collect();
    for rule in super::RULES {
        assert!(skipped.contains(&rule.id), "{} in {skipped:?}", rule.id);
    }
}
