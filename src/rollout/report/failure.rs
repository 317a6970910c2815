//! The words of a failure: one pod of each kind that does not come up, with what its node, its
//! application and the controllers said. Pure; what is fetched for it is the driver's business.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use k8s_openapi::jiff::Timestamp;

use crate::rollout::observe::is_ready;
use crate::rollout::verdict::diagnosis::Cause;
use crate::rollout::verdict::diagnosis::scene::{Role, condition, containers};
use crate::rollout::verdict::diagnosis::text;

/// More kinds of failure than this are one kind that looks different.
const KINDS: usize = 3;
/// A longer line of a log is not read by anybody.
const WIDTH: usize = 500;

/// Pods that fail in the same way, shown by one of them.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// The one that is shown.
    pub pod: &'a Pod,
    /// How many there are.
    pub count: usize,
    /// Whose log to read.
    pub log: Option<Source>,
}

/// A log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The container.
    pub container: String,
    /// Whether the log from before its last restart is wanted.
    pub previous: bool,
}

/// What else is known of a pod that is not ready.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Its events.
    pub events: Vec<Event>,
    /// The last lines of its log.
    pub log: Vec<String>,
}

/// Groups the pods that are not ready by how they fail; the one that the cause names comes first.
#[must_use]
pub fn cases<'a>(pods: &[&'a Pod], cause: Option<&Cause>) -> Vec<Case<'a>> {
    let named = cause.and_then(|cause| cause.pod.as_deref());
    let is_named = |pod: &Pod| named.is_some() && pod.metadata.name.as_deref() == named;
    let mut kinds: BTreeMap<String, Case<'a>> = BTreeMap::new();
    for pod in pods.iter().copied().filter(|pod| !is_ready(pod)) {
        let kind = kinds.entry(kind(pod)).or_insert_with(|| Case { pod, count: 0, log: log_of(pod) });
        kind.count += 1;
        if is_named(pod) {
            *kind = Case { pod, count: kind.count, log: log_of(pod) };
        }
    }
    let mut cases: Vec<Case<'a>> = kinds.into_values().collect();
    cases.sort_by_key(|case| (!is_named(case.pod), std::cmp::Reverse(case.count)));
    cases.truncate(KINDS);
    cases
}

/// Returns what pods that fail in the same way have in common.
fn kind(pod: &Pod) -> String {
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    let of_containers = containers(pod).map(|(status, _)| {
        let state = status.state.clone().unwrap_or_default();
        let last = status.last_state.clone().and_then(|state| state.terminated);
        let ended = state.terminated.or(last).map(|ended| (ended.exit_code, ended.reason));
        // Between two tries the same pod shows one reason or the other.
        let waits = state.waiting.and_then(|waiting| waiting.reason);
        let waits = waits.filter(|reason| reason != "CrashLoopBackOff");
        let waits = waits.map(|reason| reason.replace("ImagePullBackOff", "ErrImagePull"));
        format!("{} {ended:?} {:?}", status.name, if ended.is_some() { None } else { waits })
    });
    let scheduled = condition(pod, "PodScheduled").filter(|found| found.status == "False");
    let refused = scheduled.and_then(|found| found.message.as_deref()).map(text::shape);
    format!("{phase} {refused:?} {}", of_containers.collect::<Vec<_>>().join(" "))
}

/// Returns whose log tells most: the first container that has run and is not as it should be.
fn log_of(pod: &Pod) -> Option<Source> {
    containers(pod).find_map(|(status, role)| {
        let state = status.state.as_ref()?;
        let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let has_done_its_work =
            role == Role::Init && state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0);
        let has_run = state.running.is_some() || state.terminated.is_some() || last.is_some();
        let previous = last.is_some() && state.terminated.is_none();
        let source = Source { container: status.name.clone(), previous };
        (has_run && !status.ready && !has_done_its_work).then_some(source)
    })
}

