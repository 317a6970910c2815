//! Rules about how new pods start (R), read off the new template: it decides.

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::facts::Severity::{Block, Warn};
use super::facts::{Facts, Findings, Rule};
use super::serving::name;
use super::words::{ago, pods};
use crate::rollout::learned::start_p95;

/// More restarts than this within [`UNSTABLE_SECONDS`] are a habit.
const RESTARTS: i32 = 2;
const UNSTABLE_SECONDS: i64 = 3_600;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "R301",
        name: "no readiness",
        // Not a block: a server that listens at once loses nothing, so it is not sure that something is lost.
        severity: Warn,
        when: "a container that a Service sends traffic to has no readinessProbe, and the pod no readiness gate",
        fix: "a readinessProbe that fails until requests can be answered",
    },
    Rule {
        id: "R302",
        name: "liveness kills",
        severity: Warn,
        when: "without a startupProbe, the livenessProbe gives up before one and a half times the slowest start of the pods that run",
        fix: "a startupProbe with a failureThreshold that covers the start",
    },
    Rule {
        id: "R303",
        name: "startup budget",
        severity: Warn,
        when: "the startupProbe gives up before one and a half times the slowest start of the pods that run",
        fix: "raise its failureThreshold",
    },
    Rule {
        id: "R304",
        name: "same probe",
        severity: Warn,
        when: "livenessProbe and readinessProbe ask the same and liveness is no more patient: what should only take a pod out of its Service kills it",
        fix: "a livenessProbe that asks only whether the process is alive, or a higher failureThreshold",
    },
    Rule {
        id: "R305",
        name: "port",
        severity: Block,
        when: "a probe names a port that its container does not declare: it can never succeed",
        fix: "declare the port under that name, or use its number",
    },
    Rule {
        id: "R306",
        name: "not ready published",
        // Not a block: clients that try again lose nothing, and some set it on purpose.
        severity: Warn,
        when: "a Service with publishNotReadyAddresses that is not headless sends traffic to the pods",
        fix: "a headless Service of its own for peers that must find each other early",
    },
    Rule {
        id: "R307",
        name: "restarts",
        severity: Warn,
        when: "a pod that runs now has restarted more than twice, the last time within the hour",
        fix: "find out why before you change it, unless this image is the cure",
    },
];

/// Lets each rule look.
pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    no_readiness(facts, findings);
    if let Some(container) = facts.container() {
        liveness_kills(facts, &container, findings);
        startup_budget(facts, &container, findings);
    }
    let spec = facts.new_template().spec.unwrap_or_default();
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        same_probe(container, findings);
        port(container, findings);
    }
    not_ready_published(facts, findings);
    restarts(facts, findings);
}

fn no_readiness(facts: &Facts<'_>, findings: &mut Findings) {
    if facts.services().is_none() {
        return findings.skip("R301", "list services");
    }
    let spec = facts.new_template().spec.unwrap_or_default();
    let gated = spec.readiness_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let serving = facts.serving(&spec).into_iter().find(|container| container.readiness_probe.is_none());
    if let Some(container) = serving.filter(|_| !gated) {
        let words = format!(
            "container `{}` has no readinessProbe: {} get traffic as soon as their process starts, and count as ready whatever they do",
            container.name,
            pods(facts.snapshot.wanted()),
        );
        findings.add("R301", Warn, words, "give it a readinessProbe that fails until it can answer requests");
    }
}

fn liveness_kills(facts: &Facts<'_>, container: &Container, findings: &mut Findings) {
    let Some(liveness) = &container.liveness_probe else { return };
    if container.startup_probe.is_some() {
        return;
    }
    let Some((start, budget)) = too_short(facts, "R302", liveness, findings) else { return };
    let words = format!(
        "container `{}` starts in up to {start} s and its livenessProbe kills it after {budget} s",
        container.name
    );
    findings.add("R302", Warn, words, "give it a startupProbe that covers the start");
}

fn startup_budget(facts: &Facts<'_>, container: &Container, findings: &mut Findings) {
    let Some(startup) = &container.startup_probe else { return };
    let Some((start, budget)) = too_short(facts, "R303", startup, findings) else { return };
    let words = format!(
        "container `{}` starts in up to {start} s and its startupProbe gives up after {budget} s",
        container.name
    );
    findings.add("R303", Warn, words, "raise the startupProbe's failureThreshold");
}

