use serde_json::{Value, json};

use super::{apply_of_the_image, conflicts};
use crate::rollout::Kind;
use crate::rollout::fixtures::{mk_image, mk_order, mk_snapshot};
use crate::rollout::order::Freeze;
use crate::rollout::preflight::facts::{Asked, Findings, Owner, Severity};
use crate::rollout::preflight::rights::needs;
use crate::rollout::preflight::tests::{Case, Scene, mk_window};

pub(in crate::rollout::preflight) const CASES: &[Case] = &[
    Case {
        rule: "O801",
        severity: Severity::Block,
        says: "Argo CD application `shop` owns this and would put `registry/app@sha256:aaa",
        triggers: || {
            marked(
                &json!({ "annotations": { "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:apps/app" } }),
            )
        },
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "O801",
        severity: Severity::Block,
        says: "Flux Kustomization `apps`",
        triggers: || marked(&json!({ "labels": { "kustomize.toolkit.fluxcd.io/name": "apps" } })),
        silent: || marked(&json!({ "labels": { "app.kubernetes.io/instance": "shop" } })),
    },
    Case {
        rule: "O801",
        severity: Severity::Block,
        says: "Argo CD (field manager `argocd-controller`)",
        triggers: || held("argocd-controller"),
        silent: || held("kubectl-client-side-apply"),
    },
    Case {
        rule: "O802",
        severity: Severity::Warn,
        says: "Helm release `shop` puts `registry/app@sha256:aaa",
        triggers: || marked(&json!({ "annotations": { "meta.helm.sh/release-name": "shop" } })),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "O802",
        severity: Severity::Warn,
        says: "kapp (field manager `kapp-server`)",
        triggers: || held("kapp-server"),
        silent: || held("kubectl-set"),
    },
    Case {
        rule: "O803",
        severity: Severity::Info,
        says: "the image was last set by `kubectl-set` 3 d ago",
        triggers: || written_by("kubectl-set"),
        silent: || written_by("rollway"),
    },
    Case {
        rule: "O804",
        severity: Severity::Warn,
        says: "build 7 rolls it to app@sha256:c now: this run takes over",
        triggers: || {
            let held = Some(("build 7".to_owned(), "app@sha256:c".to_owned()));
            Scene::fine().but(|scene| scene.survey.lock = Asked::Known(held)).inspect()
        },
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "O805",
        severity: Severity::Block,
        says: "it is Fri 00:00 UTC, and rollouts start only on: sat UTC",
        triggers: || on("sat"),
        silent: || on("fri"),
    },
    Case {
        rule: "O805",
        severity: Severity::Block,
        says: "frozen while an alert fires: SloBurn",
        triggers: || frozen(Asked::Known(vec!["SloBurn".to_owned()])),
        silent: || frozen(Asked::Known(Vec::new())),
    },
    Case {
        rule: "O805",
        severity: Severity::Warn,
        says: "nobody can say whether an alert fires: no answer",
        triggers: || frozen(Asked::Unknown("no answer".to_owned())),
        silent: || Scene::fine().but(|scene| scene.survey.alerts = Asked::Unknown(String::new())).inspect(),
    },
    Case {
        rule: "P901",
        severity: Severity::Block,
        says: "may not patch deployments: the image cannot be written",
        triggers: || without("patch deployments"),
        silent: || without("delete pods"),
    },
    Case {
        rule: "P901",
        severity: Severity::Warn,
        says: "may not list events",
        triggers: || without("list events"),
        silent: || Scene::fine().inspect(),
    },
    Case {
        rule: "P902",
        severity: Severity::Info,
        says: "the API server is 1.29",
        triggers: || Scene::fine().but(|scene| scene.survey.server = Some((1, 29))).inspect(),
        silent: || Scene::fine().but(|scene| scene.survey.server = Some((1, 30))).inspect(),
    },
    Case {
        rule: "P903",
        severity: Severity::Warn,
        says: "is 9 s behind the one here",
        triggers: || Scene::fine().but(|scene| scene.survey.clock_skew = Asked::Known(-9)).inspect(),
        silent: || Scene::fine().but(|scene| scene.survey.clock_skew = Asked::Known(5)).inspect(),
    },
];

fn marked(metadata: &Value) -> Findings {
    Scene::fine().deployment(&json!({ "metadata": metadata })).inspect()
}

fn held(manager: &str) -> Findings {
    let owner = Owner { manager: manager.to_owned(), field: ".spec".to_owned(), at: None };
    Scene::fine().but(|scene| scene.survey.owners = Asked::Known(vec![owner])).inspect()
}

