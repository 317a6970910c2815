//! What is written to a set: the same as to a Deployment, in the set's own terms.

use serde_json::Value;

use super::{Set, daemonset};
use crate::rollout::Kind;
use crate::rollout::plan::patch::Operations;

/// Returns the operations for a Deployment as operations for a set. `surges` is what [`surges`] says. A StatefulSet has no strategy that
/// adds before it removes, and neither has a DaemonSet whose pods hold a port of their node; and
/// neither kind has a deadline.
#[must_use]
pub fn translate(kind: Kind, surges: bool, operations: Operations) -> Operations {
    if kind == Kind::Deployment {
        return operations;
    }
    operations.into_iter().filter_map(|operation| translated(surges, operation)).collect()
}

fn translated(surges: bool, mut operation: Value) -> Option<Value> {
    match operation["path"].as_str()? {
        "/spec/progressDeadlineSeconds" => None,
        "/spec/strategy" if surges => {
            operation["path"] = "/spec/updateStrategy".into();
            Some(operation)
        }
        "/spec/strategy" => None,
        _ => Some(operation),
    }
}

/// Returns whether a new pod can run beside the old one.
#[must_use]
pub fn surges(set: &Set) -> bool {
    match set {
        Set::Stateful(_) => false,
        Set::Daemon(daemon) => {
            daemon.spec.as_ref().is_some_and(|spec| !daemonset::holds_node_ports(&spec.template))
        }
    }
}
