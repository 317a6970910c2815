use serde_json::{Value, json};

use super::Surge;
use super::nodes;
use crate::rollout::Drain;
use crate::rollout::fixtures::{mk, with};
use crate::rollout::preflight::facts::{Asked, Claim, Findings, Reference, Severity, Trial};
use crate::rollout::preflight::tests::{Case, Scene, mk_node};

pub(in crate::rollout::preflight) const CASES: &[Case] = &[
    Case {
        rule: "C601",
        severity: Severity::Block,
        says: "`kubernetes.io/hostname`: 3 eligible, 0 of them without an old pod; no new pod can start",
        triggers: || repelled(&json!([])).but(|scene| spread_over(scene, 3)).inspect(),
        silent: || repelled(&json!(["pod-template-hash"])).but(|scene| spread_over(scene, 3)).inspect(),
    },
    Case {
        rule: "C601",
        severity: Severity::Warn,
        says: "falls back to a rolling update",
        triggers: || detached(repelled(&json!([])).but(|scene| spread_over(scene, 5))).inspect(),
        silent: || detached(repelled(&json!([])).but(|scene| spread_over(scene, 6))).inspect(),
    },
    Case {
        rule: "C601",
        severity: Severity::Warn,
        says: "0 of them without an old pod",
        triggers: || repelled(&json!([])).but(|scene| spread_over(scene, 3)).but(autoscaled).inspect(),
        silent: || repelled(&json!([])).but(|scene| spread_over(scene, 4)).inspect(),
    },
    Case {
        rule: "C602",
        severity: Severity::Warn,
        says: "spread over `zone` counts old and new pods together",
        triggers: || spread(&json!({ "whenUnsatisfiable": "DoNotSchedule" })),
        silent: || {
            spread(&json!({ "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["pod-template-hash"] }))
        },
    },
    Case {
        rule: "C602",
        severity: Severity::Warn,
        says: "zone",
        triggers: || spread(&json!({ "whenUnsatisfiable": "DoNotSchedule" })),
        silent: || spread(&json!({ "whenUnsatisfiable": "ScheduleAnyway" })),
    },
    Case {
        rule: "C603",
        severity: Severity::Block,
        says: "take port 9000 of their node: 3 nodes are eligible, 0 of them without an old pod",
        triggers: || on_host_port().but(|scene| spread_over(scene, 3)).inspect(),
        silent: || on_host_port().but(|scene| spread_over(scene, 4)).inspect(),
    },
    Case {
        rule: "C604",
        severity: Severity::Block,
        says: "`pvc/data` is ReadWriteOncePod",
        triggers: || with_volume("ReadWriteOncePod").inspect(),
        silent: || with_volume("ReadWriteMany").inspect(),
    },
    Case {
        rule: "C604",
        severity: Severity::Warn,
        says: "`pvc/data` is ReadWriteOnce: a new pod on another of the 4 eligible nodes",
        triggers: || with_volume("ReadWriteOnce").inspect(),
        silent: || with_volume("ReadWriteOnce").but(|scene| spread_over(scene, 1)).inspect(),
    },
    Case {
        rule: "C605",
        severity: Severity::Block,
        says: "quota `q`: 0 of 3 `pods` left, each new pod needs 1, and 1 are wanted at once",
        triggers: || with_quota(&json!({ "pods": "3" }), &json!({ "pods": "3" }), &json!({})).inspect(),
        silent: || with_quota(&json!({ "pods": "4" }), &json!({ "pods": "3" }), &json!({})).inspect(),
    },
    Case {
        rule: "C605",
        severity: Severity::Warn,
        says: "2 of 5 `pods` left, each new pod needs 1, and 3 are wanted at once; the detached drain falls back",
        triggers: || {
            detached(with_quota(&json!({ "pods": "5" }), &json!({ "pods": "3" }), &json!({}))).inspect()
        },
        silent: || {
            detached(with_quota(&json!({ "pods": "6" }), &json!({ "pods": "3" }), &json!({}))).inspect()
        },
    },
    Case {
        rule: "C605",
        severity: Severity::Block,
        says: "512Mi of 2Gi `requests.memory` left, each new pod needs 600Mi",
        triggers: || memory("600Mi"),
        silent: || memory("512Mi"),
    },
    Case {
        rule: "C605",
        severity: Severity::Block,
        says: "wants every container to have a limit for cpu",
        triggers: || with_quota(&json!({ "limits.cpu": "8" }), &json!({}), &json!({})).inspect(),
        silent: || {
            with_quota(&json!({ "limits.cpu": "8" }), &json!({}), &json!({}))
                .container(&json!({ "resources": { "limits": { "cpu": "1" } } }))
                .inspect()
        },
    },
    Case {
        rule: "C605",
        severity: Severity::Block,
        says: "`pods` left",
        triggers: || scoped(&json!({ "scopes": ["BestEffort", "NotTerminating"] })),
        silent: || scoped(&json!({ "scopes": ["NotBestEffort"] })),
    },
    Case {
        rule: "C605",
        severity: Severity::Block,
        says: "`pods` left",
        triggers: || of_class("NotIn"),
        silent: || of_class("In"),
    },
    Case {
        rule: "C606",
        severity: Severity::Block,
        says: "refuses a pod of the new template: admission webhook \"policy\" denied the request: no",
        triggers: || denied("admission webhook \"policy\" denied the request: no").inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "C606",
        severity: Severity::Warn,
        says: "exceeded quota",
        triggers: || unavailable(denied("pods \"x\" is forbidden: exceeded quota: q")).inspect(),
        silent: || unavailable(Scene::fine()).inspect(),
    },
    Case {
        rule: "C607",
        severity: Severity::Block,
        says: "`secret/app-tls`, which the template names, is not there",
        triggers: || referring(Asked::Known(false)),
        silent: || referring(Asked::Known(true)),
    },
    Case {
        rule: "C607",
        severity: Severity::Block,
        says: "`secret/app-tls` has no key `tls.crt`, which the template names",
        triggers: || about(|reference| reference.lacks = vec!["tls.crt".to_owned()]),
        silent: || referring(Asked::Known(true)),
    },
    Case {
        rule: "C607",
        severity: Severity::Warn,
        says: "pull secret `app-tls` is not there: nodes pull without it",
        triggers: || {
            about(|reference| {
                reference.there = Asked::Known(false);
                reference.only_pulls = true;
            })
        },
        silent: || about(|reference| reference.only_pulls = true),
    },
    Case {
        rule: "C608",
        severity: Severity::Warn,
        says: "the 4 eligible nodes have room for 0 of the 1 pod wanted beside the old ones that ask for cpu 5",
        triggers: || asking("5").inspect(),
        silent: || asking("3").inspect(),
    },
    Case {
        rule: "C608",
        severity: Severity::Warn,
        says: "room for 2 of the 3 pods wanted beside the old ones",
        triggers: || detached(asking("3")).but(|scene| spread_over(scene, 2)).inspect(),
        silent: || asking("5").but(autoscaled).inspect(),
    },
    Case {
        rule: "C609",
        severity: Severity::Warn,
        says: "node `node-1` under 1 pod that run now is about to be removed",
        triggers: || {
            on_node(&json!({ "spec": { "taints": [
            { "key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule" }] } }))
        },
        silent: || {
            on_node(&json!({ "spec": { "taints": [{ "key": "gpu", "effect": "PreferNoSchedule" }] } }))
        },
    },
    Case {
        rule: "C609",
        severity: Severity::Warn,
        says: "is cordoned",
        triggers: || on_node(&json!({ "spec": { "unschedulable": true } })),
        silent: || on_node(&json!({})),
    },
    Case {
        rule: "C609",
        severity: Severity::Warn,
        says: "is about to be restarted",
        triggers: || {
            on_node(
                &json!({ "metadata": { "annotations": { "weave.works/kured-reboot-in-progress": "x" } } }),
            )
        },
        silent: || on_node(&json!({})),
    },
    Case {
        rule: "A701",
        severity: Severity::Info,
        says: "autoscaler `scaler` sets the replicas, 2 to 10",
        triggers: || scaled(&json!({})).inspect(),
        silent: || scaled(&json!({ "spec": { "scaleTargetRef": { "name": "other" } } })).inspect(),
    },
    Case {
        rule: "A702",
        severity: Severity::Warn,
        says: "autoscaler `scaler` is at its maximum of 10",
        triggers: || scaled(&json!({ "status": { "desiredReplicas": 10 } })).inspect(),
        silent: || scaled(&json!({ "status": { "desiredReplicas": 9 } })).inspect(),
    },
    Case {
        rule: "A703",
        severity: Severity::Warn,
        says: "reads a metric of type Pods, and 20 pods come to 20 at once",
        triggers: || many("Pods"),
        silent: || many("Resource"),
    },
    Case {
        rule: "A704",
        severity: Severity::Warn,
        says: "VerticalPodAutoscaler `v` (updateMode: Auto) evicts pods by itself",
        triggers: || vertical("Auto"),
        silent: || vertical("Off"),
    },
];

/// Puts the old pods on nodes of their own, of `count` that there are.
fn spread_over(scene: &mut Scene, count: usize) {
    scene.survey.nodes = Asked::Known((0..count).map(|number| mk_node(number, &json!({}))).collect());
    for (number, pod) in scene.snapshot.pods.iter_mut().enumerate() {
        *pod = with(pod, &json!({ "spec": { "nodeName": format!("node-{number}") } }));
    }
}

fn autoscaled(scene: &mut Scene) {
    let Asked::Known(all) = &mut scene.survey.nodes else { panic!("the scene knows its nodes") };
    *all = all
        .iter()
        .map(|node| with(node, &json!({ "metadata": { "labels": { "karpenter.sh/nodepool": "x" } } })))
        .collect();
    assert!(nodes::is_autoscaled(all));
}

/// Lets the old pods leave their Services first, all new ones being there.
fn detached(scene: Scene) -> Scene {
    scene.container(&json!({ "lifecycle": null })).but(|scene| scene.order.drain = Drain::Detached)
}

/// Lets one old pod go before a new one comes.
fn unavailable(scene: Scene) -> Scene {
    scene
        .deployment(&json!({ "spec": { "strategy": { "rollingUpdate": { "maxUnavailable": 1 } } } }))
        .but(|scene| scene.order.drain = Drain::None)
}

fn repelled(keys: &Value) -> Scene {
    let term = json!({
        "topologyKey": "kubernetes.io/hostname", "matchLabelKeys": keys,
        "labelSelector": { "matchExpressions": [{ "key": "app", "operator": "In", "values": ["app"] }] },
    });
    let required = json!({ "requiredDuringSchedulingIgnoredDuringExecution": [term] });
    Scene::fine().pod_spec(&json!({ "affinity": { "podAntiAffinity": required } }))
}

fn spread(part: &Value) -> Findings {
    let mut constraint =
        json!({ "maxSkew": 1, "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "app" } } });
    json_patch::merge(&mut constraint, part);
    Scene::fine().pod_spec(&json!({ "topologySpreadConstraints": [constraint] })).inspect()
}

fn on_host_port() -> Scene {
    let port = json!({ "name": "http", "containerPort": 8080, "hostPort": 9000 });
    Scene::fine().container(&json!({ "ports": [port] }))
}

fn with_volume(mode: &str) -> Scene {
    let volume = json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data" } });
    let claim = json!({ "metadata": { "name": "data" }, "spec": { "accessModes": [mode] } });
    Scene::fine()
        .pod_spec(&json!({ "volumes": [volume] }))
        .but(|scene| scene.survey.claims = Asked::Known(vec![mk(claim)]))
}

fn with_quota(hard: &Value, used: &Value, spec: &Value) -> Scene {
    let quota =
        json!({ "metadata": { "name": "q" }, "spec": spec, "status": { "hard": hard, "used": used } });
    Scene::fine().but(|scene| scene.survey.quotas = Asked::Known(vec![mk(quota)]))
}

fn memory(request: &str) -> Findings {
    let (hard, used) = (json!({ "requests.memory": "2Gi" }), json!({ "requests.memory": "1536Mi" }));
    with_quota(&hard, &used, &json!({}))
        .container(&json!({ "resources": { "requests": { "memory": request } } }))
        .inspect()
}

fn scoped(spec: &Value) -> Findings {
    with_quota(&json!({ "pods": "3" }), &json!({ "pods": "3" }), spec).inspect()
}

/// Rolls pods of class `high` under a quota for that class, or for all others.
fn of_class(operator: &str) -> Findings {
    let expression = json!({ "scopeName": "PriorityClass", "operator": operator, "values": ["low"] });
    with_quota(
        &json!({ "pods": "3" }),
        &json!({ "pods": "3" }),
        &json!({ "scopeSelector": { "matchExpressions": [expression] } }),
    )
    .pod_spec(&json!({ "priorityClassName": "high" }))
    .inspect()
}

fn denied(words: &str) -> Scene {
    Scene::fine().but(|scene| scene.survey.trial = Asked::Known(Trial::Denied(words.to_owned())))
}

fn referring(there: Asked<bool>) -> Findings {
    about(|reference| reference.there = there)
}

/// A secret that is there and that the template names, with a change to it.
fn about(change: impl FnOnce(&mut Reference)) -> Findings {
    let mut reference = mk_reference("secret", "app-tls", Asked::Known(true));
    change(&mut reference);
    Scene::fine().but(|scene| scene.survey.references = vec![reference]).inspect()
}

fn mk_reference(kind: &'static str, name: &str, there: Asked<bool>) -> Reference {
    Reference { kind, name: name.to_owned(), there, lacks: Vec::new(), only_pulls: false }
}

fn asking(cpu: &str) -> Scene {
    Scene::fine().container(&json!({ "resources": { "requests": { "cpu": cpu } } }))
}

fn on_node(part: &Value) -> Findings {
    Scene::fine()
        .but(|scene| {
            spread_over(scene, 4);
            let Asked::Known(nodes) = &mut scene.survey.nodes else { panic!("the scene knows its nodes") };
            nodes[1] = with(&nodes[1], part);
        })
        .inspect()
}

fn scaled(part: &Value) -> Scene {
    let mut scaler = json!({
        "metadata": { "name": "scaler" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "app" },
            "minReplicas": 2, "maxReplicas": 10,
        },
        "status": { "desiredReplicas": 3 },
    });
    json_patch::merge(&mut scaler, part);
    Scene::fine().but(|scene| scene.survey.autoscalers = Asked::Known(vec![mk(scaler)]))
}

fn many(metric: &str) -> Findings {
    let metric = json!({ "spec": { "maxReplicas": 50, "metrics": [{ "type": metric }] } });
    detached(scaled(&metric).deployment(&json!({ "spec": { "replicas": 20 } }))).inspect()
}

fn vertical(mode: &str) -> Findings {
    let claim = Claim {
        kind: "VerticalPodAutoscaler".to_owned(),
        name: "v".to_owned(),
        detail: format!("updateMode: {mode}"),
    };
    Scene::fine().but(|scene| scene.survey.claimed_by = Asked::Known(vec![claim])).inspect()
}

#[test]
fn lack_of_room_blocks_only_where_no_pod_may_go_first() {
    let rolling = Surge { all: 2, may_wait: false, is_detached: false };
    assert_eq!(rolling.verdict(0), Some(Severity::Block));
    assert_eq!(rolling.verdict(1), Some(Severity::Warn));
    assert_eq!(rolling.verdict(2), None);
    assert_eq!(Surge { may_wait: true, ..rolling }.verdict(0), Some(Severity::Warn));
    assert_eq!(Surge { all: 0, ..rolling }.verdict(0), None);
}

#[test]
fn quota_of_an_unknown_scope_is_skipped_and_says_so() {
    let findings = scoped(&json!({ "scopes": ["OnTuesdays"] }));
    let skipped = findings.skipped.iter().find(|skipped| skipped.rule == "C605").unwrap();
    assert_eq!(skipped.needs, "knowing quota scope `OnTuesdays`");
}

#[test]
fn service_account_that_admission_found_needs_no_right_to_read_it() {
    let unread = || Asked::Unknown("get serviceaccounts".to_owned());
    let reference = |kind| mk_reference(kind, "app", unread());
    let findings = Scene::fine().but(|scene| scene.survey.references = vec![reference("serviceaccount")]);
    assert!(findings.inspect().skipped.is_empty());
    let findings = Scene::fine().but(|scene| scene.survey.references = vec![reference("secret")]);
    assert_eq!(findings.inspect().skipped[0].rule, "C607");
}

#[test]
fn nothing_is_missing_for_a_deployment_without_pods() {
    let scene = with_quota(&json!({ "pods": "0" }), &json!({}), &json!({}))
        .deployment(&json!({ "spec": { "replicas": 0 } }));
    assert!(!scene.inspect().by_rule().contains_key("C605"));
}
