//! Which way the old pods leave. How old pods die is written in the old pods: a hook that comes with
//! the new image protects the next rollout, not this one.

use k8s_openapi::api::core::v1::{Container, Lifecycle, Pod};

use serde::{Deserialize, Serialize};

use crate::rollout::annotations::DRAINS;
use crate::rollout::observe::{Snapshot, annotation};
use crate::rollout::preflight::is_recreate;
use crate::rollout::{Drain, Order};

/// How long the value of a label may be.
pub const LONGEST_LABEL: usize = 63;

/// The way a rollout goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// All new pods first, then the old ones out of their Services, then the old ones end.
    Detached,
    /// The controller's rolling update, made to add before it removes.
    Rolling,
    /// The Deployment's strategy as it is.
    Plain,
}

/// A way, why it was chosen, and what it can lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The way.
    pub way: Way,
    /// Why this one.
    pub why: String,
    /// What it can lose; `None` where nothing new is lost.
    pub loses: Option<String>,
}

/// How one pod behaves between the request to end and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// For how many seconds it goes on serving.
    pub serves: u64,
    /// How many seconds it has in all.
    pub grace: u64,
}

/// Chooses the way for `order`. `obstacle` is why the old pods cannot be detached, if they cannot.
#[must_use]
pub fn choose(order: &Order, snapshot: &Snapshot, obstacle: Option<&str>) -> Choice {
    if let Some(look) = &snapshot.set {
        return crate::rollout::sets::words::choose(order, look, snapshot);
    }
    if order.wait.is_none() {
        return plain("wait_until_ready is 0: nobody stays to drain the old pods");
    }
    if is_recreate(snapshot) {
        return plain("the Deployment's strategy is Recreate");
    }
    if snapshot.wanted() == 0 {
        return plain("there are no pods to drain");
    }
    match order.drain {
        Drain::None => plain("drain is none: the Deployment's own strategy"),
        Drain::Rolling => rolling(order, snapshot, "drain is rolling"),
        Drain::Detached | Drain::Auto if is_unrouted(snapshot) => {
            let why = "no Service sends traffic to the pods";
            Choice { way: Way::Rolling, why: why.to_owned(), loses: None }
        }
        Drain::Auto if drains_by_itself(order, snapshot) => {
            let why = format!("every old pod serves on for at least {} s", order.drain_wait.as_secs());
            rolling(order, snapshot, &why)
        }
        Drain::Detached | Drain::Auto => obstacle.or_else(|| unmarkable(snapshot)).map_or_else(
            || Choice { way: Way::Detached, why: detached_reason(order, snapshot), loses: None },
            |obstacle| rolling(order, snapshot, &format!("the old pods cannot be detached: {obstacle}")),
        ),
    }
}

/// The mark of a detached pod is a label with the Deployment's name, and labels are shorter than names.
fn unmarkable(snapshot: &Snapshot) -> Option<&'static str> {
    let length = snapshot.deployment.metadata.name.as_ref().map_or(0, String::len);
    (length > LONGEST_LABEL).then_some("the Deployment's name is too long for a label")
}

fn plain(why: &str) -> Choice {
    let loses = "the old pods end as the Deployment's strategy and their own shutdown have it".to_owned();
    Choice { way: Way::Plain, why: why.to_owned(), loses: Some(loses) }
}

fn rolling(order: &Order, snapshot: &Snapshot, why: &str) -> Choice {
    let short = snapshot.old_shutdowns().filter(|shutdown| !is_enough(*shutdown, order)).count();
    let loses = (short > 0 && !is_unrouted(snapshot)).then(|| {
        format!("{short} old pods stop serving while they still get traffic: expect refused connections for about a second each")
    });
    Choice { way: Way::Rolling, why: why.to_owned(), loses }
}

fn detached_reason(order: &Order, snapshot: &Snapshot) -> String {
    let short = snapshot.old_shutdowns().filter(|shutdown| !is_enough(*shutdown, order)).count();
    match short {
        0 => "drain is detached".to_owned(),
        _ => format!("{short} old pods have no drain of {} s of their own", order.drain_wait.as_secs()),
    }
}

/// Returns whether it is known that no Service selects the pods.
fn is_unrouted(snapshot: &Snapshot) -> bool {
    snapshot.routing.is_some() && snapshot.services(&snapshot.template_labels()).is_empty()
}

fn drains_by_itself(order: &Order, snapshot: &Snapshot) -> bool {
    snapshot.old_shutdowns().all(|shutdown| is_enough(shutdown, order))
}

/// Two seconds are the least that the kubelet leaves for SIGTERM itself.
fn is_enough(shutdown: Shutdown, order: &Order) -> bool {
    shutdown.serves >= order.drain_wait.as_secs() && shutdown.grace >= shutdown.serves + 2
}

impl Snapshot {
    /// Returns how each pod that runs now would end. Every pod is old to a new image.
    pub fn old_shutdowns(&self) -> impl Iterator<Item = Shutdown> {
        self.own_pods().map(|pod| shutdown(pod, &self.container))
    }
}

/// Reads from a pod how it ends: it serves for as long as the first to go of the named container and
/// those with ports, for a proxy beside the application that goes first takes the traffic with it.
#[must_use]
pub fn shutdown(pod: &Pod, container: &str) -> Shutdown {
    let spec = pod.spec.as_ref();
    let containers = spec.map_or(&[] as &[Container], |spec| spec.containers.as_slice());
    let serving = containers.iter().filter(|other| other.name == container || other.ports.is_some());
    let hooks = serving.map(|container| container.lifecycle.as_ref().and_then(hook_seconds).unwrap_or(0));
    let hook = hooks.min();
    let declared = annotation(&pod.metadata, DRAINS).and_then(|text| text.trim_end_matches('s').parse().ok());
    let grace = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    Shutdown { serves: hook.unwrap_or(0) + declared.unwrap_or(0), grace: u64::try_from(grace).unwrap_or(0) }
}

/// Reads how long a preStop hook holds SIGTERM back: the native sleep, or a command whose last words
/// are `sleep N`. What another command does is not known, so it counts as nothing.
fn hook_seconds(lifecycle: &Lifecycle) -> Option<u64> {
    let hook = lifecycle.pre_stop.as_ref()?;
    if let Some(sleep) = &hook.sleep {
        return u64::try_from(sleep.seconds).ok();
    }
    let command = hook.exec.as_ref()?.command.as_ref()?.join(" ");
    let words: Vec<&str> = command.split_whitespace().collect();
    let [.., program, seconds] = words.as_slice() else { return None };
    let is_sleep = program.rsplit('/').next() == Some("sleep");
    seconds.trim_end_matches('s').parse().ok().filter(|_| is_sleep)
}

#[cfg(test)]
mod tests;
