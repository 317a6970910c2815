//! A build's pod: its steps in order, how far each is, and what keeps one from starting.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};

use super::said;

/// The containers that are steps of a build; others are sidecars that somebody injected.
const NAMES: [&str; 8] =
    ["prepare", "analyze", "detect", "restore", "build", "export", "rebase", "completion"];
/// What a container waits for when nothing is wrong.
const USUAL: [&str; 3] = ["", "PodInitializing", "ContainerCreating"];

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The container's name.
    pub name: String,
    /// How far it is.
    pub progress: Progress,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not begun, and this keeps it from it; both are empty when it only waits for its turn.
    Waiting {
        /// The kubelet's word.
        reason: String,
        /// Its words.
        message: String,
    },
    /// It runs.
    Running,
    /// It has ended.
    Ended {
        /// Its exit code.
        code: i32,
        /// The kubelet's word: `Completed`, `Error`, `OOMKilled`.
        reason: String,
    },
}

/// Returns the steps of a pod in the order in which they run.
#[must_use]
pub fn steps(pod: &Pod) -> Vec<Step> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let status = pod.status.as_ref();
    let first = status.and_then(|status| status.init_container_statuses.as_ref());
    let last = status.and_then(|status| status.container_statuses.as_ref());
    let statuses: Vec<&ContainerStatus> = first.into_iter().chain(last).flatten().collect();
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let steps = containers.filter(|container| NAMES.contains(&container.name.as_str()));
    steps
        .map(|container| {
            let status = statuses.iter().find(|status| status.name == container.name);
            let state = status.and_then(|status| status.state.as_ref());
            Step { name: container.name.clone(), progress: progress(state) }
        })
        .collect()
}

fn progress(state: Option<&ContainerState>) -> Progress {
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        return Progress::Ended { code: ended.exit_code, reason: ended.reason.clone().unwrap_or_default() };
    }
    if state.is_some_and(|state| state.running.is_some()) {
        return Progress::Running;
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.clone()).unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_default();
    Progress::Waiting { reason, message: said(&message) }
}

/// Returns whether the pod has run for the last time.
#[must_use]
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Returns whether kpack itself ended the pod. Beside sidecars, which never end, it sets a deadline of one second once
/// the last step has ended: the pod's phase and reason then tell nothing of the build.
#[must_use]
pub fn is_dismissed(pod: &Pod) -> bool {
    let deadline = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let last = steps(pod).pop();
    deadline == Some(1) && last.is_some_and(|step| matches!(step.progress, Progress::Ended { .. }))
}

/// Returns the step that failed.
#[must_use]
pub fn failed(pod: &Pod) -> Option<Step> {
    steps(pod).into_iter().find(|step| matches!(step.progress, Progress::Ended { code, .. } if code != 0))
}

/// What keeps a pod from going on, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// No node takes it: one may have room later, as after every rebuild of a whole fleet.
    NoNode(String),
    /// A container cannot start: it will not by itself.
    NoStart(String),
}

impl Stuck {
    /// Returns the words.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::NoNode(words) | Self::NoStart(words) => words,
        }
    }
}

/// Returns what keeps the pod from going on, if anything does.
#[must_use]
pub fn stuck(pod: &Pod) -> Option<Stuck> {
    if is_over(pod) {
        return None;
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let unscheduled = conditions.find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(condition) = unscheduled {
        let why = condition.message.as_deref().or(condition.reason.as_deref()).unwrap_or_default();
        return Some(Stuck::NoNode(format!("no node takes the build's pod: {}", said(why))));
    }
    steps(pod).into_iter().find_map(|step| match step.progress {
        Progress::Waiting { reason, message } if !USUAL.contains(&reason.as_str()) => {
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            Some(Stuck::NoStart(format!("step {} cannot start: {reason}{message}", step.name)))
        }
        _ => None,
    })
}

/// Returns whether the pod belongs to the Build with this uid.
#[must_use]
pub fn belongs_to(pod: &Pod, uid: &str) -> bool {
    pod.metadata.owner_references.as_ref().is_some_and(|owners| owners.iter().any(|owner| owner.uid == uid))
}
