use std::time::Duration;

use serde_json::{Value, json};

use crate::rollout::Drain;
use crate::rollout::preflight::facts::Findings;
use crate::rollout::preflight::facts::Severity::{Block, Info, Warn};
use crate::rollout::preflight::tests::{Case, Scene};
use crate::rollout::sets::tests::mk_set_look;
use crate::rollout::sets::words;

pub(in crate::rollout::preflight) const CASES: &[Case] = &[
    Case {
        rule: "S201",
        severity: Warn,
        says: "up to 1 of 3 pods may be missing",
        triggers: || own(&json!({ "maxUnavailable": 1 })),
        silent: || own(&json!({ "maxUnavailable": 0 })),
    },
    Case {
        rule: "S201",
        severity: Block,
        says: "up to 3 of 3 pods may be missing",
        triggers: || own(&json!({ "maxUnavailable": "100%" })),
        // The way that is chosen overrides it.
        silent: || Scene::fine().deployment(&rolling(&json!({ "maxUnavailable": "100%" }))).inspect(),
    },
    Case {
        rule: "S202",
        severity: Warn,
        says: "each old pod goes before its successor starts",
        triggers: || own(&json!({ "maxSurge": 0, "maxUnavailable": 1 })),
        silent: || {
            Scene::fine().deployment(&rolling(&json!({ "maxSurge": 0, "maxUnavailable": 1 }))).inspect()
        },
    },
    Case {
        rule: "S203",
        severity: Warn,
        says: "any stall is an outage",
        triggers: || Scene::fine().deployment(&json!({ "spec": { "replicas": 1 } })).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "S203",
        severity: Info,
        says: "its successor serves first",
        triggers: || detached().deployment(&json!({ "spec": { "replicas": 1 } })).inspect(),
        silent: || detached().inspect(),
    },
    Case {
        rule: "S204",
        severity: Warn,
        says: "an old pod goes the second a new one is ready",
        triggers: || Scene::fine().deployment(&json!({ "spec": { "minReadySeconds": null } })).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "S204",
        severity: Info,
        says: "this rollout holds the old pods back itself",
        triggers: || detached().deployment(&json!({ "spec": { "minReadySeconds": 0 } })).inspect(),
        silent: || detached().inspect(),
    },
    Case {
        rule: "S205",
        severity: Warn,
        says: "progressDeadlineSeconds is 16 s and a pod takes up to 8 s to start",
        triggers: || {
            Scene::fine().deployment(&json!({ "spec": { "progressDeadlineSeconds": 16 } })).inspect()
        },
        silent: || Scene::fine().deployment(&json!({ "spec": { "progressDeadlineSeconds": 17 } })).inspect(),
    },
    Case {
        rule: "S205",
        severity: Warn,
        says: "wait_until_ready is 11 s",
        triggers: || waiting(11),
        silent: || waiting(12),
    },
    Case {
        rule: "S206",
        severity: Info,
        says: "never reports a stuck rollout",
        triggers: || {
            Scene::fine()
                .deployment(&json!({ "spec": { "progressDeadlineSeconds": 2_147_483_647 } }))
                .inspect()
        },
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "S207",
        severity: Warn,
        says: "no old ReplicaSet will be kept",
        triggers: || Scene::fine().deployment(&json!({ "spec": { "revisionHistoryLimit": 0 } })).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "S208",
        severity: Info,
        says: "3 pods, 1 at a time: about 3 × 13 s and the drain = 49 s",
        triggers: || Scene::fine().inspect(),
        silent: || Scene::fine().deployment(&json!({ "spec": { "replicas": 0 } })).inspect(),
    },
    Case {
        rule: "S208",
        severity: Info,
        says: "3 pods, all at once: about 1 × 8 s and the drain = 23 s",
        triggers: || detached().inspect(),
        silent: || detached().deployment(&json!({ "spec": { "replicas": 0 } })).inspect(),
    },
    Case {
        rule: "S209",
        severity: Block,
        says: "the update strategy is OnDelete",
        triggers: || {
            set(&json!({ "spec": { "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } } }))
        },
        silent: || set(&json!({})),
    },
    Case {
        rule: "S209",
        severity: Block,
        says: "partition 3 keeps all 3 pods",
        triggers: || set(&json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 3 } } } })),
        silent: || set(&json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 2 } } } })),
    },
];

/// Sets are looked at before they are put into the shape that the other rules read.
fn set(part: &Value) -> Findings {
    let mut findings = Findings::default();
    if let Err(refusal) = words::check(&mk_set_look(part)) {
        findings.add(refusal.rule, Block, refusal.words, refusal.hint);
    }
    findings
}

fn rolling(part: &Value) -> Value {
    json!({ "spec": { "strategy": { "rollingUpdate": part } } })
}

/// Returns what is found when the Deployment's own strategy is used.
fn own(part: &Value) -> Findings {
    Scene::fine().deployment(&rolling(part)).but(|scene| scene.order.drain = Drain::None).inspect()
}

fn detached() -> Scene {
    Scene::fine().but(|scene| scene.order.drain = Drain::Detached)
}

fn waiting(seconds: u64) -> Findings {
    Scene::fine().but(|scene| scene.order.wait = Some(Duration::from_secs(seconds))).inspect()
}

#[test]
fn a_start_that_nobody_can_know_is_said() {
    let untimed =
        Scene::fine().pods(&json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } }));
    let findings = untimed.inspect();
    assert!(findings.skipped.iter().any(|skipped| skipped.rule == "S205"), "{:?}", findings.skipped);
    assert!(findings.by_rule()["S208"].words.contains("no running pod shows"), "{findings:?}");
}

#[test]
fn no_way_that_we_choose_lets_every_pod_be_missing() {
    for drain in [Drain::Auto, Drain::Detached, Drain::Rolling] {
        let scene = Scene::exposed().deployment(&rolling(&json!({ "maxUnavailable": "100%" })));
        let findings = scene.but(|scene| scene.order.drain = drain).inspect();
        assert!(!findings.by_rule().contains_key("S201"), "{drain:?}");
    }
}
