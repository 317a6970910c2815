//! Whether the namespace's quotas leave room for the pods that a rollout adds.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, ResourceQuota, ScopedResourceSelectorRequirement};

use super::Surge;
use super::quantity::{Demand, amounts, demand, show};
use crate::rollout::preflight::facts::{Facts, Findings};

const HINT: &str = "raise the quota";

pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    let Some(quotas) = findings.need("C605", &facts.survey.quotas) else { return };
    let spec = facts.new_pod();
    let limits = facts.survey.limit_ranges.known().map_or(&[][..], Vec::as_slice);
    let demand = demand(&spec, limits);
    let mut unknown = BTreeSet::new();
    for quota in quotas {
        match applies(quota, &spec, &demand) {
            Ok(true) => one(facts, quota, &demand, findings),
            Ok(false) => {}
            Err(scope) => drop(unknown.insert(scope)),
        }
    }
    for scope in unknown {
        findings.skip("C605", &format!("knowing quota scope `{scope}`"));
    }
}

fn one(facts: &Facts<'_>, quota: &ResourceQuota, demand: &Demand, findings: &mut Findings) {
    let surge = Surge::of(facts);
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let status = quota.status.as_ref();
    let used = amounts(status.and_then(|status| status.used.as_ref()));
    let hard = status
        .and_then(|status| status.hard.as_ref())
        .or(quota.spec.as_ref().and_then(|it| it.hard.as_ref()));
    for (resource, hard) in amounts(hard) {
        if let Some(unsaid) = unsaid(&resource, demand).filter(|_| surge.verdict(0).is_some()) {
            let words = format!("quota `{name}` wants every container to have {unsaid}, and one has not");
            let severity = surge.verdict(0).unwrap_or(crate::rollout::preflight::facts::Severity::Warn);
            findings.add("C605", severity, words, format!("set {unsaid} in the template, or a LimitRange"));
            continue;
        }
        let each = per_pod(&resource, demand);
        if each == 0 {
            continue;
        }
        let left = (hard - used.get(&resource).copied().unwrap_or(0)).max(0);
        let room = usize::try_from(left / each).unwrap_or(usize::MAX);
        let room = if resource == "count/replicasets.apps" && room > 0 { surge.all } else { room };
        if let Some(severity) = surge.verdict(room) {
            let words = format!(
                "quota `{name}`: {} of {} `{resource}` left, each new pod needs {}, and {} are wanted at once; {}",
                show(&resource, left),
                show(&resource, hard),
                show(&resource, each),
                surge.all,
                surge.consequence(room)
            );
            findings.add("C605", severity, words, HINT);
        }
    }
}

/// Returns how much of a quota's resource one new pod uses.
fn per_pod(resource: &str, demand: &Demand) -> i128 {
    let of = |amounts: &super::quantity::Amounts, name: &str| amounts.get(name).copied().unwrap_or(0);
    match resource {
        "pods" | "count/pods" | "count/replicasets.apps" => 1000,
        _ => match resource.split_once('.') {
            Some(("requests", name)) => of(&demand.requests, name),
            Some(("limits", name)) => of(&demand.limits, name),
            _ if resource.contains('/') => 0,
            _ => of(&demand.requests, resource),
        },
    }
}

/// A quota on computing resources refuses pods that do not say what they take.
fn unsaid(resource: &str, demand: &Demand) -> Option<String> {
    let name = resource.rsplit('.').next().unwrap_or(resource);
    let lacking = if resource.starts_with("limits.") { &demand.unlimited } else { &demand.unrequested };
    let what = if resource.starts_with("limits.") { "limit" } else { "request" };
    let is_plain = matches!(resource, "cpu" | "memory")
        || resource.starts_with("requests.")
        || resource.starts_with("limits.");
    (is_plain && lacking.contains(&name)).then(|| format!("a {what} for {name}"))
}

/// Returns whether the quota counts pods of `spec`.
///
/// # Errors
///
/// The scope that is not known here.
fn applies(quota: &ResourceQuota, spec: &PodSpec, demand: &Demand) -> Result<bool, String> {
    let quota = quota.spec.as_ref();
    for scope in quota.and_then(|quota| quota.scopes.as_deref()).unwrap_or_default() {
        if !fits(scope, spec, demand)? {
            return Ok(false);
        }
    }
    let selector = quota.and_then(|quota| quota.scope_selector.as_ref());
    for requirement in selector.and_then(|selector| selector.match_expressions.as_deref()).unwrap_or_default()
    {
        if !selects(requirement, spec, demand)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn selects(
    requirement: &ScopedResourceSelectorRequirement,
    spec: &PodSpec,
    demand: &Demand,
) -> Result<bool, String> {
    if requirement.scope_name != "PriorityClass" {
        let is_wanted = requirement.operator != "DoesNotExist";
        return Ok(fits(&requirement.scope_name, spec, demand)? == is_wanted);
    }
    let class = spec.priority_class_name.as_ref();
    let is_in = class.is_some_and(|class| requirement.values.iter().flatten().any(|value| value == class));
    Ok(match requirement.operator.as_str() {
        "In" => is_in,
        "NotIn" => !is_in,
        "Exists" => class.is_some(),
        _ => class.is_none(),
    })
}

fn fits(scope: &str, spec: &PodSpec, demand: &Demand) -> Result<bool, String> {
    let asks = |name| demand.requests.contains_key(name) || demand.limits.contains_key(name);
    let is_best_effort = !asks("cpu") && !asks("memory");
    match scope {
        "BestEffort" => Ok(is_best_effort),
        "NotBestEffort" => Ok(!is_best_effort),
        "Terminating" => Ok(spec.active_deadline_seconds.is_some()),
        "NotTerminating" => Ok(spec.active_deadline_seconds.is_none()),
        "PriorityClass" => Ok(spec.priority_class_name.is_some()),
        other => Err(other.to_owned()),
    }
}