/// Describes a case: the pod, its containers, its conditions, its events since `since`, its log.
#[must_use]
pub fn describe(case: &Case<'_>, evidence: &Evidence, since: Option<Timestamp>) -> Vec<String> {
    let pod = case.pod;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or("no status yet");
    let count = if case.count > 1 { format!(" (×{})", case.count) } else { String::new() };
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node = node.map_or_else(String::new, |node| format!(" on node {node}"));
    let mut lines = vec![format!("pod {name}{count}{node}: {phase}")];
    lines
        .extend(status.message.filter(|_| phase == "Failed").map(|message| format!("  {}", clean(&message))));
    lines.extend(containers(pod).filter_map(|(status, role)| container(status, role)));
    let conditions = status.conditions.unwrap_or_default();
    let refused =
        conditions.iter().filter(|condition| condition.status != "True" && condition.message.is_some());
    lines.extend(refused.map(|condition| {
        let message = condition.message.as_deref().unwrap_or_default();
        format!("  {}: {}", condition.type_, clean(message))
    }));
    lines.extend(events(&evidence.events, since));
    if !evidence.log.is_empty() {
        let source = case.log.as_ref();
        let container = source.map_or("", |source| source.container.as_str());
        let which =
            if source.is_some_and(|source| source.previous) { " before its last restart" } else { "" };
        lines.push(format!("  last lines of container {container}{which}:"));
        lines.extend(evidence.log.iter().map(|line| format!("    {}", clean(line))));
    }
    lines
}

fn container(status: &ContainerStatus, role: Role) -> Option<String> {
    let state = status.state.clone().unwrap_or_default();
    let mut words = Vec::new();
    if let Some(waiting) = state.waiting {
        words.push(waiting.reason.unwrap_or_else(|| "waiting".to_owned()));
        words.extend(waiting.message.map(|message| clean(&message)));
    }
    let last = status.last_state.clone().and_then(|state| state.terminated);
    if let Some(ended) = state.terminated.or(last) {
        if role == Role::Init && ended.exit_code == 0 {
            return None;
        }
        words.push(format!("ended with exit code {}", ended.exit_code));
        words.extend(ended.reason.filter(|reason| reason != "Error" && reason != "Completed"));
        words.extend(ended.message.map(|message| clean(message.trim_end())));
    }
    if status.restart_count > 0 {
        words.push(format!("{} restarts", status.restart_count));
    }
    if words.is_empty() && !status.ready {
        words.push("runs, but its readiness probe does not succeed".to_owned());
    }
    (!words.is_empty()).then(|| format!("  container {}: {}", status.name, words.join(", ")))
}

/// Returns warnings, equal ones once with their count; what is older than the change is not its fault.
#[must_use]
pub fn events(events: &[Event], since: Option<Timestamp>) -> Vec<String> {
    let mut grouped: Vec<(String, i32)> = Vec::new();
    let warnings = events.iter().filter(|event| event.type_.as_deref() == Some("Warning"));
    for event in warnings.filter(|event| is_new(event, since)) {
        let reason = event.reason.as_deref().unwrap_or_default();
        let words = format!("{reason}: {}", text::tidy(event.message.as_deref().unwrap_or_default()));
        let count = event.count.unwrap_or(1).max(1);
        match grouped.iter_mut().find(|(known, _)| *known == words) {
            Some((_, total)) => *total += count,
            None => grouped.push((words, count)),
        }
    }
    let line = |(words, count): (String, i32)| match count {
        1 => format!("  event {}", words.trim_end()),
        _ => format!("  event {} (×{count})", words.trim_end()),
    };
    grouped.into_iter().map(line).collect()
}

fn is_new(event: &Event, since: Option<Timestamp>) -> bool {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let last = last.or_else(|| event.event_time.as_ref().map(|time| time.0));
    match (last, since) {
        (Some(last), Some(since)) => last >= since,
        _ => true,
    }
}

/// A terminal must not obey what an application writes, nor learn who logs in to a registry.
fn clean(line: &str) -> String {
    let line: String = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let line = text::redact(&line);
    match line.char_indices().nth(WIDTH) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests;
