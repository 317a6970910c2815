//! What a diagnosis may know: pods, conditions, events, answers, the time. Nothing of it is tied to a
//! Deployment; whoever rolls something else fills a [`Scene`] of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::rollout::learned::start_p95;
use crate::rollout::observe::{Snapshot, is_alive};
use crate::rollout::preflight::is_recreate;

/// One moment of a rollout.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// When this is.
    pub now: Timestamp,
    /// Every pod of the target template, those that have ended too.
    pub new: Vec<&'a Pod>,
    /// Every pod of older templates that is still there.
    pub old: Vec<&'a Pod>,
    /// How many new pods are wanted.
    pub wanted: usize,
    /// How many old pods may go before a new one is ready.
    pub unavailable: usize,
    /// Whether the plan still has another way when there is no room for new pods.
    pub fallback_ahead: bool,
    /// Whether the controller was told to stop.
    pub paused: bool,
    /// What the controllers say about the workload and its current set of pods.
    pub conditions: Vec<Condition>,
    /// Events about the new pods and about what creates them, none older than the change.
    pub events: Vec<&'a Notice>,
    /// What the registry and the API server answered so far.
    pub answers: &'a Answers,
    /// How long the pods that run took to be ready, where that is known.
    pub learned: Option<Duration>,
    /// How long a start may take, where somebody said so.
    pub said_wait: Option<Duration>,
    /// How many nodes could take a pod, where that is known.
    pub nodes: Option<usize>,
}

/// A condition of a ReplicaSet or of the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// `ReplicaFailure`, `Progressing`, …
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// The reason, one word.
    pub reason: String,
    /// The controller's words.
    pub message: String,
}

/// An event, reduced to what a diagnosis reads. Equal ones are one with a count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notice {
    /// The uid of the object it is about.
    pub uid: String,
    /// The kind of that object.
    pub kind: String,
    /// The name of that object.
    pub name: String,
    /// Whether it warns.
    pub warns: bool,
    /// The reason, one word.
    pub reason: String,
    /// The words.
    pub message: String,
    /// How often it happened.
    pub count: i32,
    /// When it happened last, in milliseconds of the epoch.
    pub last: i64,
}

/// An object that a pod needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// `secret`, `configmap`, `serviceaccount`, `persistentvolumeclaim`, `priorityclass`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The key in it, where one was named.
    pub key: Option<String>,
}

impl std::fmt::Display for Object {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.key {
            Some(key) => write!(formatter, "key `{key}` of {} `{}`", self.kind, self.name),
            None => write!(formatter, "{} `{}`", self.kind, self.name),
        }
    }
}

/// What only somebody else can settle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The registry, with our credentials: is the image there?
    Image(String),
    /// The registry, with what the pod may use: may it be pulled?
    Pull {
        /// The image.
        image: String,
        /// The pod's pull secrets.
        secrets: Vec<String>,
    },
    /// The API server: is this object there?
    Object(Object),
    /// The kubelet: does the container's log say that its program is for another processor?
    Log {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// The API server: would a pod of the new template be created?
    Trial,
    /// The API server: does something add nodes when pods find none?
    Autoscaler,
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is there; a pod would be created.
    Yes,
    /// It is not there.
    No,
    /// Not to you, or not like this; in the server's words.
    Refused(String),
    /// No answer could be had, and why.
    Unknown(String),
}

/// An answer, and since when it has been the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was said last.
    pub said: Said,
    /// Since when it has been that.
    pub since: Timestamp,
}

/// All answers so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<Question, Answer>);

impl Answers {
    /// Takes an answer in; one that says the same as before keeps its time.
    pub fn hear(&mut self, question: Question, said: Said, now: Timestamp) {
        match self.0.get_mut(&question) {
            Some(known) if same(&known.said, &said) => known.said = said,
            _ => drop(self.0.insert(question, Answer { said, since: now })),
        }
    }

    /// Returns what was answered.
    #[must_use]
    pub fn to(&self, question: &Question) -> Option<&Answer> {
        self.0.get(question)
    }

    /// Returns what the log of a container said, in whichever pod it was read: they all run one program.
    #[must_use]
    pub fn of_log(&self, name: &str) -> Option<&Said> {
        let is_it =
            |question: &Question| matches!(question, Question::Log { container, .. } if container == name);
        self.0.iter().find(|(question, _)| is_it(question)).map(|(_, answer)| &answer.said)
    }

    /// Returns what was said last.
    #[must_use]
    pub fn said(&self, question: &Question) -> Option<&Said> {
        self.to(question).map(|answer| &answer.said)
    }
}

/// A refusal stays the same one when its numbers move.
fn same(one: &Said, other: &Said) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the others start.
    Init,
    /// An init container that stays.
    Sidecar,
    /// Any other.
    Main,
}

