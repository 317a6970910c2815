//! The one next step of a rollout, read off what is there. No step depends on what this process did
//! before, so a run that takes over from a killed one does the same thing the killed one would have.
//!
//! The order of a detached drain cannot lose capacity: the old ReplicaSet lets go of its pods only
//! when every new pod is ready and routed; a pod leaves its Services only while that still holds; it
//! ends only after its endpoints are gone for the drain wait. Until then everything can be undone.

use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;

use super::canary;
use super::patch::is_all_at_once;
use super::stuck;
use crate::rollout::annotations::Journal;
use crate::rollout::observe::{Snapshot, has_ended, is_alive, is_detached};
use crate::rollout::verdict::{Goal, Kind, Lack, Verdict, is_complete_but_for_ending, judge, new_pods_lack};

/// How long new pods must have been ready and routed, without a break, before old ones are let go:
/// longer than the second that kube-proxy may take to act on an endpoint.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How long a refusal of pods (quota, no node) is waited out before the hold is given up.
pub const ROOM_PATIENCE: Duration = Duration::from_secs(15);

/// For how long a broken pod of an older template may stop a controller that goes in order.
pub const STUCK: Duration = Duration::from_secs(5);

/// What to do next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing but wait for what is missing.
    Wait(Lack),
    /// Delete these ReplicaSets and keep their pods.
    Orphan(Vec<ReplicaSet>),
    /// Watch the canary.
    Test,
    /// Watch whether all that is as wanted holds still.
    Settle,
    /// The canary passed: go on with all pods.
    Widen(Journal),
    /// Put the Deployment's settings back.
    Release(Journal),
    /// Take these pods out of their Services.
    Detach(Vec<Pod>),
    /// Put these pods back into their Services.
    Attach(Vec<Pod>),
    /// Wait for the rest of the drain wait.
    Drain(Duration),
    /// End these pods.
    Delete(Vec<Pod>),
    /// There is no room for all new pods at once: go on as a rolling update.
    FallBack(Journal, Lack),
    /// All is as wanted; put the settings back and close the journal.
    Finish(Journal),
    /// All is as wanted.
    Done,
    /// Somebody else wrote another image.
    Superseded(String),
    /// The Deployment is gone.
    Gone,
}

/// For how long some things have been true without a break.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// The new pods lack nothing.
    pub ready: Duration,
    /// No Service routes to any detached pod.
    pub unrouted: Duration,
    /// Pods are refused for want of room.
    pub refused: Duration,
    /// The canary passed, or nobody asked for one.
    pub tested: bool,
    /// For how long a finished rollout still has to hold still.
    pub settle: Duration,
    /// The one pod is the same that a controller waits for which goes in order, see [`stuck::candidate`].
    pub stuck: Duration,
    /// Old pods have had all the time that they may take to leave and to end.
    pub overdue: bool,
}

/// Returns the next step towards `goal`.
#[must_use]
pub fn next(goal: &Goal, snapshot: &Snapshot, clocks: Clocks, drain_wait: Duration) -> Step {
    let verdict = judge(goal, snapshot);
    // All new pods serve: a pod that takes for ever to end, on a node that died with it, is no reason to
    // take them back.
    let is_all_but_ended = clocks.overdue && is_complete_but_for_ending(goal, snapshot);
    let verdict = if is_all_but_ended { Verdict::Complete } else { verdict };
    match (verdict, snapshot.journal()) {
        (Verdict::Gone, _) => Step::Gone,
        // A person's image is not to be held by our settings. Another rollout's has its own journal.
        (Verdict::Superseded(_), Some(journal)) if journal.image == goal.image => Step::Finish(journal),
        (Verdict::Superseded(image), _) => Step::Superseded(image),
        (Verdict::Complete, _) if !clocks.settle.is_zero() => Step::Settle,
        (Verdict::Complete, None) => Step::Done,
        (Verdict::Complete, Some(journal)) => Step::Finish(journal),
        (Verdict::Waiting(lack), journal) => {
            if let Some(pod) = stuck::due(snapshot, clocks.stuck) {
                return Step::Delete(vec![pod]);
            }
            let hold = journal.filter(|_| snapshot.is_held());
            towards(goal, snapshot, Situation { hold, lack, clocks, drain_wait })
        }
    }
}

struct Situation {
    /// The journal of a Deployment whose new pods are held back.
    hold: Option<Journal>,
    lack: Lack,
    clocks: Clocks,
    drain_wait: Duration,
}

