//! Containers that end. One end proves nothing; the same end again does. What was learned from the
//! old pods raises the bar: an application that always needs a second try gets a third.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::history::{Exit, ended};
use super::rules as r;
use super::scene::{Question, Role, Said, Scene, age, containers, spec_of};
use super::symptom::{Settles, Symptom};
use super::{History, Rule, start, text};
use crate::rollout::observe::is_ready;
use crate::rollout::preflight::capacity::quantity::read;

/// Within what time a program ends that could not even begin.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(super) fn inspect(scene: &Scene<'_>, history: &History, symptoms: &mut Vec<Symptom>) {
    let mut found = Vec::new();
    // A pod that is ready has come up, whatever it took.
    for pod in scene.living().filter(|pod| !is_ready(pod)) {
        for (status, _) in containers(pod) {
            found.extend(of_container(scene, history, pod, status));
        }
    }
    let several: Vec<bool> = found.iter().map(|(symptom, _)| is_on_several(symptom, &found)).collect();
    symptoms.extend(found.into_iter().zip(several).map(|((symptom, again), several)| {
        match (symptom.settles, again) {
            (Settles::Never, Again::Enough) => symptom.settles(Settles::Now),
            (Settles::Never, Again::TooFew) if several => symptom.settles(Settles::Now),
            _ => symptom,
        }
    }));
}

/// Whether a container has ended often enough in the same way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Enough,
    TooFew,
    /// Its log may say that it is another matter, and was not read yet.
    Unread,
}

impl Again {
    const fn of(is_enough: bool) -> Self {
        if is_enough { Self::Enough } else { Self::TooFew }
    }
}

/// Returns whether another pod shows the same.
fn is_on_several(symptom: &Symptom, all: &[(Symptom, Again)]) -> bool {
    let alike = all.iter().filter(|(other, _)| other.rule.id == symptom.rule.id && other.key == symptom.key);
    let pods: BTreeSet<_> = alike.filter_map(|(other, _)| other.pod.as_ref().map(|(uid, ..)| uid)).collect();
    pods.len() >= 2
}

/// Returns what a container's ends amount to, and whether they have repeated often enough.
fn of_container(
    scene: &Scene<'_>,
    history: &History,
    pod: &Pod,
    status: &ContainerStatus,
) -> Option<(Symptom, Again)> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let name = status.name.as_str();
    if let Some((symptom, times)) = probe_kills(scene, pod, name) {
        return Some((symptom.on(pod, Some(name)), Again::of(times >= 2)));
    }
    let latest = latest(status)?;
    let exits: Vec<&Exit> = history.exits(uid, name).collect();
    let exit = exits.iter().find(|exit| exit.code == latest.0 && exit.reason == latest.1)?;
    let same = exits.iter().filter(|other| other.signature() == exit.signature()).count();
    // Ends that nobody saw are taken to be like the one that is seen.
    let unseen = ended(status).saturating_sub(exits.len() + history.ends_before(uid, name));
    let times = same + unseen;
    let needed = match exit.reason.as_str() {
        "OOMKilled" if has_less_memory(scene, pod, name) => 1,
        _ if old_pods_did_it_too(scene, exit) => 3,
        _ => 2,
    };
    let symptom = describe(exit, pod, status, times)?.on(pod, Some(name));
    if !may_be_of_another_processor(exit, status) {
        return Some((symptom, Again::of(times >= needed)));
    }
    match scene.answers.of_log(name) {
        Some(Said::Yes) => {
            let words = format!(
                "container `{name}` ends with exit code {}: exec format error, says its log",
                exit.code
            );
            Some((start::foreign(&words).on(pod, Some(name)), Again::Enough))
        }
        Some(_) => Some((symptom, Again::of(times >= needed))),
        None => {
            let pod = pod.metadata.name.clone().unwrap_or_default();
            Some((symptom.asks(Question::Log { pod, container: name.to_owned() }), Again::Unread))
        }
    }
}

/// A program for another processor is started all the same where its image is not marked as such. It ends
/// at once, with a code that others end with too; what it is says only the log.
fn may_be_of_another_processor(exit: &Exit, status: &ContainerStatus) -> bool {
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let lasted = now.or(before).and_then(|ended| {
        let (start, end) = (ended.started_at.as_ref()?, ended.finished_at.as_ref()?);
        Some(age(end.0, start.0))
    });
    exit.reason == "Error"
        && exit.message.trim().is_empty()
        && matches!(exit.code, 1 | 126 | 255)
        && lasted.is_none_or(|lasted| lasted <= AT_ONCE)
}

