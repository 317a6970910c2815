//! Whether a rollout is done, and if not, what is missing. The only success predicate there is:
//! a Deployment's own conditions lie right after a patch, between batches and while paused.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

use self::diagnosis::text::tidy;
use super::history;
use super::observe::{Snapshot, digest_of, is_alive, is_same};
use crate::image::Digest;

pub mod diagnosis;

/// What one look says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every pod that should run the image runs it and gets traffic, and no older pod is left.
    Complete,
    /// Not yet.
    Waiting(Lack),
    /// The template holds another image than the one written.
    Superseded(String),
    /// The Deployment is another object than the one written to.
    Gone,
}

/// The first thing that is missing, and what kind of thing that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What has to change before the rollout can go on.
    pub kind: Kind,
    /// The same in words, one clause.
    pub words: String,
}

/// The kinds of [`Lack`], in the order in which they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The controller has not acted yet, or is told not to.
    Controller,
    /// No room: quota, scheduler or admission refuse pods.
    Room,
    /// New pods exist and are not ready.
    Readiness,
    /// A pod runs something else than what was asked for.
    Digest,
    /// The new pods are ready and their Services do not send them traffic yet.
    Endpoints,
    /// Old pods still serve or still end.
    OldPods,
}

/// What was asked for, as far as a verdict needs it.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The uid of the Deployment that was written to.
    pub uid: String,
    /// The generation that the write made.
    pub generation: i64,
    /// The image that was written.
    pub image: String,
    /// Every digest that a runtime may report for it.
    pub identities: BTreeSet<Digest>,
    /// What was written to the other containers that are rolled with it, by name.
    pub others: BTreeMap<String, Part>,
}

/// What one more container should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The image that was written.
    pub image: String,
    /// Every digest that a runtime may report for it.
    pub identities: BTreeSet<Digest>,
}

impl Goal {
    /// Returns the first image in the template that is not the one that was written.
    #[must_use]
    pub fn other_image<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a str> {
        snapshot.slots().find(|slot| !is_same(slot.image, self.wanted(slot.name))).map(|slot| slot.image)
    }

    /// Returns whether the template has what is asked for: by the very name, or by another one that it got
    /// when this tool wrote it. Any other rename is somebody's wish, to be written.
    #[must_use]
    pub fn is_written(&self, snapshot: &Snapshot) -> bool {
        let is_spelled = snapshot.slots().all(|slot| slot.image == self.wanted(slot.name));
        let was_ours = || history::newest(snapshot).is_some_and(|image| image == self.image);
        is_spelled || (self.other_image(snapshot).is_none() && was_ours())
    }

    /// Returns the image that was written to a container.
    #[must_use]
    pub fn wanted(&self, container: &str) -> &str {
        self.others.get(container).map_or(&self.image, |part| &part.image)
    }
}

/// Returns whether the look is not from before the goal was written.
#[must_use]
pub fn is_current(goal: &Goal, snapshot: &Snapshot) -> bool {
    snapshot.deployment.metadata.generation.unwrap_or(0) >= goal.generation
}

/// Judges one look at the Deployment.
#[must_use]
pub fn judge(goal: &Goal, snapshot: &Snapshot) -> Verdict {
    if snapshot.uid() != goal.uid || snapshot.deployment.metadata.deletion_timestamp.is_some() {
        return Verdict::Gone;
    }
    if !is_current(goal, snapshot) {
        return waiting(Kind::Controller, "the change is not visible yet");
    }
    if let Some(image) = goal.other_image(snapshot) {
        return Verdict::Superseded(image.to_owned());
    }
    // A pause that stops nothing is no lack: all pods may have been there before it.
    let lack = pods_lack(goal, snapshot).or_else(|| old_pods_lack(snapshot));
    lack.map_or(Verdict::Complete, |lack| Verdict::Waiting(paused_lack(snapshot).unwrap_or(lack)))
}

/// Returns what the new pods lack before they can take all the traffic.
#[must_use]
pub fn new_pods_lack(goal: &Goal, snapshot: &Snapshot) -> Option<Lack> {
    paused_lack(snapshot).or_else(|| pods_lack(goal, snapshot))
}

/// Returns whether all is as wanted, but for pods that were asked to end and are still there.
#[must_use]
pub fn is_complete_but_for_ending(goal: &Goal, snapshot: &Snapshot) -> bool {
    let mut rest = snapshot.clone();
    rest.pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    judge(goal, &rest) == Verdict::Complete
}

fn paused_lack(snapshot: &Snapshot) -> Option<Lack> {
    if snapshot.is_paused() { lack(Kind::Controller, "the Deployment is paused") } else { None }
}

fn pods_lack(goal: &Goal, snapshot: &Snapshot) -> Option<Lack> {
    if !is_current(goal, snapshot) || !snapshot.is_observed() {
        return lack(Kind::Controller, "the controller has not seen the change yet");
    }
    if snapshot.new_set().is_none() {
        return no_set_lack(snapshot);
    }
    let (new, wanted, ready) = (snapshot.new_pods(), snapshot.wanted(), snapshot.ready_new_pods());
    if ready < wanted {
        let words = format!("{ready} of {wanted} new pods ready");
        let refused = room_lack(snapshot).or_else(|| unschedulable(&new));
        return Some(refused.map_or_else(
            || Lack { kind: Kind::Readiness, words: words.clone() },
            |lack| Lack { words: format!("{words}; {}", lack.words), ..lack },
        ));
    }
    if new.len() > wanted {
        return lack(Kind::Controller, &format!("{} new pods for {wanted} wanted", new.len()));
    }
    digest_lack(goal, snapshot, &new).or_else(|| endpoint_lack(snapshot, &new))
}

