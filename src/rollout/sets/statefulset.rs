//! What is different about a StatefulSet: pods have numbers, are replaced one after the other from the
//! highest down, never two of a number at once, and a partition leaves the lower ones alone.

use k8s_openapi::api::apps::v1::{DeploymentStrategy, RollingUpdateDeployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Look, Shape, pod_mark};
use crate::rollout::observe::{is_alive, is_ready};

/// Returns how many pods are wanted in all.
pub(super) fn replicas(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Returns how many of the lowest pods keep the template that they have.
pub(super) fn partition(set: &StatefulSet) -> i32 {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition);
    partition.unwrap_or(0).clamp(0, replicas(set))
}

/// Returns whether pods start one after the other, each when the one before is ready.
pub(super) fn is_ordered(set: &StatefulSet) -> bool {
    let policy = set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref());
    policy != Some("Parallel")
}

/// Returns the pod's place among the set's pods; a partition counts from the first one's number.
fn place(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let (_, number) = pod.metadata.name.as_deref()?.rsplit_once('-')?;
    let start = set.spec.as_ref().and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or(0);
    Some(number.parse::<i32>().ok()? - start)
}

/// Returns whether a new template is for the pod.
pub(super) fn is_rolled(set: &StatefulSet, pod: &Pod) -> bool {
    place(set, pod).is_none_or(|place| place >= partition(set))
}

/// Returns the pods of another template that are not ready, while the controller waits for them to be.
pub(super) fn stuck<'a>(set: &StatefulSet, look: &'a Look, target: &str) -> Vec<&'a Pod> {
    let is_stuck =
        |pod: &&Pod| is_rolled(set, pod) && pod_mark(pod) != Some(target) && is_alive(pod) && !is_ready(pod);
    if is_ordered(set) { look.own_pods().filter(is_stuck).collect() } else { Vec::new() }
}

pub(super) fn shape<'a>(set: &'a StatefulSet, pods: &[Pod], target: Option<&str>) -> Shape<'a> {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let wanted = replicas(set) - partition(set);
    let count = |fits: &dyn Fn(&Pod) -> bool| {
        i32::try_from(pods.iter().filter(|pod| fits(pod)).count()).unwrap_or(i32::MAX)
    };
    let counts = if partition(set) == 0 {
        let of = |count: Option<i32>| count.unwrap_or(0);
        [of(status.updated_replicas), of(status.ready_replicas), of(status.available_replicas)]
    } else {
        // The controller counts the pods below the partition too, whatever they run.
        let ready = count(&is_ready);
        [count(&|pod| is_alive(pod) && target.is_some() && pod_mark(pod) == target), ready, ready]
    };
    Shape {
        metadata: &set.metadata,
        selector: spec.selector,
        template: spec.template,
        min_ready_seconds: spec.min_ready_seconds,
        // One pod of a number goes before the next of that number comes.
        strategy: DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(0)),
                max_unavailable: Some(IntOrString::Int(1)),
            }),
        },
        observed: status.observed_generation,
        wanted,
        counts,
    }
}