/// Returns the learned start time and the probe's budget where that is less than one and a half times.
fn too_short(
    facts: &Facts<'_>,
    rule: &'static str,
    probe: &Probe,
    findings: &mut Findings,
) -> Option<(u64, u64)> {
    let Some(start) = start_p95(facts.snapshot) else {
        findings.skip(rule, "a running pod that shows how long its start took");
        return None;
    };
    let budget = budget(probe);
    (budget < (start * 3 / 2).as_secs()).then_some((start.as_secs(), budget))
}

/// Returns after how many seconds a container that never answers is given up.
fn budget(probe: &Probe) -> u64 {
    let delay = probe.initial_delay_seconds.unwrap_or(0);
    u64::try_from(delay).unwrap_or(0) + patience(probe)
}

/// Returns for how many seconds a probe may fail. The defaults are the API's.
fn patience(probe: &Probe) -> u64 {
    let (failures, period) = (probe.failure_threshold.unwrap_or(3), probe.period_seconds.unwrap_or(10));
    u64::try_from(failures).unwrap_or(0) * u64::try_from(period).unwrap_or(0)
}

fn same_probe(container: &Container, findings: &mut Findings) {
    let (Some(liveness), Some(readiness)) = (&container.liveness_probe, &container.readiness_probe) else {
        return;
    };
    let same = liveness.exec == readiness.exec
        && liveness.grpc == readiness.grpc
        && liveness.http_get == readiness.http_get
        && liveness.tcp_socket == readiness.tcp_socket;
    if same && patience(liveness) <= patience(readiness) {
        let words = format!(
            "container `{}` has the same livenessProbe and readinessProbe: a pod that is only busy is killed",
            container.name
        );
        findings.add("R304", Warn, words, "let liveness ask only whether the process is alive");
    }
}

fn port(container: &Container, findings: &mut Findings) {
    let declared =
        |name: &str| container.ports.iter().flatten().any(|port| port.name.as_deref() == Some(name));
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    for (key, probe) in probes {
        let http = probe.as_ref().and_then(|probe| probe.http_get.as_ref()).map(|get| &get.port);
        let tcp = probe.as_ref().and_then(|probe| probe.tcp_socket.as_ref()).map(|socket| &socket.port);
        let Some(IntOrString::String(port)) = http.or(tcp) else { continue };
        if port.parse::<u16>().is_err() && !declared(port) {
            let words = format!(
                "the {key} of container `{}` asks port `{port}`, which it does not declare",
                container.name
            );
            findings.add("R305", Block, words, format!("name a port `{port}` in the container's `ports`"));
        }
    }
}

fn not_ready_published(facts: &Facts<'_>, findings: &mut Findings) {
    let Some(services) = facts.services() else { return findings.skip("R306", "list services") };
    let publishes = services.into_iter().find(|service| {
        let spec = service.spec.clone().unwrap_or_default();
        spec.publish_not_ready_addresses == Some(true) && spec.cluster_ip.as_deref() != Some("None")
    });
    if let Some(service) = publishes {
        let words = format!(
            "service `{}` sends traffic to pods that are not ready: {} get requests before they can answer",
            name(service),
            pods(facts.snapshot.wanted()),
        );
        findings.add(
            "R306",
            Warn,
            words,
            "turn publishNotReadyAddresses off, or use a headless Service for peers",
        );
    }
}

fn restarts(facts: &Facts<'_>, findings: &mut Findings) {
    let worst = facts.snapshot.own_pods().filter_map(|pod| {
        let statuses = pod.status.as_ref()?.container_statuses.iter().flatten();
        let often = statuses.filter(|status| status.restart_count > RESTARTS).filter_map(|status| {
            let ended = status.last_state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0;
            Some((status.restart_count, ended))
        });
        let (count, ended) = often.max_by_key(|(_, ended)| *ended)?;
        let recent = facts.survey.now.as_second() - ended.as_second() < UNSTABLE_SECONDS;
        recent.then(|| (count, ended, pod.metadata.name.clone().unwrap_or_default()))
    });
    if let Some((count, ended, pod)) = worst.max_by_key(|(count, ..)| *count) {
        let when = ago(ended, facts.survey.now);
        let words = format!(
            "pod {pod}, which this replaces, restarted {count} times, last {when}: it was unstable before"
        );
        findings.add("R307", Warn, words, format!("kubectl -n {} logs {pod} --previous", namespace(facts)));
    }
}

fn namespace<'a>(facts: &'a Facts<'_>) -> &'a str {
    facts.snapshot.deployment.metadata.namespace.as_deref().unwrap_or("default")
}

#[cfg(test)]
pub(super) mod tests;