/// Returns each rolled container of a new pod that is not proven, with what its runtime reports.
fn unproven<'a>(
    goal: &'a Goal,
    snapshot: &'a Snapshot,
    new: &'a [&'a Pod],
) -> impl Iterator<Item = (&'a Pod, &'a String, Option<Digest>)> {
    let names = std::iter::once(&snapshot.container).chain(&snapshot.others);
    let all = names.flat_map(|name| new.iter().map(move |pod| (*pod, name, digest_of(pod, name))));
    all.filter(|(_, container, digest)| {
        let wanted = goal.others.get(*container).map_or(&goal.identities, |part| &part.identities);
        !digest.as_ref().is_some_and(|digest| wanted.contains(digest))
    })
}

/// Returns the name of a new pod that runs a digest that is not among those of the goal, and the same
/// in words.
#[must_use]
pub fn stranger(goal: &Goal, snapshot: &Snapshot) -> Option<(String, String)> {
    let new = snapshot.new_pods();
    let (pod, container, digest) = unproven(goal, snapshot, &new)
        .find_map(|(pod, container, digest)| Some((pod, container, digest?)))?;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let image = goal.wanted(container);
    let words = format!("pod {name} runs {digest}, and the registry does not count that to {image}");
    Some((name, words))
}

fn digest_lack(goal: &Goal, snapshot: &Snapshot, new: &[&Pod]) -> Option<Lack> {
    let (pod, container, digest) = unproven(goal, snapshot, new).next()?;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let place = if snapshot.others.is_empty() { String::new() } else { format!("container {container} of ") };
    let runs = digest.map_or_else(|| "reports no digest".to_owned(), |digest| format!("runs {digest}"));
    lack(Kind::Digest, &format!("{place}pod {name} {runs}, which is not the image that was asked for"))
}

fn endpoint_lack(snapshot: &Snapshot, new: &[&Pod]) -> Option<Lack> {
    let wanted = snapshot.wanted();
    let uids: BTreeSet<&str> = new.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    snapshot.services(&snapshot.template_labels()).into_iter().find_map(|service| {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let routed = snapshot.ready_endpoints(name).intersection(&uids).count();
        let words = format!("service {name} sends traffic to {routed} of {wanted} new pods");
        (routed < wanted).then_some(Lack { kind: Kind::Endpoints, words })
    })
}

/// Returns what is still there of older pods, or not settled since they went.
#[must_use]
pub fn old_pods_lack(snapshot: &Snapshot) -> Option<Lack> {
    let old = snapshot.old_pods();
    let (alive, ending) = old.iter().partition::<Vec<&Pod>, _>(|pod| is_alive(pod));
    if !alive.is_empty() {
        return lack(Kind::OldPods, &format!("old pods left: {}", alive.len()));
    }
    if !ending.is_empty() {
        return lack(Kind::OldPods, &format!("old pods ending: {}", ending.len()));
    }
    let wanted = i32::try_from(snapshot.wanted()).unwrap_or(i32::MAX);
    let status = snapshot.deployment.status.clone().unwrap_or_default();
    let counts = [status.updated_replicas, status.replicas, status.available_replicas];
    if counts.iter().any(|count| count.unwrap_or(0) != wanted) {
        let [updated, replicas, available] = counts.map(|count| count.unwrap_or(0));
        let words = format!("{updated} updated, {available} available, {replicas} in all of {wanted} wanted");
        return lack(Kind::Controller, &words);
    }
    None
}

/// A quota may refuse the ReplicaSet itself; the Deployment's condition then has the words.
fn no_set_lack(snapshot: &Snapshot) -> Option<Lack> {
    let status = snapshot.deployment.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let refused =
        conditions.iter().find(|condition| condition.reason.as_deref() == Some("ReplicaSetCreateError"));
    match refused.and_then(|condition| condition.message.as_deref()) {
        Some(message) => lack(Kind::Room, &tidy(message)),
        None => lack(Kind::Controller, "there is no ReplicaSet for it yet"),
    }
}

/// Returns the first refusal of a pod that the controllers report.
fn room_lack(snapshot: &Snapshot) -> Option<Lack> {
    let set = snapshot.new_set().and_then(|set| set.status.as_ref());
    let sets = set.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let failure =
        sets.iter().find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True");
    let message = failure.and_then(|condition| condition.message.clone())?;
    lack(Kind::Room, &tidy(&message))
}

fn unschedulable(pods: &[&Pod]) -> Option<Lack> {
    pods.iter().find_map(|pod| {
        let conditions = pod.status.as_ref()?.conditions.as_deref()?;
        let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
        let refused = scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable");
        refused
            .then(|| Lack { kind: Kind::Room, words: tidy(scheduled.message.as_deref().unwrap_or_default()) })
    })
}

fn lack(kind: Kind, words: &str) -> Option<Lack> {
    Some(Lack { kind, words: words.to_owned() })
}

fn waiting(kind: Kind, words: &str) -> Verdict {
    Verdict::Waiting(Lack { kind, words: words.to_owned() })
}

#[cfg(test)]
mod tests;
