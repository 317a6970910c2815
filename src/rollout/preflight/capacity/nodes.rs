//! Which nodes may run a pod: the scheduler's filters as far as the pod and the nodes alone decide
//! them. What other pods forbid or use up is not here.

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};

use crate::image::Platform;
use crate::rollout::observe::{Labels, is_subset, labels};

/// Labels and annotations by whose beginning one knows that somebody adds nodes when pods need them.
const AUTOSCALED: &[&str] = &[
    "karpenter.sh/",
    "cluster-autoscaler.kubernetes.io/",
    "eks.amazonaws.com/nodegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
    "cluster.x-k8s.io/",
];

/// Returns the nodes that may run pods of `spec`.
#[must_use]
pub fn eligible<'a>(nodes: &'a [Node], spec: &PodSpec) -> Vec<&'a Node> {
    nodes.iter().filter(|node| is_eligible(node, spec)).collect()
}

fn is_eligible(node: &Node, spec: &PodSpec) -> bool {
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let state = node.spec.as_ref();
    let is_cordoned = state.and_then(|state| state.unschedulable) == Some(true);
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    let taints = state.and_then(|state| state.taints.as_deref()).unwrap_or_default();
    let tolerated = |taint: &Taint| {
        taint.effect == "PreferNoSchedule"
            || tolerations.iter().any(|toleration| tolerates(toleration, taint))
    };
    let fits_name = spec.node_name.as_ref().is_none_or(|name| Some(name) == node.metadata.name.as_ref());
    let none = Labels::new();
    let selector = spec.node_selector.as_ref().unwrap_or(&none);
    fits_name
        && (!is_cordoned || tolerated(&cordon))
        && taints.iter().all(tolerated)
        && is_subset(selector, labels(&node.metadata))
        && is_wanted(node, spec)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let fits_effect =
        toleration.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == taint.effect);
    let fits_key = (key.is_empty() && exists) || key == taint.key;
    let value = |text: &Option<String>| text.clone().unwrap_or_default();
    fits_effect && fits_key && (exists || value(&toleration.value) == value(&taint.value))
}

/// Looks at the required node affinity: one of its terms must hold, each with all it asks for.
fn is_wanted(node: &Node, spec: &PodSpec) -> bool {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| fits(node, term)))
}

fn fits(node: &Node, term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let is_empty = expressions.is_empty() && fields.is_empty();
    let name = node.metadata.name.as_deref();
    !is_empty
        && expressions.iter().all(|it| holds(it, labels(&node.metadata).get(&it.key).map(String::as_str)))
        && fields.iter().all(|it| holds(it, name.filter(|_| it.key == "metadata.name")))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_in = value.is_some_and(|value| values.iter().any(|it| it == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let numbers = number(value).zip(number(values.first().map(String::as_str)));
    match requirement.operator.as_str() {
        "In" => is_in,
        "NotIn" => !is_in,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers.is_some_and(|(value, bound)| value > bound),
        "Lt" => numbers.is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// Returns whether somebody adds nodes to this cluster when pods need them.
#[must_use]
pub fn is_autoscaled(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| {
        let annotations = node.metadata.annotations.iter().flatten();
        let mut keys = labels(&node.metadata).iter().chain(annotations).map(|(key, _)| key);
        keys.any(|key| AUTOSCALED.iter().any(|mark| key.starts_with(mark)))
    })
}

/// Returns what a node can run.
#[must_use]
pub fn platform(node: &Node) -> Option<Platform> {
    let info = node.status.as_ref()?.node_info.as_ref()?;
    let (os, architecture) = (info.operating_system.clone(), info.architecture.clone());
    Some(Platform { os, architecture, variant: String::new() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rollout::fixtures::mk;

    fn node(part: &Value) -> Node {
        let node: Node = mk(json!({ "metadata": { "name": "n1", "labels": { "zone": "a", "cores": "8" } } }));
        crate::rollout::fixtures::with(&node, part)
    }

    fn can(node: &Node, spec: &Value) -> bool {
        let spec: PodSpec = crate::rollout::fixtures::with(&mk::<PodSpec>(json!({ "containers": [] })), spec);
        !eligible(std::slice::from_ref(node), &spec).is_empty()
    }

    #[test]
    fn cordoned_and_tainted_nodes_take_only_what_tolerates_it() {
        let cordoned = node(&json!({ "spec": { "unschedulable": true } }));
        assert!(!can(&cordoned, &json!({})));
        assert!(can(&cordoned, &json!({ "tolerations": [{ "operator": "Exists" }] })));
        let tainted = |effect: &str| {
            node(&json!({ "spec": { "taints": [{ "key": "gpu", "value": "yes", "effect": effect }] } }))
        };
        assert!(!can(&tainted("NoSchedule"), &json!({})));
        assert!(!can(&tainted("NoExecute"), &json!({ "tolerations": [{ "key": "gpu", "value": "no" }] })));
        assert!(can(&tainted("NoSchedule"), &json!({ "tolerations": [{ "key": "gpu", "value": "yes" }] })));
        let other_effect =
            json!({ "tolerations": [{ "key": "gpu", "operator": "Exists", "effect": "NoExecute" }] });
        assert!(!can(&tainted("NoSchedule"), &other_effect));
        assert!(can(&tainted("PreferNoSchedule"), &json!({})));
    }

    #[test]
    fn selector_and_affinity_must_hold() {
        let here = node(&json!({}));
        let affinity = |expressions: Value| {
            let term = json!({ "matchExpressions": expressions });
            json!({ "affinity": { "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [term] },
            } } })
        };
        assert!(can(&here, &json!({ "nodeSelector": { "zone": "a" } })));
        assert!(!can(&here, &json!({ "nodeSelector": { "zone": "b" } })));
        for (operator, values, wanted) in [
            ("In", json!(["a", "b"]), true),
            ("In", json!(["b"]), false),
            ("NotIn", json!(["b"]), true),
            ("Exists", json!([]), true),
            ("DoesNotExist", json!([]), false),
        ] {
            let expression = json!([{ "key": "zone", "operator": operator, "values": values }]);
            assert_eq!(can(&here, &affinity(expression)), wanted, "{operator} {values}");
        }
        assert!(can(&here, &affinity(json!([{ "key": "cores", "operator": "Gt", "values": ["4"] }]))));
        assert!(!can(&here, &affinity(json!([{ "key": "cores", "operator": "Lt", "values": ["4"] }]))));
        assert!(!can(&here, &affinity(json!([]))));
    }

    #[test]
    fn autoscaled_nodes_are_known_by_their_marks() {
        assert!(!is_autoscaled(&[node(&json!({}))]));
        assert!(is_autoscaled(&[node(
            &json!({ "metadata": { "labels": { "karpenter.sh/nodepool": "x" } } })
        )]));
    }
}
