//! Where new pods may go beside the old ones: anti-affinity, spread, host ports, room on nodes, and
//! nodes that are being emptied.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod, PodAffinityTerm, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use super::quantity::{demand, room, show};
use super::{Surge, nodes};
use crate::rollout::annotations::HASH;
use crate::rollout::observe::labels;
use crate::rollout::preflight::facts::{Facts, Findings, Severity};
use crate::rollout::preflight::words::pods;

/// Taints of a node that is about to go.
const LEAVING: &[&str] = &[
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "node.kubernetes.io/out-of-service",
];
/// What kured writes on a node that it is about to restart.
const RESTARTING: &[&str] = &["weave.works/kured-reboot-in-progress", "kured.dev/kured-reboot-in-progress"];

const OTHER_HASH: &str = "add `matchLabelKeys: [pod-template-hash]` to it";
const ONE_MISSING: &str = "or allow one pod to be missing with `drain: none`";

pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    anti_affinity(facts, findings);
    spread(facts, findings);
    host_ports(facts, findings);
    capacity(facts, findings);
    drains(facts, findings);
}

fn anti_affinity(facts: &Facts<'_>, findings: &mut Findings) {
    let spec = facts.new_pod();
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = affinity.and_then(|it| it.required_during_scheduling_ignored_during_execution.as_ref());
    let own: Vec<&PodAffinityTerm> =
        required.into_iter().flatten().filter(|term| is_against_own(facts, term)).collect();
    if own.is_empty() {
        return;
    }
    let Some(all) = findings.need("C601", &facts.survey.nodes) else { return };
    for term in own {
        let domain = |node: &Node| labels(&node.metadata).get(&term.topology_key).cloned();
        let eligible: BTreeSet<String> = nodes::eligible(all, &spec).into_iter().filter_map(domain).collect();
        let taken = hosts(facts, all);
        let taken: BTreeSet<String> = taken.into_iter().filter_map(domain).collect();
        let free = eligible.difference(&taken).count();
        let words = format!(
            "required anti-affinity on `{}`: {} eligible, {free} of them without an old pod",
            term.topology_key,
            eligible.len(),
        );
        judge(facts, findings, ("C601", free), words, &format!("{OTHER_HASH}, {ONE_MISSING}"));
    }
}

/// Returns whether the term keeps new pods away from old ones of the same Deployment.
fn is_against_own(facts: &Facts<'_>, term: &PodAffinityTerm) -> bool {
    let namespace = facts.snapshot.deployment.metadata.namespace.as_ref();
    let named = term.namespaces.as_deref().unwrap_or_default();
    let all_namespaces = term.namespace_selector.as_ref().is_some_and(is_everything);
    let is_here = all_namespaces
        || (named.is_empty() && term.namespace_selector.is_none())
        || namespace.is_some_and(|namespace| named.contains(namespace));
    let is_per_hash = term.match_label_keys.iter().flatten().any(|key| key == HASH);
    is_here && !is_per_hash && selects_own(facts, term.label_selector.as_ref())
}

fn is_everything(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

fn selects_own(facts: &Facts<'_>, selector: Option<&LabelSelector>) -> bool {
    let selector = selector.and_then(|selector| Selector::try_from(selector.clone()).ok());
    selector.is_some_and(|selector| selector.matches(&facts.snapshot.template_labels()))
}

fn spread(facts: &Facts<'_>, findings: &mut Findings) {
    let spec = facts.new_pod();
    for constraint in spec.topology_spread_constraints.iter().flatten() {
        let is_per_hash = constraint.match_label_keys.iter().flatten().any(|key| key == HASH);
        let is_hard = constraint.when_unsatisfiable == "DoNotSchedule";
        if is_hard && !is_per_hash && selects_own(facts, constraint.label_selector.as_ref()) {
            let words = format!(
                "spread over `{}` counts old and new pods together: a new pod may find no place that keeps the skew",
                constraint.topology_key
            );
            findings.add("C602", Severity::Warn, words, OTHER_HASH);
        }
    }
}

fn host_ports(facts: &Facts<'_>, findings: &mut Findings) {
    let spec = facts.new_pod();
    let ports = taken_ports(&spec);
    if ports.is_empty() {
        return;
    }
    let Some(all) = findings.need("C603", &facts.survey.nodes) else { return };
    let taken: BTreeSet<Option<String>> =
        hosts(facts, all).into_iter().map(|node| node.metadata.name.clone()).collect();
    let eligible = nodes::eligible(all, &spec);
    let free = eligible.iter().filter(|node| !taken.contains(&node.metadata.name)).count();
    let words = format!(
        "the pods take port {} of their node: {} nodes are eligible, {free} of them without an old pod",
        ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
        eligible.len()
    );
    judge(
        facts,
        findings,
        ("C603", free),
        words,
        &format!("use a Service instead of `hostPort`, {ONE_MISSING}"),
    );
}

/// Returns the node's ports that a pod takes; on the host's network every declared port is one.
fn taken_ports(spec: &PodSpec) -> BTreeSet<i32> {
    let is_host = spec.host_network == Some(true);
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| port.host_port.or(is_host.then_some(port.container_port)));
    taken.filter(|port| *port > 0).collect()
}

