//! What the rules say of StatefulSets, whose pods take each other's place.

use super::*;
use crate::rollout::preflight::facts::{Claim, Owner, Reference};
use crate::rollout::preflight::rights::needs;
use crate::rollout::{Kind, sets};

/// A StatefulSet of three pods at rest that no rule has anything against.
fn stateful() -> Scene {
    let look = sets::tests::mk_set_look(&json!({}));
    let snapshot =
        look.stand_in("main", &[], Some(Routing { policies: Some(Vec::new()), ..Routing::default() }));
    Scene { snapshot, ..Scene::fine() }
}

/// Returns the severity and the words of what a rule found.
fn said(scene: &Scene, rule: &str) -> (Severity, String) {
    let findings = scene.inspect();
    let found = findings.by_rule().get(rule).map(|found| (found.severity, found.words.clone()));
    found.unwrap_or_else(|| panic!("{rule} is silent: {findings:#?}"))
}

#[test]
fn owner_of_a_set_is_found_as_that_of_a_deployment() {
    let owner = Owner { manager: "argocd-controller".to_owned(), field: ".image".to_owned(), at: None };
    let scene = stateful().but(|scene| scene.survey.owners = Asked::Known(vec![owner]));
    assert_eq!(said(&scene, "O801").0, Severity::Block);
    let claim = Claim { kind: "Canary".to_owned(), name: "c".to_owned(), detail: String::new() };
    let scene = stateful().but(|scene| scene.survey.claimed_by = Asked::Known(vec![claim]));
    assert_eq!(said(&scene, "T010").0, Severity::Block);
}

#[test]
fn autoscaler_of_a_set_is_told_from_one_of_a_deployment_of_its_name() {
    let scaler = |kind: &str| {
        let target = json!({ "apiVersion": "apps/v1", "kind": kind, "name": "db" });
        stateful().but(|scene| {
            scene.survey.autoscalers = Asked::Known(vec![mk(json!({
                "metadata": { "name": "db" },
                "spec": { "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3 },
                "status": { "currentReplicas": 3, "desiredReplicas": 3 },
            }))]);
        })
    };
    assert!(said(&scaler("StatefulSet"), "A701").1.contains("1 to 3"));
    assert_eq!(said(&scaler("StatefulSet"), "A702").0, Severity::Warn);
    assert!(!scaler("Deployment").inspect().by_rule().contains_key("A701"));
}

#[test]
fn closed_window_and_a_missing_right_stop_a_set_too() {
    let scene = stateful().but(|scene| scene.order.policy.windows = vec![mk_window("sat")]);
    assert_eq!(said(&scene, "O805").0, Severity::Block);
    let need = *needs(Kind::StatefulSet).next().unwrap();
    let scene = stateful().but(|scene| scene.survey.rights_missing = Asked::Known(vec![need]));
    let (severity, words) = said(&scene, "P901");
    assert_eq!((severity, words.contains("patch statefulsets")), (Severity::Block, true));
}

#[test]
fn what_its_template_names_must_be_there() {
    let missing = Reference {
        kind: "configmap",
        name: "conf".to_owned(),
        there: Asked::Known(false),
        lacks: Vec::new(),
        only_pulls: false,
    };
    let scene = stateful().but(|scene| scene.survey.references = vec![missing]);
    assert_eq!(said(&scene, "C607").0, Severity::Block);
}

#[test]
fn full_quota_is_a_warning_where_each_pod_goes_before_the_next_comes() {
    let words = "pods \"db-x\" is forbidden: exceeded quota: q";
    let scene = stateful().but(|scene| scene.survey.trial = Asked::Known(Trial::Denied(words.to_owned())));
    assert_eq!(said(&scene, "C606").0, Severity::Warn);
    let quota = mk(json!({
        "metadata": { "name": "q" },
        "status": { "hard": { "pods": "3" }, "used": { "pods": "3" } },
    }));
    let scene = stateful().but(|scene| scene.survey.quotas = Asked::Known(vec![quota]));
    assert!(!scene.inspect().by_rule().contains_key("C605"));
}
