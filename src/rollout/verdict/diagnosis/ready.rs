//! Time: pods that run and are never ready, gates that stay closed, the controller's own deadline, and
//! pods that were ready and are not any more. How long is long is learned from the old pods.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Probe};

use super::rules as r;
use super::scene::{Role, Scene, condition, containers, spec_of};
use super::symptom::{Settles, Symptom};
use super::{History, text};
use crate::rollout::observe::is_ready;

/// No start is called too slow before this, whatever was learned: a first start pulls, warms up and
/// migrates what a later one does not.
const LEAST: Duration = Duration::from_secs(60);
/// How long a load balancer may take to take a pod in.
const GATE: Duration = Duration::from_secs(120);

pub(super) fn inspect(scene: &Scene<'_>, history: &History, symptoms: &mut Vec<Symptom>) {
    let late = scene.condition("Progressing", "False");
    symptoms.extend(late.filter(|condition| condition.reason == "ProgressDeadlineExceeded").map(
        |condition| {
            let said = text::tidy(&condition.message);
            Symptom::of(
                &r::DEADLINE,
                format!("the controller's deadline is over, and it goes on trying: {said}"),
            )
            .hint("raise `progressDeadlineSeconds` if the pods need longer to start")
            .settles(Settles::Now)
        },
    ));
    let pods: Vec<&Pod> = scene.living().collect();
    let some_was_ready = scene.new.iter().any(|pod| history.was_ready(pod));
    let running: Vec<&Pod> = pods.iter().copied().filter(|pod| runs_unready(pod)).collect();
    for pod in &running {
        let is_hopeless = !some_was_ready && running.len() == pods.len();
        let patience = patience(pod, scene);
        symptoms.push(never_ready(scene, pod, if is_hopeless { Some(patience) } else { None }));
    }
    symptoms.extend(pods.into_iter().filter_map(gated));
}

fn never_ready(scene: &Scene<'_>, pod: &Pod, patience: Option<Duration>) -> Symptom {
    let unhealthy = scene.events_of(pod).filter(|event| event.reason == "Unhealthy");
    let latest = unhealthy.max_by_key(|event| event.last);
    let said = latest.map_or_else(
        || "its containers run".to_owned(),
        |event| format!("its containers run: {}", text::tidy(&event.message)),
    );
    Symptom::of(&r::NEVER_READY, format!("no new pod was ever ready; {said}"))
        .hint("correct the readiness probe's path and port, or what the application waits for")
        .settles(patience.map_or(Settles::Never, Settles::After))
        .on(pod, unready_container(pod).as_deref())
}

fn unready_container(pod: &Pod) -> Option<String> {
    containers(pod)
        .find(|(status, role)| *role != Role::Init && !status.ready)
        .map(|(status, _)| status.name.clone())
}

/// Its containers have started and are not all ready.
fn runs_unready(pod: &Pod) -> bool {
    let statuses: Vec<_> = containers(pod).filter(|(_, role)| *role != Role::Init).collect();
    let has_started = !statuses.is_empty() && statuses.iter().all(|(status, _)| status.started == Some(true));
    has_started && !is_ready(pod) && statuses.iter().any(|(status, _)| !status.ready)
}

/// Returns how long a pod may run without being ready: at least as long as somebody said that it may.
fn patience(pod: &Pod, scene: &Scene<'_>) -> Duration {
    let probed = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .filter_map(|container| container.readiness_probe.as_ref().map(budget));
    let probed = probed.max().unwrap_or_default();
    let learned = scene.learned.map_or(Duration::ZERO, |learned| 3 * learned);
    probed.max(learned).max(scene.said_wait.unwrap_or_default()).max(LEAST)
}

fn budget(probe: &Probe) -> Duration {
    let seconds = |value: Option<i32>, default: i32| u64::try_from(value.unwrap_or(default)).unwrap_or(0);
    let rounds = seconds(probe.failure_threshold, 3) * seconds(probe.period_seconds, 10) * 3;
    Duration::from_secs(seconds(probe.initial_delay_seconds, 0) + rounds)
}

/// A pod whose containers are ready and which is not, because a gate is closed.
fn gated(pod: &Pod) -> Option<Symptom> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "False")?;
    if ready.reason.as_deref() != Some("ReadinessGatesNotReady") {
        return None;
    }
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let closed = gates
        .map(|gate| gate.condition_type.as_str())
        .find(|gate| condition(pod, gate).is_none_or(|condition| condition.status != "True"))?;
    let said = condition(pod, closed).map_or_else(
        || "nobody has set it yet".to_owned(),
        |gate| {
            let words = [gate.reason.as_deref(), gate.message.as_deref()];
            words.into_iter().flatten().collect::<Vec<_>>().join(": ")
        },
    );
    Some(
        Symptom::of(&r::GATE, format!("readiness gate `{closed}` stays closed: {}", text::tidy(&said)))
            .keyed(closed)
            .hint("look at the controller that opens the gate")
            .settles(Settles::After(GATE))
            .on(pod, spec_of(pod, "").map(|container| container.name.as_str())),
    )
}
