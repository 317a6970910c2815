//! What the pods that run now teach about the next ones: how long a start takes, and from that how
//! long a rollout will. Only what one look shows; nothing is measured or remembered here.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;

use super::Order;
use super::annotations::HOLD;
use super::observe::{Snapshot, is_ready};
use super::plan::drain::Way;
use super::plan::pace::pace;

/// The progress deadline that the API server sets where nobody does.
const DEADLINE: i64 = 600;

/// How long a rollout is likely to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eta {
    /// How many pods start at a time.
    pub batch: usize,
    /// In how many batches.
    pub batches: usize,
    /// How long each batch takes.
    pub each: Duration,
    /// From the write to the end of the last old pod.
    pub total: Duration,
}

/// Returns for each pod that runs now how long it took from the start of its container to being ready.
///
/// A pod that restarted says nothing about a first start. One that lost its readiness later looks as if
/// it had taken until it had it back; what no rollout would have waited for, and what is far from the
/// other pods, is therefore left out.
#[must_use]
pub fn starts(snapshot: &Snapshot) -> Vec<Duration> {
    let deadline = deadline(snapshot);
    let taken = snapshot.own_pods().filter_map(|pod| start(pod, &snapshot.container));
    let mut seconds: Vec<i64> = taken.filter(|seconds| (0..=deadline).contains(seconds)).collect();
    seconds.sort_unstable();
    if let Some(median) = seconds.get(seconds.len() / 2).copied() {
        seconds.retain(|seconds| *seconds <= 10 * median.max(1) + 30);
    }
    seconds.into_iter().map(|seconds| Duration::from_secs(seconds.unsigned_abs())).collect()
}

/// Returns the start time that 95 of 100 pods stay below; of a few pods that is the slowest one's.
/// `None` where no pod shows one.
#[must_use]
pub fn start_p95(snapshot: &Snapshot) -> Option<Duration> {
    let starts = starts(snapshot);
    let rank = (starts.len() * 95).div_ceil(100);
    starts.get(rank.checked_sub(1)?).copied()
}

/// Returns how long a rollout that goes `way` is likely to take, when `pull` is what a node needs to get
/// the image. `None` where there is nothing to start, or no pod shows how long a start takes.
#[must_use]
pub fn eta(snapshot: &Snapshot, order: &Order, way: Way, pull: Duration) -> Option<Eta> {
    let pace = pace(snapshot, order, way);
    let batch = pace.batch()?;
    let start = start_p95(snapshot)?;
    let batches = snapshot.wanted().div_ceil(batch);
    let each = pull + start + if way == Way::Detached { Duration::ZERO } else { pace.min_ready };
    let longest = snapshot.old_shutdowns().map(|shutdown| shutdown.serves).max().unwrap_or(0);
    let drain = if way == Way::Detached { order.drain_wait } else { Duration::ZERO };
    let all = each * u32::try_from(batches).unwrap_or(u32::MAX);
    Some(Eta { batch, batches, each, total: all + drain + Duration::from_secs(longest) + order.settle })
}

/// Returns the seconds from the start of the container to the pod's readiness.
fn start(pod: &Pod, container: &str) -> Option<i64> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    if !is_ready(pod) || containers.iter().any(|status| status.restart_count > 0) {
        return None;
    }
    let started = containers.iter().find(|status| status.name == container).and_then(started_at)?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let ready = ready.last_transition_time.as_ref()?.0;
    Some(ready.as_second() - started.as_second())
}

fn started_at(status: &ContainerStatus) -> Option<Timestamp> {
    Some(status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0)
}

/// While new pods are held back the deadline is ours and says nothing.
fn deadline(snapshot: &Snapshot) -> i64 {
    let spec = snapshot.deployment.spec.as_ref();
    let given = spec.and_then(|spec| spec.progress_deadline_seconds).filter(|given| *given < HOLD);
    given.map_or(DEADLINE, i64::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::fixtures::{mk_order, mk_snapshot, mk_started, with};

    /// Returns one pod per number of seconds that a start took.
    fn taking(seconds: &[i64]) -> Snapshot {
        let mut snapshot = mk_snapshot();
        let pod = snapshot.pods[0].clone();
        snapshot.pods = seconds.iter().map(|seconds| mk_started(&pod, *seconds)).collect();
        snapshot
    }

    #[test]
    fn a_start_ends_when_the_pod_is_ready() {
        assert_eq!(start_p95(&taking(&[8, 12, 10])), Some(Duration::from_secs(12)));
        let hundred: Vec<i64> = (1..=100).collect();
        assert_eq!(start_p95(&taking(&hundred)), Some(Duration::from_secs(95)));
        assert_eq!(start_p95(&mk_snapshot()), None, "pods without times");
    }

    #[test]
    fn pods_that_restarted_or_lost_their_readiness_teach_nothing() {
        let mut snapshot = taking(&[10, 11, 3_000]);
        assert_eq!(start_p95(&snapshot), Some(Duration::from_secs(11)), "beyond the progress deadline");
        snapshot = taking(&[10, 11, 500]);
        assert_eq!(start_p95(&snapshot), Some(Duration::from_secs(11)), "far from the others");
        let restarted = json!({ "status": { "containerStatuses": [{
            "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 1,
            "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } },
        }] } });
        snapshot.pods = vec![with(&taking(&[10]).pods[0], &restarted)];
        assert_eq!(start_p95(&snapshot), None);
    }

    #[test]
    fn the_way_decides_how_often_a_start_is_waited_for() {
        let snapshot = taking(&[10, 10, 10]);
        let order = mk_order('b');
        let rolling = eta(&snapshot, &order, Way::Rolling, Duration::ZERO).unwrap();
        assert_eq!((rolling.batch, rolling.batches, rolling.total), (1, 3, Duration::from_secs(30)));
        let detached = eta(&snapshot, &order, Way::Detached, Duration::from_secs(2)).unwrap();
        assert_eq!((detached.batch, detached.batches), (3, 1));
        assert_eq!(detached.total, Duration::from_secs(2 + 10) + order.drain_wait);
    }
}
