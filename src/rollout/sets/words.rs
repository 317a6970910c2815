//! What is said about a set before it is rolled, and why one is not: a gap in its service is told
//! before it opens.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::{Look, Set, daemonset, patch, statefulset};
use crate::rollout::observe::{Snapshot, is_ready};
use crate::rollout::plan::drain::{Choice, Way, shutdown};
use crate::rollout::preflight::Refusal;
use crate::rollout::{Drain, Order};

/// The first server on which a DaemonSet's surge is not a preview, as major and minor.
const SURGE: (u32, u32) = (1, 25);

/// Refuses a set that a new image would not roll.
///
/// # Errors
///
/// When its pods are only replaced by hand, or a partition keeps all of them.
pub fn check(look: &Look) -> Result<(), Refusal> {
    let refusal = |words: String, hint: &str| Err(Refusal { rule: "S209", words, hint: hint.to_owned() });
    if strategy(&look.set) == Some("OnDelete") {
        return refusal(
            "the update strategy is OnDelete: a new image rolls nothing by itself".to_owned(),
            "set updateStrategy.type to RollingUpdate",
        );
    }
    if let Set::Stateful(set) = &look.set {
        let (partition, replicas) = (statefulset::partition(set), statefulset::replicas(set));
        if replicas > 0 && partition >= replicas {
            return refusal(
                format!("partition {partition} keeps all {replicas} pods on the image that they have"),
                "lower updateStrategy.rollingUpdate.partition",
            );
        }
    }
    Ok(())
}

/// Refuses a canary: only a Deployment can be held with some new pods beside all old ones.
#[must_use]
pub fn no_canary(look: &Look) -> Refusal {
    let hint = match look.set {
        Set::Stateful(_) => {
            "leave `canary` out; updateStrategy.rollingUpdate.partition rolls the highest pods alone"
        }
        Set::Daemon(_) => "leave `canary` out",
    };
    Refusal {
        rule: "S209",
        words: format!("a {} cannot be held for a canary", look.set.kind().title()),
        hint: hint.to_owned(),
    }
}

fn strategy(set: &Set) -> Option<&str> {
    match set {
        Set::Stateful(set) => set.spec.as_ref()?.update_strategy.as_ref()?.type_.as_deref(),
        Set::Daemon(set) => set.spec.as_ref()?.update_strategy.as_ref()?.type_.as_deref(),
    }
}

/// Chooses how a set's pods are replaced, and says what that costs.
#[must_use]
pub fn choose(order: &Order, look: &Look, snapshot: &Snapshot) -> Choice {
    let gap = gap(snapshot);
    let wanted = snapshot.wanted();
    let (way, why, cost) = match &look.set {
        Set::Stateful(_) => {
            let why = "a StatefulSet has no two pods of one number at a time";
            (Way::Plain, why.to_owned(), Some(format!("each pod is away for {gap}, {wanted} in turn")))
        }
        Set::Daemon(set) => daemon(order, set, &gap, wanted, look.server),
    };
    let is_routed = snapshot.routing.is_none() || !snapshot.services(&snapshot.template_labels()).is_empty();
    let alone = wanted == 1 && is_routed && way == Way::Plain;
    let rest = if alone { ": nothing serves meanwhile" } else { "" };
    Choice { way, why, loses: cost.filter(|_| wanted > 0).map(|cost| format!("{cost}{rest}")) }
}

fn daemon(
    order: &Order,
    set: &k8s_openapi::api::apps::v1::DaemonSet,
    gap: &str,
    wanted: usize,
    server: Option<(u32, u32)>,
) -> (Way, String, Option<String>) {
    let rolling = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref()?.rolling_update.clone());
    let at_once = rolling.and_then(|rolling| rolling.max_unavailable);
    let at_once = at_once.map_or_else(|| "1".to_owned(), |count| words(&count));
    let cost = Some(format!("each of {wanted} nodes is without its pod for {gap}, {at_once} at a time"));
    let held = !patch::surges(&Set::Daemon(Box::new(set.clone())));
    if held {
        return (
            Way::Plain,
            "the pods hold ports of their node, so old and new cannot run beside each other".to_owned(),
            cost,
        );
    }
    if order.drain == Drain::None || order.wait.is_none() {
        let why = if order.wait.is_none() {
            "wait_until_ready is 0: nobody stays to put the strategy back"
        } else {
            "drain is none: the DaemonSet's own strategy"
        };
        return (Way::Plain, why.to_owned(), cost);
    }
    if server.is_some_and(|version| version < SURGE) {
        return (
            Way::Plain,
            "the API server is older than 1.25 and has no surge for DaemonSets".to_owned(),
            cost,
        );
    }
    (Way::Rolling, "each node gets its new pod before the old one ends".to_owned(), None)
}

fn words(count: &k8s_openapi::apimachinery::pkg::util::intstr::IntOrString) -> String {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    match count {
        IntOrString::Int(count) => count.to_string(),
        IntOrString::String(share) => share.clone(),
    }
}

/// Returns for how long a pod is away when it is replaced: what its own end takes, as far as that can
/// be read, and what the slowest twentieth of the pods that run now took to be ready.
fn gap(snapshot: &Snapshot) -> String {
    let ends = snapshot.own_pods().map(|pod| shutdown(pod, &snapshot.container).serves).max().unwrap_or(0);
    let mut starts: Vec<Duration> = snapshot.own_pods().filter_map(start).collect();
    starts.sort();
    let slow = starts.len().saturating_sub(1).min(starts.len() * 95 / 100);
    match starts.get(slow) {
        Some(start) => format!("about {} s", ends + start.as_secs().max(1)),
        None => "as long as it takes to end and to start".to_owned(),
    }
}

/// Returns how long the pod took from its creation to its last becoming ready; a pod that was unready
/// later says nothing about its start.
fn start(pod: &Pod) -> Option<Duration> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|it| it.type_ == "Ready").filter(|_| is_ready(pod))?;
    let created = pod.metadata.creation_timestamp.as_ref()?;
    let seconds = ready.last_transition_time.as_ref()?.0.as_second() - created.0.as_second();
    // Nothing starts for longer than a quarter of an hour; that pod was unready for another reason.
    u64::try_from(seconds).ok().filter(|seconds| *seconds < 900).map(Duration::from_secs)
}

/// Says which pods of a set are not rolled, or not waited for.
#[must_use]
pub fn exceptions(look: &Look) -> Option<String> {
    match &look.set {
        Set::Stateful(set) => {
            let partition = statefulset::partition(set);
            let rest = statefulset::replicas(set) - partition;
            (partition > 0).then(|| {
                format!("partition {partition}: the first {partition} pods keep their image, the other {rest} are rolled and proven")
            })
        }
        Set::Daemon(_) => {
            let nodes = daemonset::away(look);
            let shown: Vec<&str> = nodes.iter().take(5).copied().collect();
            let rest = nodes.len() - shown.len();
            let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            (!nodes.is_empty()).then(|| {
                format!("not waited for: nodes that are cordoned or not ready ({}{more})", shown.join(", "))
            })
        }
    }
}
