use serde_json::json;

use crate::cluster;
use crate::rollout::Error;
use crate::rollout::annotations::JOURNAL;
use crate::rollout::fixtures::{mk_digest, mk_image, mk_order};
use crate::rollout::preflight::containers;
use crate::rollout::preflight::facts::Severity::{Block, Info, Warn};
use crate::rollout::preflight::facts::{Asked, Claim, Findings, ImageFacts};
use crate::rollout::preflight::tests::{Case, Scene};

pub(in crate::rollout::preflight) const CASES: &[Case] = &[
    Case {
        rule: "T001",
        severity: Block,
        says: "there is no Deployment `app` in namespace `apps`",
        triggers: || {
            let (namespace, name) = ("apps".to_owned(), "app".to_owned());
            refused(&Error::Cluster(cluster::Error::NoWorkload {
                kind: "Deployment",
                namespace,
                name,
                known: None,
            }))
        },
        silent: || refused(&Error::Interrupted { state: String::new() }),
    },
    Case {
        rule: "T002",
        severity: Block,
        says: "no container `web`",
        triggers: || named("web"),
        silent: || named("main"),
    },
    Case {
        rule: "T003",
        severity: Info,
        says: "on 3/3 pods (revision 1)",
        triggers: || Scene::fine().but(|scene| scene.order = mk_order('a')).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "T004",
        severity: Block,
        says: "`apps/app` is paused by `reloader` 60 min ago: a new image would not roll",
        triggers: || {
            let fields = json!({ "f:spec": { "f:paused": {} } });
            let entry = json!({
                "manager": "reloader", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields,
                "apiVersion": "apps/v1", "time": "2026-01-01T23:00:00Z",
            });
            let part = json!({ "metadata": { "managedFields": [entry] }, "spec": { "paused": true } });
            Scene::fine().deployment(&part).inspect()
        },
        silent: || Scene::fine().deployment(&json!({ "spec": { "paused": false } })).inspect(),
    },
    Case {
        rule: "T004",
        severity: Info,
        says: "`apps/app` is paused: the next image would not roll",
        triggers: || paused().but(|scene| scene.order = mk_order('a')).inspect(),
        silent: || Scene::fine().but(|scene| scene.order = mk_order('a')).inspect(),
    },
    Case {
        rule: "T005",
        severity: Warn,
        says: "0 replicas",
        triggers: || Scene::fine().deployment(&json!({ "spec": { "replicas": 0 } })).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "T006",
        severity: Warn,
        says: "is in progress: this one replaces it",
        triggers: || Scene::fine().deployment(&json!({ "status": { "updatedReplicas": 1 } })).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "T006",
        severity: Warn,
        says: "an unfinished rollout to registry/app@sha256:aaa",
        triggers: || journaled('b').inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "T006",
        severity: Info,
        says: "under way already",
        triggers: || journaled('a').inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "T007",
        severity: Warn,
        says: "2/3 pods available before the change; the floor is 3",
        triggers: || Scene::fine().deployment(&json!({ "status": { "availableReplicas": 2 } })).inspect(),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "T007",
        severity: Warn,
        says: "is stuck: timed out",
        triggers: || {
            let condition = json!({ "type": "Progressing", "status": "False", "message": "timed out" });
            Scene::fine().deployment(&json!({ "status": { "conditions": [condition] } })).inspect()
        },
        silent: || {
            // Held back by us: the counts say nothing.
            let held = json!({ "spec": { "minReadySeconds": 86_400 }, "status": { "availableReplicas": 0 } });
            Scene::fine().deployment(&held).inspect()
        },
    },
    Case {
        rule: "T008",
        severity: Block,
        says: "an outage of about 8 s",
        triggers: || recreate().inspect(),
        silent: || recreate().deployment(&json!({ "spec": { "replicas": 0 } })).inspect(),
    },
    Case {
        rule: "T008",
        severity: Warn,
        says: "nothing runs for a while",
        triggers: || {
            recreate().but(|scene| scene.snapshot.routing.as_mut().unwrap().services.clear()).inspect()
        },
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "T009",
        severity: Block,
        says: "`apps/app` is being deleted",
        triggers: || {
            let deleted = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
            Scene::fine().deployment(&deleted).inspect()
        },
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "T010",
        severity: Block,
        says: "is owned by App/shop",
        triggers: || {
            let owner = json!({ "apiVersion": "x/v1", "kind": "App", "name": "shop", "uid": "u", "controller": true });
            Scene::fine().deployment(&json!({ "metadata": { "ownerReferences": [owner] } })).inspect()
        },
        silent: || claimed("VerticalPodAutoscaler"),
    },
    Case {
        rule: "T010",
        severity: Block,
        says: "is owned by Canary/app",
        triggers: || claimed("Canary"),
        silent: || Scene::fine().inspect(),
    },
];

