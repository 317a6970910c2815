//! How many pods a rollout adds and misses at a time, as the Deployment controller resolves it, for the
//! way that the rollout goes.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DeploymentStrategy;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::drain::Way;
use super::patch::journal;
use crate::rollout::Order;
use crate::rollout::observe::Snapshot;

/// The Deployment's slack while it rolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many pods there may be beyond the wanted ones.
    pub surge: usize,
    /// How many of the wanted pods may be missing.
    pub unavailable: usize,
    /// How long a pod must be ready before it counts.
    pub min_ready: Duration,
    /// How long the controller waits for progress; `None` for ever.
    pub deadline: Option<Duration>,
}

impl Pace {
    /// Returns how many pods start at a time; `None` where there are none to start.
    #[must_use]
    pub const fn batch(&self) -> Option<usize> {
        match self.surge + self.unavailable {
            0 => None,
            batch => Some(batch),
        }
    }
}

/// Returns the slack of a rollout that goes `way`. Settings that an unfinished rollout of ours holds
/// count as what they will be again.
#[must_use]
pub fn pace(snapshot: &Snapshot, order: &Order, way: Way) -> Pace {
    let settings = journal(snapshot, order, way);
    let strategy: DeploymentStrategy = serde_json::from_value(settings.strategy).unwrap_or_default();
    let wanted = snapshot.wanted();
    let (surge, unavailable) = match way {
        Way::Detached => (wanted, 0),
        Way::Rolling => (surge(&strategy, wanted).filter(|surge| *surge > 0).unwrap_or(1), 0),
        Way::Plain => resolve(&strategy, wanted),
    };
    let seconds = |value: &serde_json::Value| value.as_u64().map(Duration::from_secs);
    let deadline = seconds(&settings.progress_deadline_seconds).unwrap_or(Duration::from_secs(600));
    Pace {
        surge: if wanted == 0 { 0 } else { surge },
        unavailable: if wanted == 0 { 0 } else { unavailable },
        min_ready: seconds(&settings.min_ready_seconds).unwrap_or_default(),
        deadline: (deadline.as_secs() < i32::MAX.unsigned_abs().into()).then_some(deadline),
    }
}

/// The controller rounds a share of surge up and one of missing pods down; where both are none it goes
/// on with one missing pod.
fn resolve(strategy: &DeploymentStrategy, wanted: usize) -> (usize, usize) {
    if strategy.type_.as_deref() == Some("Recreate") {
        return (0, wanted);
    }
    let rolling = strategy.rolling_update.as_ref();
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let surge = surge(strategy, wanted).unwrap_or_else(|| wanted.div_ceil(4));
    let unavailable = unavailable.map_or(wanted / 4, |share| number(share, wanted, false));
    match (surge, unavailable) {
        (0, 0) => (0, 1),
        (surge, unavailable) => (surge, unavailable.min(wanted)),
    }
}

fn surge(strategy: &DeploymentStrategy, wanted: usize) -> Option<usize> {
    let surge = strategy.rolling_update.as_ref()?.max_surge.as_ref()?;
    Some(number(surge, wanted, true))
}

fn number(share: &IntOrString, of: usize, up: bool) -> usize {
    match share {
        IntOrString::Int(pods) => usize::try_from(*pods).unwrap_or(0),
        IntOrString::String(percent) => {
            let percent: usize = percent.trim_end_matches('%').parse().unwrap_or(0);
            if up { (of * percent).div_ceil(100) } else { of * percent / 100 }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rollout::fixtures::{mk_order, mk_snapshot, with};

    fn plain(replicas: i32, strategy: &Value) -> (usize, usize) {
        let mut snapshot = mk_snapshot();
        let part = json!({ "spec": { "replicas": replicas, "strategy": strategy } });
        snapshot.deployment = with(&snapshot.deployment, &part);
        let pace = pace(&snapshot, &mk_order('b'), Way::Plain);
        (pace.surge, pace.unavailable)
    }

    #[test]
    fn shares_round_as_the_controller_rounds_them() {
        let shares = |surge: Value, unavailable: Value| json!({ "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } });
        for (replicas, strategy, wanted) in [
            (3, json!({}), (1, 0)),
            (10, json!({}), (3, 2)),
            (1, json!({}), (1, 0)),
            (4, shares(json!(0), json!("10%")), (0, 1)),
            (4, shares(json!(2), json!(9)), (2, 4)),
            (0, json!({}), (0, 0)),
            (3, json!({ "type": "Recreate", "rollingUpdate": null }), (0, 3)),
        ] {
            assert_eq!(plain(replicas, &strategy), wanted, "{replicas} {strategy}");
        }
    }

    #[test]
    fn our_ways_miss_no_pod() {
        let snapshot = mk_snapshot();
        let order = mk_order('b');
        let detached = pace(&snapshot, &order, Way::Detached);
        assert_eq!((detached.surge, detached.unavailable, detached.batch()), (3, 0, Some(3)));
        let rolling = pace(&snapshot, &order, Way::Rolling);
        assert_eq!((rolling.surge, rolling.unavailable), (1, 0));
        assert_eq!(rolling.deadline, Some(Duration::from_secs(600)));
    }
}
