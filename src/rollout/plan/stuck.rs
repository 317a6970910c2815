//! Which pod of a StatefulSet is ended so that its controller goes on: it replaces pods in order and
//! waits for each to be ready, also for one of an older template that never will be. An old pod may be
//! unready because a peer of it is away, which passes; ending it then costs the quorum. So one is ended
//! at a time, while everything else is there, and only one that will not come back by itself.

use std::cmp::Reverse;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::step::STUCK;
use crate::rollout::annotations::{AT, OUTCOME};
use crate::rollout::observe::{Snapshot, annotation, is_ready, is_same};
use crate::rollout::outcome::Ending;
use crate::rollout::verdict::diagnosis::scene::{condition, containers, spec_of, waiting};

/// For how long a pod that was unready before the rollout began may take to become ready, and a broken
/// one is left alone while others are away: as long as a slow start.
const HEAL: Duration = Duration::from_secs(60);
/// What a container waits in that nothing but another template gets it out of.
const HOPELESS: &[&str] = &[
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// Returns the pod that is to be ended, and for how long it must have been that pod.
#[must_use]
pub fn candidate(snapshot: &Snapshot) -> Option<(&Pod, Duration)> {
    let set = snapshot.set.as_ref()?;
    let stuck = set.stuck();
    let serving = set.own_pods().filter(|pod| is_ready(pod)).count();
    let others = if serving + stuck.len() >= set.replicas() {
        Others::There
    } else if serving > 0 {
        Others::SomeAway
    } else {
        Others::Away
    };
    let timed = stuck.into_iter().filter_map(|pod| Some((pod, patience(snapshot, pod, others)?)));
    timed.min_by_key(|(pod, patience)| (*patience, Reverse(number(pod))))
}

/// Returns the pod that has been the one to end for long enough.
pub(super) fn due(snapshot: &Snapshot, lasted: Duration) -> Option<Pod> {
    candidate(snapshot).filter(|(_, patience)| lasted >= *patience).map(|(pod, _)| pod.clone())
}

/// What the pods of the set do that do not stop it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    /// Each is ready.
    There,
    /// One at least is not there, or not ready.
    SomeAway,
    /// No pod at all is ready.
    Away,
}

fn patience(snapshot: &Snapshot, pod: &Pod, others: Others) -> Option<Duration> {
    let is_back = annotation(&snapshot.deployment.metadata, OUTCOME).map(String::as_str)
        == Some(Ending::RolledBack.word());
    if (is_back || !is_of_before(snapshot, pod)) || is_hopeless(pod) {
        // Members that wait for this one's place to be filled would wait for ever.
        let is_worth_it = is_back || others == Others::Away;
        return if others == Others::There { Some(STUCK) } else { Some(HEAL).filter(|_| is_worth_it) };
    }
    (others == Others::There && was_unready_before(snapshot, pod)).then_some(HEAL)
}

/// Returns whether the pod runs the image from before, as far as anybody knows: such a one was well once.
fn is_of_before(snapshot: &Snapshot, pod: &Pod) -> bool {
    let image = spec_of(pod, &snapshot.container).and_then(|container| container.image.as_deref());
    let journal = snapshot.journal();
    journal.is_none_or(|journal| image.is_some_and(|image| is_same(image, &journal.previous)))
}

fn is_hopeless(pod: &Pod) -> bool {
    containers(pod).filter_map(|(status, _)| waiting(status)).any(|(reason, _)| HOPELESS.contains(&reason))
}

/// Returns whether the pod was not ready before the image was written: then nothing that was done since
/// has made it so.
fn was_unready_before(snapshot: &Snapshot, pod: &Pod) -> bool {
    let written = annotation(&snapshot.deployment.metadata, AT).and_then(|at| at.parse::<Timestamp>().ok());
    let since = condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    written.zip(since).is_some_and(|(written, since)| since.0 < written)
}

/// Pods are replaced from the highest number down.
fn number(pod: &Pod) -> Option<u32> {
    pod.metadata.name.as_deref()?.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests;