fn managed(manager: &str) -> Value {
    let image = json!({ "f:containers": { "k:{\"name\":\"main\"}": { "f:image": {} } } });
    json!({ "managedFields": [
        { "manager": "kubectl-create", "operation": "Update", "time": "2025-12-01T00:00:00Z",
          "fieldsV1": { "f:spec": { "f:replicas": {} } } },
        { "manager": manager, "operation": "Update", "time": "2025-12-30T00:00:00Z",
          "fieldsV1": { "f:spec": { "f:template": { "f:spec": image } } } },
    ] })
}

fn written_by(manager: &str) -> Findings {
    marked(&managed(manager))
}

fn on(day: &str) -> Findings {
    let window = mk_window(day);
    Scene::fine().but(|scene| scene.order.policy.windows = vec![window]).inspect()
}

fn frozen(alerts: Asked<Vec<String>>) -> Findings {
    let freeze: Freeze =
        serde_json::from_value(json!({ "prometheus": "http://p:9090", "alerts": "Slo" })).unwrap();
    let set = |scene: &mut Scene| {
        scene.order.policy.freeze = Some(freeze);
        scene.survey.alerts = alerts;
    };
    Scene::fine().but(set).inspect()
}

fn without(right: &str) -> Findings {
    let need = needs(Kind::Deployment).find(|need| need.to_string() == right).unwrap();
    Scene::fine().but(|scene| scene.survey.rights_missing = Asked::Known(vec![*need])).inspect()
}

#[test]
fn owner_is_told_once_even_where_its_tool_would_be_told_too() {
    let both = json!({
        "labels": { "helm.toolkit.fluxcd.io/name": "shop" },
        "annotations": { "meta.helm.sh/release-name": "shop" },
    });
    let findings = marked(&both);
    assert!(findings.by_rule()["O801"].words.contains("Flux HelmRelease `shop`"));
    assert!(!findings.by_rule().contains_key("O802"));
}

#[test]
fn only_the_image_is_claimed() {
    let body = apply_of_the_image(&mk_snapshot(), &mk_order('b'));
    let containers = json!([{ "name": "main", "image": mk_image('b') }]);
    assert_eq!(body["spec"], json!({ "template": { "spec": { "containers": containers } } }));
    assert_eq!(body["metadata"], json!({ "name": "app" }));
    assert_eq!(body["kind"], json!("Deployment"));
}

#[test]
fn who_last_set_the_image_of_an_init_container_is_told_too() {
    let container = json!({ "k:{\"name\":\"migrate\"}": { "f:image": {} } });
    let fields = json!({ "f:spec": { "f:template": { "f:spec": { "f:initContainers": container } } } });
    let entry = json!({ "manager": "kubectl-set", "operation": "Update", "fieldsType": "FieldsV1",
        "apiVersion": "apps/v1", "time": "2026-01-01T23:00:00Z", "fieldsV1": fields });
    let init = json!([{ "name": "migrate", "image": mk_image('a') }]);
    let scene = Scene::fine()
        .deployment(&json!({ "metadata": { "managedFields": [entry] },
            "spec": { "template": { "spec": { "initContainers": init } } } }))
        .but(|scene| scene.snapshot.container = "migrate".to_owned());
    let findings = scene.inspect();
    assert!(
        findings.by_rule()["O803"].words.contains("last set by `kubectl-set` 60 min ago"),
        "{findings:?}"
    );
}

#[test]
fn each_rolled_container_is_claimed_where_it_is() {
    let mut snapshot = mk_snapshot();
    let init = json!([{ "name": "migrate", "image": mk_image('a') }]);
    let part = json!({ "spec": { "template": { "spec": { "initContainers": init } } } });
    snapshot.deployment = crate::rollout::fixtures::with(&snapshot.deployment, &part);
    snapshot.others = vec!["migrate".to_owned()];
    let spec = &apply_of_the_image(&snapshot, &mk_order('b'))["spec"]["template"]["spec"];
    assert_eq!(spec["initContainers"], json!([{ "name": "migrate", "image": mk_image('b') }]));
    assert_eq!(spec["containers"], json!([{ "name": "main", "image": mk_image('b') }]));
}

#[test]
fn conflict_names_the_manager_the_field_and_when_it_wrote() {
    let mut snapshot = mk_snapshot();
    let metadata = json!({ "metadata": managed("kubectl-patch") });
    snapshot.deployment = crate::rollout::fixtures::with(&snapshot.deployment, &metadata);
    let field = ".spec.template.spec.containers[name=\"main\"].image".to_owned();
    let cause = |manager: &str| (format!("conflict with {manager:?} using apps/v1"), field.clone());
    let found = conflicts(&snapshot, &[cause("kubectl-patch"), cause("rollway")]);
    let at = Some("2025-12-30T00:00:00Z".to_owned());
    assert_eq!(found, [Owner { manager: "kubectl-patch".to_owned(), field, at }]);
}
