//! What is different about a DaemonSet: one pod per node, beside the old one only where the strategy
//! has a surge and no port of the node is taken, and nodes that are away hold nothing up.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{DaemonSet, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Node, Pod, PodTemplateSpec};

use super::{Look, Shape, pod_mark};
use crate::rollout::observe::is_ready;

/// Returns the node that the pod is on or is meant for.
fn node_of(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = &spec.node_name {
        return Some(node);
    }
    // Before it is scheduled only the controller's affinity tells.
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().filter_map(|term| term.match_fields.as_ref()).flatten();
    let mut names =
        fields.filter(|field| field.key == "metadata.name").filter_map(|field| field.values.as_ref());
    names.next()?.first().map(String::as_str)
}

/// Returns whether the node cannot or should not take pods now.
fn is_away(node: &Node) -> bool {
    let is_cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    is_cordoned || ready.is_none_or(|ready| ready.status != "True")
}

/// Returns the names of the nodes that are cordoned or not ready.
pub(super) fn away(look: &Look) -> BTreeSet<&str> {
    let nodes = look.nodes.iter().flatten().filter(|node| is_away(node));
    nodes.filter_map(|node| node.metadata.name.as_deref()).collect()
}

/// Returns the uids of the pods that nobody waits for: what a node that is away has of a pod that is
/// not the new one, or not ready. A cordoned node whose new pod is ready counts like any other.
pub(super) fn excused<'a>(look: &'a Look, target: Option<&str>) -> BTreeSet<&'a str> {
    let away = away(look);
    let is_good = |pod: &Pod| target.is_some() && pod_mark(pod) == target && is_ready(pod);
    let held = look.own_pods().filter(|pod| node_of(pod).is_some_and(|node| away.contains(node)));
    held.filter(|pod| !is_good(pod)).filter_map(|pod| pod.metadata.uid.as_deref()).collect()
}

/// Returns the nodes whose pod is not waited for.
pub(super) fn excused_nodes<'a>(look: &'a Look, target: Option<&str>) -> BTreeSet<&'a str> {
    let excused = excused(look, target);
    let is_excused = |pod: &&Pod| excused.contains(pod.metadata.uid.as_deref().unwrap_or_default());
    let good: BTreeSet<&str> = look.own_pods().filter(|pod| !is_excused(pod)).filter_map(node_of).collect();
    let held = look.own_pods().filter(is_excused).filter_map(node_of);
    held.filter(|node| !good.contains(node)).collect()
}

/// Returns whether the pods take something of their node that only one pod can have.
pub(super) fn holds_node_ports(template: &PodTemplateSpec) -> bool {
    let Some(spec) = template.spec.as_ref() else { return false };
    let init = spec.init_containers.iter().flatten();
    let mut ports = spec.containers.iter().chain(init).filter_map(|it| it.ports.as_ref()).flatten();
    spec.host_network == Some(true) || ports.any(|port| port.host_port.is_some_and(|port| port != 0))
}

pub(super) fn shape<'a>(set: &'a DaemonSet, look: &Look, target: Option<&str>) -> Shape<'a> {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let excused = i32::try_from(excused_nodes(look, target).len()).unwrap_or(0);
    let wanted = (status.desired_number_scheduled - excused).max(0);
    // What is counted on nodes that are away is more than is wanted, and no fault.
    let of = |count: Option<i32>| count.unwrap_or(0).min(wanted);
    let strategy = spec.update_strategy.unwrap_or_default();
    Shape {
        metadata: &set.metadata,
        selector: spec.selector,
        template: spec.template,
        min_ready_seconds: spec.min_ready_seconds,
        strategy: DeploymentStrategy {
            type_: strategy.type_,
            rolling_update: strategy.rolling_update.map(|rolling| RollingUpdateDeployment {
                max_surge: rolling.max_surge,
                max_unavailable: rolling.max_unavailable,
            }),
        },
        observed: status.observed_generation,
        wanted,
        counts: [
            of(status.updated_number_scheduled),
            of(Some(status.number_ready)),
            of(status.number_available),
        ],
    }
}
