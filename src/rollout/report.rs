//! The words: what a look shows, and what was missing when time ran out. Pure; when to say it is the
//! driver's business, and how it looks on a terminal is the command line's.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};

pub mod findings;

use super::observe::{Snapshot, is_alive, is_detached};

/// Hears what a rollout does.
pub trait Reporter: Sync {
    /// Something was decided, done or found out.
    fn line(&self, text: &str);
    /// This is what is there now; called after each look, whether or not anything changed.
    fn look(&self, progress: &Progress);
}

/// One look, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pods that are wanted.
    pub wanted: usize,
    /// Pods of the new template.
    pub new: usize,
    /// Those of them that are ready.
    pub ready: usize,
    /// Pods of older templates that are not ending.
    pub old: usize,
    /// Those of them that were taken out of their Services.
    pub detached: usize,
    /// Pods of older templates that are ending.
    pub ending: usize,
    /// What is missing, empty when nothing is.
    pub lack: String,
}

impl Progress {
    /// Counts a look.
    #[must_use]
    pub fn of(snapshot: &Snapshot, lack: &str) -> Self {
        let new = snapshot.new_pods();
        let old = snapshot.old_pods();
        let (alive, ending): (Vec<&Pod>, Vec<&Pod>) = old.into_iter().partition(|pod| is_alive(pod));
        Self {
            wanted: snapshot.wanted(),
            new: new.len(),
            ready: snapshot.ready_new_pods(),
            old: alive.len(),
            detached: alive.iter().filter(|pod| is_detached(pod)).count(),
            ending: ending.len(),
            lack: lack.to_owned(),
        }
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "new {}/{} ready, old {}", self.ready, self.wanted, self.old)?;
        if self.detached > 0 {
            write!(formatter, " ({} out of service)", self.detached)?;
        }
        if self.ending > 0 {
            write!(formatter, ", {} ending", self.ending)?;
        }
        if self.lack.is_empty() { Ok(()) } else { write!(formatter, " – {}", self.lack) }
    }
}

/// What else is known of a pod that is not ready.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Its events.
    pub events: Vec<Event>,
    /// The last lines of its log.
    pub log: Vec<String>,
}

/// Describes a pod that is not ready: its containers, its conditions, its events, its log.
#[must_use]
pub fn pod(pod: &Pod, evidence: &Evidence) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or("no status yet");
    let mut lines = vec![format!("pod {name}: {phase}")];
    let statuses = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    lines.extend(statuses.filter_map(container));
    let conditions = status.conditions.unwrap_or_default();
    let refused =
        conditions.iter().filter(|condition| condition.status != "True" && condition.message.is_some());
    lines.extend(refused.map(|condition| {
        format!("  {}: {}", condition.type_, condition.message.as_deref().unwrap_or_default())
    }));
    lines.extend(events(&evidence.events));
    if !evidence.log.is_empty() {
        lines.push("  last lines of its log:".to_owned());
        lines.extend(evidence.log.iter().map(|line| format!("    {line}")));
    }
    lines
}

fn container(status: &ContainerStatus) -> Option<String> {
    let state = status.state.clone().unwrap_or_default();
    let mut words = Vec::new();
    if let Some(waiting) = state.waiting {
        words.push(waiting.reason.unwrap_or_else(|| "waiting".to_owned()));
        words.extend(waiting.message);
    }
    let last = status.last_state.clone().and_then(|state| state.terminated);
    if let Some(ended) = state.terminated.or(last) {
        words.push(format!("ended with exit code {}", ended.exit_code));
        words.extend(ended.reason.filter(|reason| reason != "Error" && reason != "Completed"));
        words.extend(ended.message);
    }
    if status.restart_count > 0 {
        words.push(format!("{} restarts", status.restart_count));
    }
    if words.is_empty() && !status.ready {
        words.push("runs, but its readiness probe does not succeed".to_owned());
    }
    (!words.is_empty()).then(|| format!("  container {}: {}", status.name, words.join(", ")))
}

/// Returns warnings, equal ones once with their count.
fn events(events: &[Event]) -> Vec<String> {
    let mut grouped: Vec<(String, i32)> = Vec::new();
    for event in events.iter().filter(|event| event.type_.as_deref() == Some("Warning")) {
        let reason = event.reason.as_deref().unwrap_or_default();
        let words = format!("{reason}: {}", event.message.as_deref().unwrap_or_default());
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

#[cfg(test)]
mod tests;