impl Scene<'_> {
    /// Returns the new pods that are not ending and that nobody else is disturbing.
    pub fn living(&self) -> impl Iterator<Item = &Pod> {
        self.new.iter().copied().filter(|pod| is_alive(pod) && !is_disrupted(pod))
    }

    /// Returns the events about a pod.
    pub fn events_of<'b>(&'b self, pod: &'b Pod) -> impl Iterator<Item = &'b Notice> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.events.iter().copied().filter(move |event| event.uid == uid)
    }

    /// Returns a condition that holds.
    #[must_use]
    pub fn condition(&self, type_: &str, status: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status)
    }

    /// Returns the old pods that are not ending.
    pub fn staying(&self) -> impl Iterator<Item = &Pod> {
        self.old.iter().copied().filter(|pod| is_alive(pod))
    }

    /// Returns whether a new pod has its node: once it is ready an old one goes.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.living().any(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()))
    }

    /// Returns whether an old pod is on its way out: what it holds will be free.
    #[must_use]
    pub fn is_making_room(&self) -> bool {
        self.old.iter().any(|pod| pod.metadata.deletion_timestamp.is_some())
    }
}

/// Returns whether somebody else ends the pod: an eviction, a drain, a preemption.
#[must_use]
pub fn is_disrupted(pod: &Pod) -> bool {
    condition(pod, "DisruptionTarget").is_some_and(|condition| condition.status == "True")
}

/// Returns one of a pod's conditions.
#[must_use]
pub fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Returns what the kubelet says about each container of a pod.
pub fn containers(pod: &Pod) -> impl Iterator<Item = (&ContainerStatus, Role)> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    let main = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let init = init.iter().map(|status| {
        let stays = spec_of(pod, &status.name)
            .is_some_and(|container| container.restart_policy.as_deref() == Some("Always"));
        (status, if stays { Role::Sidecar } else { Role::Init })
    });
    init.chain(main.iter().map(|status| (status, Role::Main)))
}

/// Returns a container's spec.
#[must_use]
pub fn spec_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.into_iter().find(|container| container.name == name)
}

/// Returns a waiting container's reason and message.
#[must_use]
pub fn waiting(status: &ContainerStatus) -> Option<(&str, &str)> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    Some((waiting.reason.as_deref()?, waiting.message.as_deref().unwrap_or_default()))
}

/// Returns for how long something has been so.
#[must_use]
pub fn age(now: Timestamp, since: Timestamp) -> Duration {
    now.duration_since(since).try_into().unwrap_or(Duration::ZERO)
}

impl<'a> Scene<'a> {
    /// Reads the scene off a look at a Deployment.
    #[must_use]
    pub fn of(
        snapshot: &'a Snapshot,
        events: impl Iterator<Item = &'a Notice>,
        answers: &'a Answers,
        now: Timestamp,
    ) -> Self {
        let set = snapshot.new_set();
        let new: Vec<&Pod> = set.map(|set| snapshot.pods_of(set).collect()).unwrap_or_default();
        let own = [Some(snapshot.uid()), set.and_then(|set| set.metadata.uid.as_deref())];
        let is_ours = |event: &&Notice| {
            let is_controller = own.contains(&Some(event.uid.as_str()));
            is_controller || new.iter().any(|pod| pod.metadata.uid.as_deref() == Some(&event.uid))
        };
        Self {
            now,
            events: events.filter(is_ours).collect(),
            old: snapshot.old_pods(),
            wanted: snapshot.wanted(),
            unavailable: unavailable(snapshot),
            fallback_ahead: snapshot.is_held() && snapshot.old_sets().next().is_some(),
            paused: snapshot.deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true),
            conditions: conditions(snapshot),
            new,
            answers,
            learned: start_p95(snapshot),
            said_wait: None,
            nodes: None,
        }
    }
}

/// What the controllers say about the change that was written; what they said before is not believed.
fn conditions(snapshot: &Snapshot) -> Vec<Condition> {
    let set = snapshot.new_set().and_then(|set| set.status.as_ref());
    let of_set = set.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let status = snapshot.deployment.status.as_ref().filter(|_| snapshot.is_observed());
    let of_all = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let name = snapshot.new_set().and_then(|set| set.metadata.name.as_deref()).unwrap_or_default();
    let of_set = of_set.iter().map(|condition| Condition {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    });
    // A deadline that an earlier change missed is named with the ReplicaSet of that change.
    let of_all = of_all.iter().filter(|condition| {
        let late = condition.reason.as_deref() == Some("ProgressDeadlineExceeded");
        !late || condition.message.as_deref().is_some_and(|message| message.contains(name))
    });
    let of_all = of_all.map(|condition| Condition {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    });
    of_set.chain(of_all).collect()
}

/// Returns how many pods the strategy lets go first, resolved as the controller does: percentages
/// round down, and where neither surge nor a gap is allowed one pod goes first.
fn unavailable(snapshot: &Snapshot) -> usize {
    if is_recreate(snapshot) {
        return snapshot.wanted();
    }
    let strategy = snapshot.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let wanted = snapshot.wanted();
    let gap = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), wanted, false);
    let surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), wanted, true);
    if gap == 0 && surge == 0 { 1 } else { gap.min(wanted) }
}

fn share(value: Option<&IntOrString>, wanted: usize, rounds_up: bool) -> usize {
    match value {
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or(0),
        Some(IntOrString::String(text)) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
            let rest = if rounds_up { 99 } else { 0 };
            (wanted * percent + rest) / 100
        }
        None => share(Some(&IntOrString::String("25%".to_owned())), wanted, rounds_up),
    }
}
