//! The words: what a look shows, and what was missing when time ran out. Pure; when to say it is the
//! driver's business, and how it looks on a terminal is the command line's.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::Order;
use super::learned::eta;
use super::observe::{Snapshot, is_alive, is_detached};
use super::plan::drain::Way;
use super::verdict::diagnosis::record::World;

pub mod failure;
pub mod findings;
pub mod plan;

/// Hears what a rollout does.
pub trait Reporter: Sync {
    /// Something was decided, done or found out.
    fn line(&self, text: &str);
    /// This is what is there now; called after each look, whether or not anything changed.
    fn look(&self, progress: &Progress);
    /// This is what the verdict is made from; `world` is made only for who wants to keep it.
    fn evidence(&self, _world: &dyn Fn() -> World) {}
}

/// One look, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pods that are wanted.
    pub wanted: usize,
    /// Pods of the new template.
    pub new: usize,
    /// Those of them that are ready.
    pub ready: usize,
    /// Pods of older templates that are not ending.
    pub old: usize,
    /// Those of them that were taken out of their Services.
    pub detached: usize,
    /// Pods of older templates that are ending.
    pub ending: usize,
    /// How often containers of new pods were started again.
    pub restarts: usize,
    /// New pods that every Service sends traffic to; `None` where no Service selects them, or nobody
    /// may say.
    pub routed: Option<usize>,
    /// New pods that do not come up, and what their runtime calls it.
    pub suspects: Vec<String>,
    /// How long it is likely to go on; `None` where nothing shows how long a start takes.
    pub left: Option<Duration>,
    /// What is missing, empty when nothing is.
    pub lack: String,
}

impl Progress {
    /// Counts a look.
    #[must_use]
    pub fn of(snapshot: &Snapshot, lack: &str) -> Self {
        let new = snapshot.new_pods();
        let old = snapshot.old_pods();
        let (alive, ending): (Vec<&Pod>, Vec<&Pod>) = old.into_iter().partition(|pod| is_alive(pod));
        Self {
            wanted: snapshot.wanted(),
            new: new.len(),
            ready: snapshot.ready_new_pods(),
            old: alive.len(),
            detached: alive.iter().filter(|pod| is_detached(pod)).count(),
            ending: ending.len(),
            restarts: new.iter().flat_map(|pod| statuses(pod)).map(restarts).sum(),
            routed: routed(snapshot, &new),
            suspects: new.iter().filter_map(|pod| suspect(pod)).collect(),
            left: None,
            lack: lack.to_owned(),
        }
    }

    /// Estimates how long `order` is still going to take: the batches that are not ready yet, then the
    /// drain of the old pods and the time to hold still.
    #[must_use]
    pub fn towards(mut self, order: &Order, snapshot: &Snapshot) -> Self {
        let way = if snapshot.is_held() || self.detached > 0 { Way::Detached } else { Way::Rolling };
        self.left = eta(snapshot, order, way, Duration::ZERO).map(|eta| {
            let missing = self.wanted.saturating_sub(self.ready).div_ceil(eta.batch);
            let done = eta.each * u32::try_from(eta.batches.saturating_sub(missing)).unwrap_or(u32::MAX);
            eta.total.saturating_sub(done)
        });
        self
    }
}

/// Names the old pods that were asked to end and are still there, where there are any.
#[must_use]
pub fn lingering(snapshot: &Snapshot) -> Option<String> {
    let pods: Vec<&Pod> = snapshot.ending_pods().collect();
    let first = pods.first()?;
    let named = |pod: &Pod| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        node.map_or_else(|| format!("`{name}`"), |node| format!("`{name}` on node `{node}`"))
    };
    let more = if pods.len() > 1 { format!(" and {} more", pods.len() - 1) } else { String::new() };
    let many = if pods.len() > 1 {
        "old pods were asked to end and are"
    } else {
        "an old pod was asked to end and is"
    };
    Some(format!(
        "{many} still there: {}{more}; a pod whose node is gone stays until the node's object is deleted",
        named(first)
    ))
}

fn routed(snapshot: &Snapshot, new: &[&Pod]) -> Option<usize> {
    let services = snapshot.services(&snapshot.template_labels());
    let names = services.iter().filter_map(|service| service.metadata.name.as_deref());
    let ready: Vec<_> = names.map(|name| snapshot.ready_endpoints(name)).collect();
    let is_routed = |pod: &&&Pod| {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        ready.iter().all(|uids| uids.contains(uid))
    };
    (!ready.is_empty()).then(|| new.iter().filter(is_routed).count())
}

/// Waiting is no fault as long as the runtime works at it.
fn suspect(pod: &Pod) -> Option<String> {
    let reason = statuses(pod).find_map(|status| {
        let reason = status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
        (!["ContainerCreating", "PodInitializing"].contains(&reason)).then_some(reason)
    })?;
    Some(format!("{} {reason}", pod.metadata.name.as_deref().unwrap_or_default()))
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status
        .flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten())
}

fn restarts(status: &ContainerStatus) -> usize {
    usize::try_from(status.restart_count).unwrap_or(0)
}

impl std::fmt::Display for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "new {}/{} ready, old {}", self.ready, self.wanted, self.old)?;
        if self.detached > 0 {
            write!(formatter, " ({} out of service)", self.detached)?;
        }
        if self.ending > 0 {
            write!(formatter, ", {} ending", self.ending)?;
        }
        match self.restarts {
            0 => {}
            1 => formatter.write_str(", 1 restart")?,
            restarts => write!(formatter, ", {restarts} restarts")?,
        }
        if self.lack.is_empty() { Ok(()) } else { write!(formatter, " – {}", self.lack) }
    }
}

#[cfg(test)]
mod tests;
