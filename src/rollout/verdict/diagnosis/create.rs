//! Pods that are not created. The condition shows the first refusal of an episode, so the API server
//! is asked again with a pod that it need not keep.

use std::time::Duration;

use super::rules as r;
use super::scene::{Condition, Notice, Object, Question, Said, Scene};
use super::symptom::{Settles, Symptom};
use super::{History, Rule, text};

/// How long a refusal stands alone when nobody may try a pod.
const UNTRIED: Duration = Duration::from_secs(5);
/// How long a webhook may be away.
const POLICY: Duration = Duration::from_secs(30);
const OTHER: Duration = Duration::from_secs(60);

pub(super) fn inspect(scene: &Scene<'_>, history: &History, symptoms: &mut Vec<Symptom>) {
    let set = scene.conditions.iter().find(|condition| condition.reason == "ReplicaSetCreateError");
    symptoms.extend(set.map(|condition| {
        Symptom::of(&r::SET, format!("the ReplicaSet is not created: {}", text::tidy(&condition.message)))
            .hint("correct the pod template, or what refuses it")
            .settles(Settles::After(POLICY))
    }));
    let Some(refusal) = refusal(scene) else { return };
    let symptom = match scene.answers.said(&Question::Trial) {
        // What the API server says now counts for more than what it said first.
        Some(Said::Refused(now)) => read(scene, now, Trial::Refused),
        Some(Said::Yes) => read(scene, &refusal, Trial::Allowed),
        Some(Said::No | Said::Unknown(_)) => read(scene, &refusal, Trial::Unknown),
        None => read(scene, &refusal, Trial::Untried),
    };
    let is_early = symptom.rule.id == r::QUOTA.id && history.has_just_changed_ways(scene.now);
    let symptom = if is_early { symptom.settles(Settles::Never) } else { symptom };
    symptoms.push(symptom.asks(Question::Trial));
}

/// Returns the words of the refusal under way. Workloads whose controller sets no condition are read
/// off their events, as long as pods are missing.
fn refusal(scene: &Scene<'_>) -> Option<String> {
    let failing = |condition: &&Condition| {
        condition.type_ == "ReplicaFailure"
            && condition.status == "True"
            && condition.reason == "FailedCreate"
    };
    if let Some(condition) = scene.conditions.iter().find(failing) {
        return Some(condition.message.clone());
    }
    let has_conditions = scene.conditions.iter().any(|condition| condition.type_ == "Progressing");
    let is_short = scene.new.len() < scene.wanted;
    let refused = scene.events.iter().filter(|event| event.reason == "FailedCreate" && event.kind != "Pod");
    let latest = refused.max_by_key(|event| event.last)?;
    (!has_conditions && is_short && !has_passed(scene, latest)).then(|| latest.message.clone())
}

/// A pod that was made after the refusal shows that it is over; the event stays.
fn has_passed(scene: &Scene<'_>, refusal: &Notice) -> bool {
    let made = scene.new.iter().filter_map(|pod| pod.metadata.creation_timestamp.as_ref());
    made.map(|made| made.0.as_millisecond()).any(|made| made >= refusal.last)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    Refused,
    Allowed,
    Unknown,
    Untried,
}

fn read(scene: &Scene<'_>, words: &str, trial: Trial) -> Symptom {
    let said = text::tidy(words);
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    let certain = match trial {
        Trial::Refused => Settles::Now,
        Trial::Unknown => Settles::After(UNTRIED),
        // The controller is refused what we are not: it is asked again soon.
        Trial::Allowed => Settles::After(OTHER),
        Trial::Untried => Settles::Never,
    };
    let told = |rule: &'static Rule, hint: &str| {
        Symptom::of(rule, format!("pods are not created: {said}")).hint(hint).settles(certain)
    };
    if has(&["exceeded quota"]) {
        return quota(scene, &said, certain);
    }
    if has(&["failed calling webhook", "failed to call webhook"]) {
        return told(&r::WEBHOOK_DOWN, "bring the webhook's service back, or set its failurePolicy")
            .settles(Settles::After(POLICY));
    }
    if has(&["denied the request", "denied request"]) {
        return told(&r::WEBHOOK, "change the pod template as the policy asks");
    }
    if has(&["violates PodSecurity"]) {
        return told(&r::POD_SECURITY, "change the pod's securityContext, or the namespace's level");
    }
    if let Some(object) = text::missing(words) {
        return reference(scene, object, &said, trial);
    }
    if has(&[" is invalid: "]) {
        return told(&r::INVALID, "correct the pod template");
    }
    if has(&[
        "timed out",
        "timeout",
        "etcdserver",
        "the object has been modified",
        "connection refused",
        "try again",
    ]) {
        return told(&r::NOT_CREATED, "run the same put again").settles(Settles::After(OTHER));
    }
    if has(&["is forbidden", "forbidden: "]) {
        return told(&r::FORBIDDEN, "change the pod template as the message asks");
    }
    told(&r::NOT_CREATED, "look at the events of the ReplicaSet").settles(Settles::After(OTHER))
}

/// A full quota is final when only our own pods could make room and none of them may go first.
fn quota(scene: &Scene<'_>, said: &str, certain: Settles) -> Symptom {
    let settles = if scene.fallback_ahead {
        Settles::Never
    } else if scene.unavailable > 0 || scene.is_making_room() {
        Settles::After(2 * OTHER)
    } else if scene.is_under_way() {
        Settles::After(OTHER)
    } else {
        certain
    };
    Symptom::of(&r::QUOTA, format!("a quota is full and no old pod may go before a new one is ready: {said}"))
        .hint("raise the quota by one pod, or allow a gap with `maxUnavailable: 1` and `drain: none`")
        .settles(settles)
}

fn reference(scene: &Scene<'_>, object: Object, said: &str, trial: Trial) -> Symptom {
    let question = Question::Object(object.clone());
    let settles = match (scene.answers.said(&question), trial) {
        (Some(Said::No), _) | (_, Trial::Refused) => Settles::Now,
        (Some(Said::Yes), _) => Settles::After(OTHER),
        (Some(_), _) => Settles::After(UNTRIED),
        (None, _) => Settles::Never,
    };
    Symptom::of(&r::ADMISSION_REFERENCE, format!("pods are not created: {said}"))
        .keyed(object.to_string())
        .hint(format!("create {object}, or correct the pod template"))
        .settles(settles)
        .asks(question)
}