/// Returns the nodes under the pods that run now.
fn hosts<'a>(facts: &Facts<'_>, all: &'a [Node]) -> Vec<&'a Node> {
    let names: BTreeSet<&str> = facts.snapshot.own_pods().filter_map(node_of).collect();
    all.iter().filter(|node| node.metadata.name.as_deref().is_some_and(|name| names.contains(name))).collect()
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref())
}

/// Says that there are only `free` places, unless that is enough. Where somebody adds nodes it may still go well.
fn judge(
    facts: &Facts<'_>,
    findings: &mut Findings,
    (rule, free): (&'static str, usize),
    words: String,
    hint: &str,
) {
    let surge = Surge::of(facts);
    // Of several new pods each place takes one, and a rolling update needs no more than one at a time.
    let enough = if surge.is_detached { surge.all } else { surge.all.min(1) };
    let Some(severity) = surge.verdict(free).filter(|_| free < enough) else { return };
    let is_autoscaled = facts.survey.nodes.known().is_some_and(|nodes| nodes::is_autoscaled(nodes));
    let severity = if is_autoscaled { Severity::Warn } else { severity };
    findings.add(rule, severity, format!("{words}; {}", surge.consequence(free)), hint);
}

fn capacity(facts: &Facts<'_>, findings: &mut Findings) {
    let surge = Surge::of(facts);
    if surge.all == 0 {
        return;
    }
    let Some(all) = findings.need("C608", &facts.survey.nodes) else { return };
    let Some(others) = findings.need("C608", &facts.survey.node_pods) else { return };
    if all.is_empty() || nodes::is_autoscaled(all) {
        return;
    }
    let spec = facts.new_pod();
    let limits = facts.survey.limit_ranges.known().map_or(&[][..], Vec::as_slice);
    let demand = demand(&spec, limits);
    let eligible = nodes::eligible(all, &spec);
    let places: i128 = eligible.iter().map(|node| room(node, others, &demand)).sum();
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    let enough = if surge.is_detached { surge.all } else { 1 };
    if places < enough {
        let asks = demand.requests.iter().map(|(name, amount)| format!("{name} {}", show(name, *amount)));
        let asks = Some(asks.collect::<Vec<_>>().join(", ")).filter(|asks| !asks.is_empty());
        let asks = asks.map_or_else(String::new, |asks| format!(" that ask for {asks}"));
        let words = format!(
            "the {} eligible nodes have room for {} of the {} wanted beside the old ones{asks}; {}",
            eligible.len(),
            places,
            pods(surge.all),
            surge.consequence(places)
        );
        findings.add("C608", Severity::Warn, words, "add nodes, or ask for less");
    }
}

pub(super) fn drains(facts: &Facts<'_>, findings: &mut Findings) {
    let Some(all) = findings.need("C609", &facts.survey.nodes) else { return };
    for node in hosts(facts, all) {
        let Some(why) = leaves(node) else { continue };
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let here = facts.snapshot.own_pods().filter(|pod| node_of(pod) == Some(name)).count();
        let words = format!("node `{name}` under {} that run now is {why}", pods(here));
        findings.add(
            "C609",
            Severity::Warn,
            words,
            "wait until it is done: both take pods away at the same time",
        );
    }
}

fn leaves(node: &Node) -> Option<&'static str> {
    let spec = node.spec.as_ref();
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let annotations = node.metadata.annotations.as_ref();
    if taints.iter().any(|taint| LEAVING.contains(&taint.key.as_str())) {
        Some("about to be removed")
    } else if RESTARTING.iter().any(|key| annotations.is_some_and(|all| all.contains_key(*key))) {
        Some("about to be restarted")
    } else {
        (spec.and_then(|spec| spec.unschedulable) == Some(true)).then_some("cordoned")
    }
}