fn towards(goal: &Goal, snapshot: &Snapshot, now: Situation) -> Step {
    if let Some(step) =
        now.hold.as_ref().and_then(|hold| canary::step(goal, snapshot, hold, now.clocks.tested))
    {
        return step;
    }
    if let Some(lack) = new_pods_lack(goal, snapshot) {
        return until_ready(snapshot, lack, now);
    }
    let old_sets: Vec<ReplicaSet> = snapshot.old_sets().cloned().collect();
    if old_sets.iter().any(|set| set.metadata.deletion_timestamp.is_some()) {
        return wait(Kind::OldPods, "the old ReplicaSet lets go of its pods");
    }
    match now.hold {
        None if !old_sets.is_empty() => Step::Wait(now.lack),
        None => drain(snapshot, &now),
        Some(journal) if old_sets.is_empty() => Step::Release(journal),
        Some(journal) if snapshot.routing.is_none() => Step::FallBack(journal, blind()),
        Some(journal) if now.clocks.ready < settle(&journal) => wait(Kind::Endpoints, "the new pods settle"),
        Some(_) => Step::Orphan(old_sets),
    }
}

/// New pods that are not ready, or not ready any more, need the old ones: those come back, whatever
/// else is going on.
fn until_ready(snapshot: &Snapshot, lack: Lack, now: Situation) -> Step {
    let away: Vec<Pod> =
        snapshot.orphans().filter(|pod| is_alive(pod) && is_detached(pod)).cloned().collect();
    if !away.is_empty() && snapshot.ready_new_pods() < snapshot.wanted() {
        return Step::Attach(away);
    }
    let is_refused = lack.kind == Kind::Room && now.clocks.refused >= ROOM_PATIENCE;
    match now.hold {
        // Somebody took the surge back: the hold would wait for pods that nobody starts.
        Some(journal) if !is_all_at_once(snapshot) => Step::Release(journal),
        Some(journal) if is_refused && snapshot.old_sets().next().is_some() => Step::FallBack(journal, lack),
        _ => Step::Wait(lack),
    }
}

/// The Deployment's own `minReadySeconds` says how long a pod must be ready to be trusted; the hold
/// hides it, so it is kept here.
fn settle(journal: &Journal) -> Duration {
    SETTLE.max(Duration::from_secs(journal.min_ready_seconds.as_u64().unwrap_or(0)))
}

fn drain(snapshot: &Snapshot, now: &Situation) -> Step {
    let (ended, orphans): (Vec<Pod>, Vec<Pod>) = snapshot
        .orphans()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .cloned()
        .partition(has_ended);
    if !ended.is_empty() {
        return Step::Delete(ended);
    }
    let (away, attached): (Vec<Pod>, Vec<Pod>) = orphans.into_iter().partition(is_detached);
    if !attached.is_empty() {
        return if snapshot.routing.is_none() { Step::Wait(blind()) } else { Step::Detach(attached) };
    }
    if away.is_empty() {
        return Step::Wait(now.lack.clone());
    }
    end(snapshot, away, now.clocks.unrouted, now.drain_wait)
}

/// Ends detached pods when the drain is over: `unrouted` is for how long no Service has named them.
fn end(snapshot: &Snapshot, away: Vec<Pod>, unrouted: Duration, drain_wait: Duration) -> Step {
    if away.iter().any(|pod| snapshot.is_routed(pod)) {
        return wait(Kind::Endpoints, "the old pods leave their Services");
    }
    match drain_wait.checked_sub(unrouted) {
        Some(rest) if !rest.is_zero() => Step::Drain(rest),
        _ => Step::Delete(away),
    }
}

/// Returns the next step of a rollout that somebody else's change has ended: the pods that are out of
/// their Services have the rest of their drain, then they end, for nobody else ends them.
#[must_use]
pub fn clear(snapshot: &Snapshot, unrouted: Duration, drain_wait: Duration) -> Step {
    let away: Vec<Pod> =
        snapshot.orphans().filter(|pod| is_alive(pod) && is_detached(pod)).cloned().collect();
    if away.is_empty() { Step::Done } else { end(snapshot, away, unrouted, drain_wait) }
}

/// Pods must not be taken out of Services that cannot be read.
fn blind() -> Lack {
    let words = "the credentials may not list services and endpointslices".to_owned();
    Lack { kind: Kind::Room, words }
}

fn wait(kind: Kind, words: &str) -> Step {
    Step::Wait(Lack { kind, words: words.to_owned() })
}

#[cfg(test)]
mod tests;
