//! The one next step of a rollout, read off what is there. No step depends on what this process did
//! before, so a run that takes over from a killed one does the same thing the killed one would have.
//!
//! The order of a detached drain cannot lose capacity: the old ReplicaSet lets go of its pods only
//! when every new pod is ready and routed; a pod leaves its Services only while that still holds; it
//! ends only after its endpoints are gone for the drain wait. Until then everything can be undone.

use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;

use super::patch::HOLD;
use crate::rollout::annotations::Journal;
use crate::rollout::observe::{Snapshot, is_alive, is_detached};
use crate::rollout::verdict::{Goal, Kind, Lack, Verdict, judge, new_pods_lack};

/// How long new pods must have been ready and routed, without a break, before old ones are let go:
/// longer than the second that kube-proxy may take to act on an endpoint.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How long a refusal of pods (quota, no node) is waited out before the hold is given up.
pub const ROOM_PATIENCE: Duration = Duration::from_secs(15);

/// What to do next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing but wait for what is missing.
    Wait(Lack),
    /// Delete these ReplicaSets and keep their pods.
    Orphan(Vec<ReplicaSet>),
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
}

/// Returns the next step towards `goal`.
#[must_use]
pub fn next(goal: &Goal, snapshot: &Snapshot, clocks: Clocks, drain_wait: Duration) -> Step {
    let verdict = judge(goal, snapshot);
    match (verdict, snapshot.journal()) {
        (Verdict::Gone, _) => Step::Gone,
        (Verdict::Superseded(image), _) => Step::Superseded(image),
        (Verdict::Complete, None) => Step::Done,
        (Verdict::Complete, Some(journal)) => Step::Finish(journal),
        (Verdict::Waiting(lack), Some(journal)) if journal.detached => {
            detached(goal, snapshot, Situation { journal, lack, clocks, drain_wait })
        }
        (Verdict::Waiting(lack), _) => Step::Wait(lack),
    }
}

struct Situation {
    journal: Journal,
    lack: Lack,
    clocks: Clocks,
    drain_wait: Duration,
}

fn detached(goal: &Goal, snapshot: &Snapshot, now: Situation) -> Step {
    let orphans: Vec<Pod> = snapshot.orphans().filter(|pod| is_alive(pod)).cloned().collect();
    let is_held = held(snapshot);
    if let Some(lack) = new_pods_lack(goal, snapshot) {
        let away: Vec<Pod> = orphans.into_iter().filter(is_detached).collect();
        if !away.is_empty() && matches!(lack.kind, Kind::Readiness | Kind::Room) {
            return Step::Attach(away);
        }
        let refused = lack.kind == Kind::Room && now.clocks.refused >= ROOM_PATIENCE;
        return if refused && is_held && snapshot.old_sets().next().is_some() {
            Step::FallBack(now.journal, lack)
        } else {
            Step::Wait(lack)
        };
    }
    let old_sets: Vec<ReplicaSet> = snapshot.old_sets().cloned().collect();
    if old_sets.iter().any(|set| set.metadata.deletion_timestamp.is_some()) {
        return wait(Kind::OldPods, "the old ReplicaSet lets go of its pods");
    }
    if !old_sets.is_empty() {
        return if !is_held {
            Step::Wait(now.lack)
        } else if now.clocks.ready < SETTLE {
            wait(Kind::Endpoints, "the new pods settle")
        } else {
            Step::Orphan(old_sets)
        };
    }
    if is_held {
        return Step::Release(now.journal);
    }
    drain(snapshot, orphans, &now)
}

fn drain(snapshot: &Snapshot, orphans: Vec<Pod>, now: &Situation) -> Step {
    let (away, attached): (Vec<Pod>, Vec<Pod>) = orphans.into_iter().partition(is_detached);
    if !attached.is_empty() {
        return Step::Detach(attached);
    }
    if away.is_empty() {
        return Step::Wait(now.lack.clone());
    }
    if away.iter().any(|pod| snapshot.is_routed(pod)) {
        return wait(Kind::Endpoints, "the old pods leave their Services");
    }
    match now.drain_wait.checked_sub(now.clocks.unrouted) {
        Some(rest) if !rest.is_zero() => Step::Drain(rest),
        _ => Step::Delete(away),
    }
}

/// Returns whether the Deployment still has the settings of the hold.
fn held(snapshot: &Snapshot) -> bool {
    snapshot.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds) == Some(HOLD)
}

fn wait(kind: Kind, words: &str) -> Step {
    Step::Wait(Lack { kind, words: words.to_owned() })
}
