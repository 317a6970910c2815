//! What is remembered from look to look: how containers ended, when pods were ready, since when a
//! symptom has been there. A status shows only the last end of a container, so each one is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;

use super::scene::{Role, Scene, age, containers};
use super::text;
use crate::rollout::observe::{has_ended, is_ready};

/// A symptom that was away for longer than this begins anew when it comes back: between two tries
/// the kubelet may show another status for a moment.
const GAP: Duration = Duration::from_secs(15);

/// How long controllers may take to act on another strategy.
const CHANGE: Duration = Duration::from_secs(2);

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct History {
    exits: BTreeMap<(String, String, String), Exit>,
    suspicions: BTreeMap<(&'static str, String, String), (Timestamp, Timestamp)>,
    /// How often containers had ended when their pod was first seen and was ready then.
    before: BTreeMap<(String, String), usize>,
    /// The ends that such a pod showed then.
    past: BTreeSet<(String, String, String)>,
    met: BTreeSet<String>,
    /// Pods that had ended when the first look was taken.
    ended_before: BTreeSet<String>,
    began: Option<Timestamp>,
    /// When the plan last had another way when there is no room.
    held: Option<Timestamp>,
    was_ready: BTreeSet<String>,
}

/// How a container of a new pod ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The pod.
    pub uid: String,
    /// The container.
    pub container: String,
    /// What the container is to its pod.
    pub role: Role,
    /// The exit code.
    pub code: i32,
    /// The runtime's reason.
    pub reason: String,
    /// The termination message.
    pub message: String,
}

impl Exit {
    /// Returns what must be equal for two ends to be the same fault. Numbers in a message move.
    #[must_use]
    pub fn signature(&self) -> String {
        format!("{} {} {} {}", self.container, self.code, self.reason, text::shape(&self.message))
    }
}

impl History {
    /// Takes one look into account.
    pub(super) fn look(&mut self, scene: &Scene<'_>) {
        for pod in &scene.new {
            self.meet(pod);
            self.see_readiness(pod);
        }
        self.began.get_or_insert(scene.now);
        if scene.fallback_ahead {
            self.held = Some(scene.now);
        }
        for pod in scene.living() {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            for (status, role) in containers(pod) {
                for ended in ends(status) {
                    self.see_end(&uid, status, role, ended);
                }
            }
        }
    }

    /// A pod that is ready when it is first seen was taken over from an earlier rollout, and whatever
    /// happened to it before is not this one's.
    fn meet(&mut self, pod: &Pod) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if self.met.contains(&uid) {
            return;
        }
        if has_ended(pod) && self.began.is_none() {
            self.ended_before.insert(uid);
            return;
        }
        if !is_ready(pod) {
            return;
        }
        for (status, _) in containers(pod) {
            self.before.insert((uid.clone(), status.name.clone()), ended(status));
            self.past.extend(ends(status).map(|ended| key(&uid, status, ended)));
        }
    }

    /// Returns how often a container ended before this rollout had anything to do with it.
    pub(super) fn ends_before(&self, uid: &str, container: &str) -> usize {
        self.before.get(&(uid.to_owned(), container.to_owned())).copied().unwrap_or(0)
    }

    fn see_end(&mut self, uid: &str, status: &ContainerStatus, role: Role, ended: &ContainerStateTerminated) {
        // An init container is meant to end; what a lost node reports is nobody's end.
        let is_fine = role == Role::Init && ended.exit_code == 0;
        let key = key(uid, status, ended);
        if is_fine || self.past.contains(&key) || ended.reason.as_deref() == Some("ContainerStatusUnknown") {
            return;
        }
        self.exits.entry(key).or_insert_with(|| Exit {
            uid: uid.to_owned(),
            container: status.name.clone(),
            role,
            code: ended.exit_code,
            reason: ended.reason.clone().unwrap_or_default(),
            message: ended.message.clone().unwrap_or_default(),
        });
    }

    fn see_readiness(&mut self, pod: &Pod) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if is_ready(pod) {
            self.was_ready.insert(uid.clone());
        }
        self.met.insert(uid);
    }

    /// Returns the ends of a pod's container, in no order that matters.
    pub fn exits<'a>(&'a self, uid: &'a str, container: &'a str) -> impl Iterator<Item = &'a Exit> {
        self.exits.values().filter(move |exit| exit.uid == uid && exit.container == container)
    }

    /// Returns whether a pod had ended before this rollout had anything to do with it.
    #[must_use]
    pub fn is_past(&self, pod: &Pod) -> bool {
        pod.metadata.uid.as_ref().is_some_and(|uid| self.ended_before.contains(uid))
    }

    /// Returns whether the plan changed its way a moment ago: the controllers still act on the old one.
    #[must_use]
    pub fn has_just_changed_ways(&self, now: Timestamp) -> bool {
        self.held.is_some_and(|held| age(now, held) < CHANGE)
    }

    /// Returns whether a pod was ready at any look.
    #[must_use]
    pub fn was_ready(&self, pod: &Pod) -> bool {
        pod.metadata.uid.as_ref().is_some_and(|uid| self.was_ready.contains(uid))
    }

    /// Returns since when a symptom has been there, and notes that it is there now.
    pub(super) fn since(&mut self, rule: &'static str, key: &str, uid: &str, now: Timestamp) -> Timestamp {
        let entry = self.suspicions.entry((rule, key.to_owned(), uid.to_owned())).or_insert((now, now));
        entry.1 = now;
        entry.0
    }

    pub(super) fn forget_what_passed(&mut self, now: Timestamp) {
        self.suspicions.retain(|_, (_, last)| age(now, *last) <= GAP);
    }

    pub(super) fn forget_suspicions(&mut self) {
        self.suspicions.clear();
    }
}

/// Tells one end from another.
fn key(uid: &str, status: &ContainerStatus, ended: &ContainerStateTerminated) -> (String, String, String) {
    let which = ended.container_id.clone().or_else(|| Some(ended.finished_at.as_ref()?.0.to_string()));
    (uid.to_owned(), status.name.clone(), which.unwrap_or_default())
}

/// Returns the ends that a status shows: the current one and the one before.
fn ends(status: &ContainerStatus) -> impl Iterator<Item = &ContainerStateTerminated> {
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    now.into_iter().chain(before)
}

/// Returns how many times a container has ended, as far as its status alone tells: each restart was
/// an end, and one that does not run now has ended once more.
#[must_use]
pub fn ended(status: &ContainerStatus) -> usize {
    let state = status.state.as_ref();
    let is_down = state.is_some_and(|state| state.terminated.is_some())
        || (state.is_some_and(|state| state.waiting.is_some())
            && status.last_state.as_ref().is_some_and(|state| state.terminated.is_some()));
    usize::try_from(status.restart_count).unwrap_or(0) + usize::from(is_down)
}
