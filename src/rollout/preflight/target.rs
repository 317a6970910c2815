//! Rules about the workload itself (T): whether it is there, at rest, and ours to change.

use super::facts::Severity::{Block, Info, Warn};
use super::facts::{Facts, Findings, Rule};
use super::is_recreate;
use super::words::by;
use crate::image::Pinned;
use crate::rollout::learned::start_p95;
use crate::rollout::outside::image_fields;
use crate::rollout::plan::pace::pace;
use crate::rollout::verdict::{Goal, Part, Verdict, judge};

/// The rules of this file. T001 and T002 speak before there is anything to look at: where the workload is
/// read, and in [`super::containers`].
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "T001",
        name: "not found",
        severity: Block,
        when: "the workload does not exist",
        fix: "correct `namespace` or the name; the error lists the closest ones",
    },
    Rule {
        id: "T002",
        name: "no container",
        severity: Block,
        when: "the template has no container of that name, or has several and none was named",
        fix: "set `container` to one that the error lists",
    },
    Rule {
        id: "T003",
        name: "current",
        severity: Info,
        when: "every pod runs the image already: nothing is written, and no other rule is asked",
        fix: "nothing",
    },
    Rule {
        id: "T004",
        name: "paused",
        severity: Block,
        when: "`spec.paused`: the controller would not roll a new image; info where the wanted one runs already",
        fix: "ask who paused it, then `kubectl rollout resume`",
    },
    Rule {
        id: "T005",
        name: "zero",
        severity: Warn,
        when: "0 replicas: the image is set and nothing can be proven",
        fix: "scale it up first, if it is meant to run",
    },
    Rule {
        id: "T006",
        name: "in flight",
        severity: Warn,
        when: "a rollout is under way; one to the same image is taken over (info), any other replaced",
        fix: "wait for it, if it is not to be replaced",
    },
    Rule {
        id: "T007",
        name: "sick",
        severity: Warn,
        when: "fewer pods are available than the rollout keeps, or the last rollout made no progress, before anything is changed",
        fix: "find out why before you change it, unless this image is the cure",
    },
    Rule {
        id: "T008",
        name: "recreate",
        severity: Block,
        when: "strategy Recreate: every pod is stopped before a new one starts; a warning where no Service sends traffic to them",
        fix: "strategy RollingUpdate, or `allow: [T008]` for the outage",
    },
    Rule {
        id: "T009",
        name: "deleting",
        severity: Block,
        when: "the workload is being deleted",
        fix: "run the same put again once it exists",
    },
    Rule {
        id: "T010",
        name: "owned",
        severity: Block,
        when: "another object controls it, or a Flagger Canary or an Argo Rollout has it as its target",
        fix: "change the image where the owner reads it",
    },
];

/// Lets each rule look.
pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    inspect_standing(facts, findings);
    zero(facts, findings);
    in_flight(facts, findings);
    sick(facts, findings);
    recreate(facts, findings);
    owned(facts, findings);
}

/// Lets the rules look that no rollout passes, however far it has come.
pub(super) fn inspect_standing(facts: &Facts<'_>, findings: &mut Findings) {
    paused(facts, findings);
    deleting(facts, findings);
}

/// Returns whether every pod runs the image and nothing is left to do.
pub(super) fn is_current(facts: &Facts<'_>) -> bool {
    let (goal, snapshot) = (goal(facts), facts.snapshot);
    snapshot.journal().is_none() && goal.is_written(snapshot) && judge(&goal, snapshot) == Verdict::Complete
}

/// Returns what is asked for as a goal.
fn goal(facts: &Facts<'_>) -> Goal {
    let (order, survey) = (facts.order, facts.survey);
    let identities = |image: &Pinned| {
        let other = survey.other_images.get(&image.to_string());
        let asked = if *image == order.image { Some(&survey.image) } else { other };
        let known = asked.and_then(|asked| asked.known()).map(|image| image.identities.clone());
        known.into_iter().flatten().chain([image.digest.clone()]).collect()
    };
    let part = |name: &String| {
        let image = order.image_of(name);
        (name.clone(), Part { image: image.to_string(), identities: identities(image) })
    };
    Goal {
        uid: facts.snapshot.uid().to_owned(),
        generation: 0,
        image: order.image.to_string(),
        identities: identities(&order.image),
        others: facts.snapshot.others.iter().map(part).collect(),
    }
}

/// Says that there is nothing to do.
pub(super) fn current(facts: &Facts<'_>, findings: &mut Findings) {
    let (snapshot, wanted) = (facts.snapshot, facts.snapshot.wanted());
    let proven = snapshot.new_pods().len();
    let revision = snapshot.revision();
    let words =
        format!("already at {} on {proven}/{wanted} pods (revision {revision})", facts.order.image.digest);
    findings.add("T003", Info, words, "");
    paused_and_current(facts, findings);
}

/// Says of a workload with nothing left to do that it is paused: the next image would not roll.
pub(super) fn paused_and_current(facts: &Facts<'_>, findings: &mut Findings) {
    if facts.snapshot.is_paused() {
        let who = by(&facts.snapshot.deployment.metadata, &["f:spec", "f:paused"], facts.survey.now);
        let words = format!("`{}` is paused{who}: the next image would not roll", facts.snapshot.name());
        findings.add("T004", Info, words, "");
    }
}

