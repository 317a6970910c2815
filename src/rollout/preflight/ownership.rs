//! Rules about owners, locks and windows (O) and access (P), and what is asked to find owners.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Value, json};

use super::facts::Severity::{Block, Info, Warn};
use super::facts::{Asked, Facts, Findings, Owner, Rule};
use super::rights::{DETACH, IMAGE};
use super::words::ago;
use crate::rollout::Order;
use crate::rollout::annotations::MANAGER;
use crate::rollout::observe::{Snapshot, annotation, labels};
use crate::rollout::order::window::closed;
use crate::rollout::outside::image_fields;

/// More than this and times of events cannot be told from each other.
const SKEW: i64 = 5;
/// The first version whose kubelets know the native `sleep` hook.
const SLEEPS: (u32, u32) = (1, 30);

/// Field managers that put back what they hold, and who they are.
const OWNERS: &[(&str, &str)] = &[
    ("argocd-controller", "Argo CD"),
    ("argocd-application-controller", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
    ("fleet-agent", "Fleet"),
    ("fleetagent", "Fleet"),
];
/// Field managers that put it back when somebody runs them again.
const TOOLS: &[(&str, &str)] = &[
    ("helm", "Helm"),
    ("kapp-server", "kapp"),
    ("kapp", "kapp"),
    ("Terraform", "Terraform"),
    ("HashiCorp", "Terraform"),
    ("pulumi-kubernetes", "Pulumi"),
];

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "O801",
        name: "GitOps",
        severity: Block,
        when: "Argo CD, Flux or Fleet holds the workload and would put its own image back",
        fix: "change the image where the owner reads it, or let the owner ignore this field and allow the rule",
    },
    Rule {
        id: "O802",
        name: "another tool",
        severity: Warn,
        when: "Helm, kapp, Terraform or Pulumi holds the workload and puts its own image back when it runs again",
        fix: "give that tool the same digest",
    },
    Rule {
        id: "O803",
        name: "last change",
        severity: Info,
        when: "somebody else wrote the image last",
        fix: "nothing",
    },
    Rule {
        id: "O804",
        name: "lock",
        severity: Warn,
        when: "another run rolls the workload to another image: this one takes over from it",
        fix: "wait until it ends, if it is not to be superseded",
    },
    Rule {
        id: "O805",
        name: "window",
        severity: Block,
        when: "no window of `windows` is open, or an alert of `freeze` fires; a warning where Prometheus does not answer",
        fix: "wait for the window, or until the alert is over",
    },
    Rule {
        id: "P901",
        name: "rights",
        severity: Block,
        when: "the credentials may not write the image; a warning where they may not follow it or see its causes",
        fix: "k8s/rollout-role.yml lists what is needed, and what for",
    },
    Rule {
        id: "P902",
        name: "server version",
        severity: Info,
        when: "the API server is too old for the native `sleep` hook",
        fix: "upgrade the cluster",
    },
    Rule {
        id: "P903",
        name: "clock",
        severity: Warn,
        when: "the API server's clock differs from the one here by more than 5 s",
        fix: "synchronise the clocks: ages and windows are told by the one here",
    },
];

/// Lets each rule look.
pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    owners(facts, findings);
    last_change(facts, findings);
    lock(facts, findings);
    windows(facts, findings);
    rights(facts, findings);
    server(facts, findings);
}

fn owners(facts: &Facts<'_>, findings: &mut Findings) {
    let image = facts.snapshot.image();
    if let Some(owner) = gitops(facts) {
        let words = format!("{owner} owns this and would put `{image}` back");
        let hint = "change the image where the owner reads it, or let it ignore this field";
        findings.add("O801", Block, words, hint);
        return;
    }
    let _ = findings.need("O801", &facts.survey.owners);
    match other_tool(facts) {
        Some(tool) => {
            let words = format!("{tool} puts `{image}` back when it runs again");
            findings.add("O802", Warn, words, "give that tool the same digest");
        }
        None => drop(findings.need("O802", &facts.survey.owners)),
    }
}

/// Returns the controller that puts things back, by its own marks or by what it holds.
fn gitops(facts: &Facts<'_>) -> Option<String> {
    let metadata = &facts.snapshot.deployment.metadata;
    let label = |key: &str| labels(metadata).get(key);
    let argo = annotation(metadata, "argocd.argoproj.io/tracking-id")
        .map(|id| id.split(':').next().unwrap_or_default())
        .or(label("argocd.argoproj.io/instance").map(String::as_str));
    let marked = argo
        .map(|app| format!("Argo CD application `{app}`"))
        .or_else(|| {
            label("kustomize.toolkit.fluxcd.io/name").map(|name| format!("Flux Kustomization `{name}`"))
        })
        .or_else(|| label("helm.toolkit.fluxcd.io/name").map(|name| format!("Flux HelmRelease `{name}`")));
    marked.or_else(|| held_by(facts, OWNERS))
}

fn other_tool(facts: &Facts<'_>) -> Option<String> {
    let metadata = &facts.snapshot.deployment.metadata;
    let release =
        annotation(metadata, "meta.helm.sh/release-name").map(|name| format!("Helm release `{name}`"));
    let app = || labels(metadata).get("kapp.k14s.io/app").map(|_| "kapp".to_owned());
    release.or_else(app).or_else(|| held_by(facts, TOOLS))
}

