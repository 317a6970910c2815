//! Pods without a node. Final at once is only what nothing can unblock: the new pod is kept out by
//! old ones that may not go before it is ready, and nothing adds nodes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::rules as r;
use super::scene::{Question, Said, Scene, condition};
use super::symptom::{Settles, Symptom};
use super::{History, start, text};

/// How long an autoscaler that is there may take to bring a node.
const AUTOSCALER: Duration = Duration::from_secs(300);
/// How long one may take to be noticed: it looks every ten seconds.
const NOTICED: Duration = Duration::from_secs(15);
const OTHER: Duration = Duration::from_secs(60);

/// What the scheduler says when pods of the same template are in each other's way.
const OWN_PODS: &[&str] = &[
    "pod anti-affinity",
    "pods anti-affinity",
    "free ports",
    "topology spread constraints",
    "ReadWriteOncePod",
    "max volume count",
];

pub(super) fn inspect(scene: &Scene<'_>, history: &History, symptoms: &mut Vec<Symptom>) {
    for pod in scene.living() {
        let Some(scheduled) = condition(pod, "PodScheduled").filter(|found| found.status == "False") else {
            continue;
        };
        let message = scheduled.message.as_deref().unwrap_or_default();
        let said = text::tidy(message);
        let symptom = match scheduled.reason.as_deref() {
            Some("Unschedulable") => unschedulable(scene, pod, message),
            Some("SchedulingGated") => {
                Symptom::of(&r::GATED, format!("a scheduling gate holds the pod: {said}"))
                    .hint("look at who sets `schedulingGates` and who should take them off")
                    .settles(Settles::After(OTHER))
            }
            Some("SchedulerError") => Symptom::of(&r::SCHEDULER, format!("the scheduler fails: {said}"))
                .hint("look at the scheduler's log")
                .settles(Settles::After(OTHER)),
            _ => continue,
        };
        let is_early = symptom.rule.id == r::DEADLOCK.id && history.has_just_changed_ways(scene.now);
        let symptom = if is_early { symptom.settles(Settles::Never) } else { symptom };
        symptoms.push(symptom.on(pod, None));
    }
}

fn unschedulable(scene: &Scene<'_>, pod: &Pod, message: &str) -> Symptom {
    if let Some(object) = text::missing(message) {
        return start::missing(scene, &r::MOUNT_REFERENCE, object);
    }
    let said = text::tidy(message);
    let help = Help::of(scene, pod);
    if is_deadlock(scene, pod, message) {
        let settles = match help {
            // A new pod that gets ready lets an old one go, and that one may leave a node.
            Help::None | Help::Declined | Help::Unknown if scene.is_under_way() => Settles::After(OTHER),
            Help::None | Help::Declined => Settles::Now,
            Help::Unknown => Settles::After(NOTICED),
            Help::Possible | Help::Coming => Settles::After(AUTOSCALER),
            Help::Unasked => Settles::Never,
        };
        let words = format!(
            "deadlock: the old pods leave no node for a new one and may not go before it is ready: {said}"
        );
        return Symptom::of(&r::DEADLOCK, words)
            .hint("add a node, or add `matchLabelKeys: [pod-template-hash]` to the constraint, or allow a gap with `maxUnavailable: 1` and `drain: none`")
            .settles(settles)
            .asks(Question::Autoscaler);
    }
    let settles = match help {
        _ if scene.fallback_ahead => Settles::Never,
        Help::Declined => Settles::Now,
        Help::Possible | Help::Coming => Settles::After(AUTOSCALER),
        Help::None | Help::Unknown => Settles::After(OTHER),
        Help::Unasked => Settles::Never,
    };
    Symptom::of(&r::UNSCHEDULABLE, format!("no node takes the pod: {said}"))
        .hint("make room, or ask for less in `resources.requests`, or correct selector and tolerations")
        .settles(settles)
        .asks(Question::Autoscaler)
}

/// Only old pods are in the way, none of them may go first, and none of them is going.
fn is_deadlock(scene: &Scene<'_>, pod: &Pod, message: &str) -> bool {
    let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
    let is_own = OWN_PODS.iter().any(|words| message.contains(words));
    let is_others = ["Insufficient", "Too many pods"].iter().any(|words| message.contains(words));
    scene.unavailable == 0
        && !scene.fallback_ahead
        && scene.staying().next().is_some()
        && !scene.is_making_room()
        && nominated.is_none_or(str::is_empty)
        && is_own
        && !is_others
}

/// Who could bring a node.
#[derive(Clone, Copy)]
enum Help {
    /// A node is on its way, or somebody is made to leave one.
    Coming,
    /// The autoscaler said no, twice.
    Declined,
    /// There is an autoscaler.
    Possible,
    /// There is none.
    None,
    /// Nobody may tell.
    Unknown,
    /// Nobody was asked yet.
    Unasked,
}

impl Help {
    fn of(scene: &Scene<'_>, pod: &Pod) -> Self {
        let times = |reasons: &[&str]| -> i32 {
            let about = scene.events_of(pod).filter(|event| reasons.contains(&event.reason.as_str()));
            about.map(|event| event.count).sum()
        };
        let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
        if times(&["TriggeredScaleUp", "Nominated"]) > 0 || nominated.is_some_and(|name| !name.is_empty()) {
            return Self::Coming;
        }
        if times(&["NotTriggerScaleUp"]) >= 2 {
            return Self::Declined;
        }
        match scene.answers.said(&Question::Autoscaler) {
            Some(Said::Yes) => Self::Possible,
            Some(Said::No) => Self::None,
            Some(Said::Refused(_) | Said::Unknown(_)) => Self::Unknown,
            None => Self::Unasked,
        }
    }
}