fn recreate() -> Scene {
    let strategy = json!({ "type": "Recreate", "rollingUpdate": null });
    Scene::fine().deployment(&json!({ "spec": { "strategy": strategy } }))
}

/// Returns a scene in which an earlier run wrote image `a` and did not finish; `wanted` is asked for now.
fn journaled(wanted: char) -> Scene {
    let journal = json!({
        "image": mk_image('a'), "previous": mk_image('0'), "detached": false, "strategy": null,
        "minReadySeconds": null, "progressDeadlineSeconds": 600,
    });
    let part = json!({ "metadata": { "annotations": { JOURNAL: journal.to_string() } } });
    Scene::fine().deployment(&part).but(|scene| scene.order = mk_order(wanted))
}

fn claimed(kind: &str) -> Findings {
    let claim = Claim { kind: kind.to_owned(), name: "app".to_owned(), detail: String::new() };
    Scene::fine().but(|scene| scene.survey.claimed_by = Asked::Known(vec![claim])).inspect()
}

fn paused() -> Scene {
    Scene::fine().deployment(&json!({ "spec": { "paused": true } }))
}

fn refused(error: &Error) -> Findings {
    let mut findings = Findings::default();
    if let Some(rule) = error.rule() {
        findings.add(rule, Block, error.to_string(), "");
    }
    findings
}

fn named(name: &str) -> Findings {
    let spec = Scene::fine().snapshot.deployment.spec.unwrap();
    let found = containers("Deployment", Some(&spec.template), &[name.to_owned()]);
    found.map_or_else(|refusal| refused(&Error::Preflight(refusal)), |_| Findings::default())
}

#[test]
fn what_runs_already_is_not_blocked() {
    let part =
        json!({ "spec": { "paused": true, "strategy": { "type": "Recreate", "rollingUpdate": null } } });
    let scene = Scene::fine().deployment(&part);
    assert_eq!(scene.inspect().by_rule()["T004"].severity, Block);
    let findings = scene.but(|scene| scene.order = mk_order('a')).inspect();
    let found: Vec<_> = findings.found.iter().map(|finding| (finding.rule, finding.severity)).collect();
    assert_eq!(found, [("T003", Info), ("T004", Info)]);
}

#[test]
fn pods_that_run_a_platform_of_the_image_run_it() {
    let child = mk_digest('c');
    let scene = Scene::fine().but(|scene| {
        scene.order = mk_order('a');
        for pod in &mut scene.snapshot.pods {
            let mut value = serde_json::to_value(&*pod).unwrap();
            value["status"]["containerStatuses"][0]["imageID"] = json!(format!("registry/app@{child}"));
            *pod = serde_json::from_value(value).unwrap();
        }
    });
    assert!(!scene.inspect().by_rule().contains_key("T003"));
    let scene = scene.but(|scene| {
        let image = ImageFacts { exists: true, identities: [child].into(), ..ImageFacts::default() };
        scene.survey.image = Asked::Known(image);
    });
    assert!(scene.inspect().by_rule().contains_key("T003"));
}
