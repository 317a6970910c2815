//! Who else decides how many pods there are, and how large.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use super::Surge;
use crate::rollout::preflight::facts::{Facts, Findings, Severity};

/// From this size on the feedback of kubernetes/kubernetes#72775 was seen.
const MANY: usize = 20;

pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    for rule in ["A701", "A702", "A703"] {
        let _ = findings.need(rule, &facts.survey.autoscalers);
    }
    let scalers = facts.survey.autoscalers.known().into_iter().flatten();
    for scaler in scalers.filter(|scaler| is_ours(facts, scaler)) {
        one(facts, scaler, findings);
    }
    vertical(facts, findings);
}

fn is_ours(facts: &Facts<'_>, scaler: &HorizontalPodAutoscaler) -> bool {
    let target = scaler.spec.as_ref().map(|spec| &spec.scale_target_ref);
    let name = facts.snapshot.deployment.metadata.name.as_deref();
    target.is_some_and(|target| {
        target.kind == facts.snapshot.kind().title() && Some(target.name.as_str()) == name
    })
}

fn one(facts: &Facts<'_>, scaler: &HorizontalPodAutoscaler, findings: &mut Findings) {
    let Some(spec) = &scaler.spec else { return };
    let name = scaler.metadata.name.as_deref().unwrap_or_default();
    let (least, most) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
    let words = format!("autoscaler `{name}` sets the replicas, {least} to {most}: they are not touched");
    findings.add("A701", Severity::Info, words, "");
    let desired = scaler.status.as_ref().map_or(0, |status| status.desired_replicas);
    if desired >= most && least < most {
        let words =
            format!("autoscaler `{name}` is at its maximum of {most}: no headroom while new pods warm up");
        findings.add("A702", Severity::Warn, words, "raise `maxReplicas`, or roll when there is less to do");
    }
    let (wanted, surge) = (facts.snapshot.wanted(), Surge::of(facts).all);
    let is_per_pod = |kind: &str| matches!(kind, "Pods" | "External");
    let metric = spec.metrics.iter().flatten().find(|metric| is_per_pod(&metric.type_));
    if let Some(metric) = metric.filter(|_| wanted >= MANY && surge * 4 >= wanted) {
        let words = format!(
            "autoscaler `{name}` reads a metric of type {}, and {surge} pods come to {wanted} at once: it may take them for load and add more",
            metric.type_
        );
        findings.add("A703", Severity::Warn, words, "lower `maxSurge`, and set `drain: rolling`");
    }
}

fn vertical(facts: &Facts<'_>, findings: &mut Findings) {
    let Some(claims) = findings.need("A704", &facts.survey.claimed_by) else { return };
    let acts = |detail: &str| ["Auto", "Recreate"].iter().any(|mode| detail.ends_with(mode));
    let vertical = claims.iter().filter(|claim| claim.kind == "VerticalPodAutoscaler" && acts(&claim.detail));
    for claim in vertical {
        let words = format!(
            "VerticalPodAutoscaler `{}` ({}) evicts pods by itself, also while they roll",
            claim.name, claim.detail
        );
        findings.add("A704", Severity::Warn, words, "set its `updateMode` to `Initial`");
    }
}