fn paused(facts: &Facts<'_>, findings: &mut Findings) {
    let metadata = &facts.snapshot.deployment.metadata;
    if facts.snapshot.is_paused() {
        let who = by(metadata, &["f:spec", "f:paused"], facts.survey.now);
        let words = format!("`{}` is paused{who}: a new image would not roll", facts.snapshot.name());
        findings.add("T004", Block, words, kubectl(facts, "rollout resume"));
    }
}

fn zero(facts: &Facts<'_>, findings: &mut Findings) {
    if facts.snapshot.wanted() == 0 {
        let words = "0 replicas: the image is set, nothing can be proven".to_owned();
        findings.add("T005", Warn, words, "scale it up first, if it is meant to run");
    }
}

fn in_flight(facts: &Facts<'_>, findings: &mut Findings) {
    let snapshot = facts.snapshot;
    let (image, journal) = (snapshot.image(), snapshot.journal());
    if journal.is_none() && is_at_rest(facts) {
        return;
    }
    if goal(facts).other_image(snapshot).is_none() {
        let words = "a rollout to this image is under way already: it is taken over".to_owned();
        return findings.add("T006", Info, words, "");
    }
    let path = image_fields(snapshot);
    let path = path.each_ref().map(String::as_str);
    let who = by(&snapshot.deployment.metadata, &path, facts.survey.now);
    let words = match journal {
        Some(_) => format!("an unfinished rollout to {image}, written{who}, is ended first"),
        None => format!("a rollout to {image}, written{who}, is in progress: this one replaces it"),
    };
    findings.add("T006", Warn, words, "wait for it, if it is not to be replaced");
}

fn is_at_rest(facts: &Facts<'_>) -> bool {
    let status = facts.snapshot.deployment.status.clone().unwrap_or_default();
    let wanted = i32::try_from(facts.snapshot.wanted()).unwrap_or(i32::MAX);
    let updated = status.updated_replicas.unwrap_or(0);
    facts.snapshot.is_observed() && updated >= wanted && status.replicas.unwrap_or(0) <= updated
}

fn sick(facts: &Facts<'_>, findings: &mut Findings) {
    let snapshot = facts.snapshot;
    // While we hold new pods back, the counts say what we did and not how the workload is.
    if snapshot.is_held() {
        return;
    }
    let status = snapshot.deployment.status.clone().unwrap_or_default();
    let available = usize::try_from(status.available_replicas.unwrap_or(0)).unwrap_or(0);
    let wanted = snapshot.wanted();
    let floor = wanted - pace(snapshot, facts.order, facts.choice.way).unavailable;
    let conditions = status.conditions.unwrap_or_default();
    let stuck = conditions.iter().find(|known| known.type_ == "Progressing" && known.status == "False");
    let words = match stuck {
        _ if available < floor && !is_recreate(snapshot) => {
            format!("{available}/{wanted} pods available before the change; the floor is {floor}")
        }
        Some(stuck) => {
            let message = stuck.message.as_deref().unwrap_or("no progress");
            format!("the last rollout is stuck: {message}")
        }
        None => return,
    };
    findings.add("T007", Warn, words, kubectl(facts, "describe"));
}

fn recreate(facts: &Facts<'_>, findings: &mut Findings) {
    if !is_recreate(facts.snapshot) || facts.snapshot.wanted() == 0 {
        return;
    }
    let seconds = start_p95(facts.snapshot).map_or_else(String::new, |start| {
        format!(" of about {} s and the time that the old pods take to end", start.as_secs())
    });
    let (severity, words) = if facts.is_unrouted() {
        (Warn, format!("strategy Recreate stops every pod first: nothing runs for a while{seconds}"))
    } else {
        (Block, format!("strategy Recreate stops every pod first: an outage{seconds}"))
    };
    findings.add("T008", severity, words, "strategy RollingUpdate, or `allow: [T008]` for the outage");
}

fn deleting(facts: &Facts<'_>, findings: &mut Findings) {
    if facts.snapshot.deployment.metadata.deletion_timestamp.is_some() {
        let words = format!("`{}` is being deleted", facts.snapshot.name());
        findings.add("T009", Block, words, "run the same put again once it exists");
    }
}

fn owned(facts: &Facts<'_>, findings: &mut Findings) {
    let name = facts.snapshot.name();
    let owners = facts.snapshot.deployment.metadata.owner_references.iter().flatten();
    let controls = owners.filter(|owner| owner.controller == Some(true));
    let mut claims: Vec<String> = controls.map(|owner| format!("{}/{}", owner.kind, owner.name)).collect();
    if claims.is_empty() {
        let Some(known) = findings.need("T010", &facts.survey.claimed_by) else { return };
        let known = known.iter().filter(|claim| matches!(claim.kind.as_str(), "Canary" | "Rollout"));
        claims.extend(known.map(|claim| format!("{}/{}", claim.kind, claim.name)));
    }
    if let Some(owner) = claims.first() {
        let words = format!("`{name}` is owned by {owner}, which would revert or run this again");
        findings.add("T010", Block, words, format!("change the image where {owner} reads it"));
    }
}

/// Returns a command about the workload to type next.
fn kubectl(facts: &Facts<'_>, verb: &str) -> String {
    let name = facts.snapshot.name();
    let (namespace, name) = name.split_once('/').unwrap_or(("default", &name));
    format!("kubectl -n {namespace} {verb} {}/{name}", facts.snapshot.kind().word())
}

#[cfg(test)]
pub(super) mod tests;