fn held_by(facts: &Facts<'_>, known: &[(&str, &str)]) -> Option<String> {
    let owners = facts.survey.owners.known().into_iter().flatten();
    let named = owners.filter_map(|owner| known.iter().find(|(manager, _)| *manager == owner.manager));
    named.map(|(manager, who)| format!("{who} (field manager `{manager}`)")).next()
}

fn last_change(facts: &Facts<'_>, findings: &mut Findings) {
    let path = image_fields(facts.snapshot);
    let path = path.each_ref().map(String::as_str);
    let writer = super::words::writer(&facts.snapshot.deployment.metadata, &path);
    if let Some((manager, at)) = writer.filter(|(manager, _)| *manager != MANAGER) {
        let when = at.map_or_else(String::new, |at| format!(" {}", ago(at, facts.survey.now)));
        findings.add("O803", Info, format!("the image was last set by `{manager}`{when}"), "");
    }
}

fn lock(facts: &Facts<'_>, findings: &mut Findings) {
    if let Some(Some((holder, image))) = findings.need("O804", &facts.survey.lock) {
        let words = format!("{holder} rolls it to {image} now: this run takes over, and that one stops");
        findings.add("O804", Warn, words, "wait until it ends, if it is not to be superseded");
    }
}

fn windows(facts: &Facts<'_>, findings: &mut Findings) {
    let policy = &facts.order.policy;
    if let Some(words) = closed(&policy.windows, facts.survey.now) {
        findings.add("O805", Block, words, "wait for the window");
    }
    if policy.freeze.is_none() {
        return;
    }
    match &facts.survey.alerts {
        Asked::Known(alerts) if alerts.is_empty() => {}
        Asked::Known(alerts) => {
            let words = format!("frozen while an alert fires: {}", alerts.join(", "));
            findings.add("O805", Block, words, "wait until it is over");
        }
        Asked::Unknown(why) => {
            let words = format!("nobody can say whether an alert fires: {why}");
            findings.add("O805", Warn, words, "check `freeze.prometheus`");
        }
    }
}

fn rights(facts: &Facts<'_>, findings: &mut Findings) {
    let Some(missing) = findings.need("P901", &facts.survey.rights_missing) else { return };
    // What a detached drain lacks is told by the way that was chosen instead.
    for need in missing.iter().filter(|need| need.loses != DETACH) {
        let severity = if need.loses == IMAGE { Block } else { Warn };
        let words = format!("the credentials may not {need}: {}", need.loses);
        findings.add("P901", severity, words, "k8s/rollout-role.yml lists what is needed, and what for");
    }
}

fn server(facts: &Facts<'_>, findings: &mut Findings) {
    match facts.survey.server {
        None => findings.skip("P902", "the API server's version"),
        Some(version) if version < SLEEPS => {
            let words =
                format!("the API server is {}.{}: it has no native `sleep` hook", version.0, version.1);
            findings.add("P902", Info, words, "");
        }
        Some(_) => {}
    }
    if let Some(skew) = findings.need("P903", &facts.survey.clock_skew).filter(|skew| skew.abs() > SKEW) {
        let words = format!(
            "the API server's clock is {} s {} the one here",
            skew.abs(),
            if *skew > 0 { "ahead of" } else { "behind" }
        );
        findings.add(
            "P903",
            Warn,
            words,
            "synchronise the clocks: ages and windows are told by the one here",
        );
    }
}

/// Returns the part of a workload that a rollout claims: the images, and nothing else.
#[must_use]
pub fn apply_of_the_image(snapshot: &Snapshot, order: &Order) -> Value {
    let mut spec = serde_json::Map::new();
    for (list, is_init) in [("initContainers", true), ("containers", false)] {
        let slots = snapshot.slots().filter(|slot| slot.is_init == is_init);
        let claimed: Vec<Value> = slots
            .map(|slot| json!({ "name": slot.name, "image": order.image_of(slot.name).to_string() }))
            .collect();
        if !claimed.is_empty() {
            spec.insert(list.to_owned(), claimed.into());
        }
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": snapshot.kind().title(),
        "metadata": { "name": snapshot.deployment.metadata.name },
        "spec": { "template": { "spec": spec } },
    })
}

/// Reads who holds the image from the causes of a conflict, each `conflict with "manager" …` and a
/// field. What we wrote ourselves is not somebody else's.
#[must_use]
pub fn conflicts(snapshot: &Snapshot, causes: &[(String, String)]) -> Vec<Owner> {
    let named = causes.iter().filter_map(|(message, field)| {
        let manager = message.split('"').nth(1)?;
        Some((manager.to_owned(), field.clone()))
    });
    let foreign = named.filter(|(manager, _)| manager != MANAGER);
    foreign.map(|(manager, field)| Owner { at: written_at(snapshot, &manager), manager, field }).collect()
}

fn written_at(snapshot: &Snapshot, manager: &str) -> Option<String> {
    let entries = managed(snapshot).filter(|entry| entry.manager.as_deref() == Some(manager));
    entries.filter_map(|entry| entry.time.as_ref()).max().map(|time| time.0.to_string())
}

fn managed(snapshot: &Snapshot) -> impl Iterator<Item = &ManagedFieldsEntry> {
    snapshot.deployment.metadata.managed_fields.iter().flatten()
}

#[cfg(test)]
pub(super) mod tests;