/// Returns whether the container has a lower memory limit than the old pods': then the limit is what
/// kills it, and it does so again.
fn has_less_memory(scene: &Scene<'_>, pod: &Pod, container: &str) -> bool {
    let limit = |pod: &Pod| memory_limit(pod, container).and_then(|limit| read(&limit));
    let Some(new) = limit(pod) else { return false };
    let mut olds = scene.old.iter().filter(|old| spec_of(old, container).is_some());
    olds.any(|old| limit(old).is_none_or(|old| old > new))
}

/// Returns code and reason of the last end.
fn latest(status: &ContainerStatus) -> Option<(i32, String)> {
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = now.or(before)?;
    Some((ended.exit_code, ended.reason.clone().unwrap_or_default()))
}

fn describe(exit: &Exit, pod: &Pod, status: &ContainerStatus, times: usize) -> Option<Symptom> {
    let name = &exit.container;
    let often = if times > 1 { format!(", {times} times") } else { String::new() };
    let last = text::tidy(&exit.message);
    let said = if last.is_empty() { String::new() } else { format!(": {last}") };
    if exit.message.contains("exec format error") {
        return Some(start::foreign(&format!("the command is not for this processor: {last}")));
    }
    if exit.reason == "StartError" || exit.reason == "ContainerCannotRun" {
        return start::run(&exit.message, ended(status));
    }
    let logs = "read the log of the container below, or run the image by itself";
    let told = |rule: &'static Rule, words: String, hint: &str| {
        Symptom::of(rule, words).keyed(exit.signature()).hint(hint)
    };
    let code = exit.code;
    Some(match (exit.reason.as_str(), exit.role) {
        ("OOMKilled", _) => {
            let limit = memory_limit(pod, name).map_or_else(String::new, |limit| format!(" of {limit}"));
            let words = format!("container `{name}` is killed at its memory limit{limit}{often}");
            told(&r::OOM, words, "raise `resources.limits.memory`, or give the process less to use")
        }
        (_, Role::Init) => {
            told(&r::INIT, format!("init container `{name}` ends with exit code {code}{often}{said}"), logs)
        }
        (_, _) if code == 0 => {
            let words = format!("container `{name}` ends by itself with exit code 0{often}{said}");
            told(&r::EXITS, words, "its command must stay in the foreground")
        }
        _ => told(&r::CRASH, format!("container `{name}` ends with exit code {code}{often}{said}"), logs),
    })
}

fn memory_limit(pod: &Pod, container: &str) -> Option<String> {
    let limits = spec_of(pod, container)?.resources.as_ref()?.limits.as_ref()?;
    limits.get("memory").map(|quantity| quantity.0.clone())
}

/// Returns whether the old pods' container has ended in the same way and come back.
fn old_pods_did_it_too(scene: &Scene<'_>, exit: &Exit) -> bool {
    let olds = scene.old.iter().flat_map(|pod| containers(pod).map(move |(status, _)| (pod, status)));
    olds.filter(|(pod, status)| status.name == exit.container && is_ready(pod)).any(|(_, status)| {
        let before = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        before.is_some_and(|ended| {
            ended.exit_code == exit.code && ended.reason.clone().unwrap_or_default() == exit.reason
        })
    })
}

/// Returns what the kubelet did to a container because of a probe, and how often.
fn probe_kills(scene: &Scene<'_>, pod: &Pod, container: &str) -> Option<(Symptom, usize)> {
    let kills = |probe: &str| {
        let words = format!("Container {container} failed {probe} probe");
        let about = scene.events_of(pod).filter(|event| event.reason == "Killing");
        let count: i32 =
            about.filter(|event| event.message.starts_with(&words)).map(|event| event.count).sum();
        usize::try_from(count).unwrap_or(0)
    };
    let failing = || {
        let unhealthy = scene.events_of(pod).filter(|event| event.reason == "Unhealthy");
        let latest = unhealthy.max_by_key(|event| event.last);
        latest.map_or_else(String::new, |event| format!(": {}", text::tidy(&event.message)))
    };
    let told = |rule: &'static Rule, probe: &str, hint: &str| {
        let words = format!("container `{container}` is killed because its {probe} probe fails{}", failing());
        Symptom::of(rule, words).keyed(container).hint(hint)
    };
    match (kills("startup"), kills("liveness")) {
        (0, 0) => None,
        (0, times) => Some((
            told(&r::LIVENESS, "liveness", "give it a startupProbe, or correct the probe's path and port"),
            times,
        )),
        (times, _) => Some((
            told(
                &r::STARTUP,
                "startup",
                "raise the probe's `failureThreshold`, or correct its path and port",
            ),
            times,
        )),
    }
}
