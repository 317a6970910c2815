//! Counts of one lane while it runs, and what is told about it afterwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Loss;
use super::client::Failure;

/// Losses beyond these are counted, but not listed.
const LISTED: usize = 500;

/// What became of a load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The target's name.
    pub target: String,
    /// Its address.
    pub address: SocketAddr,
    /// How long requests were started.
    pub seconds: f64,
    /// One for each lane.
    pub lanes: Vec<LaneReport>,
}

/// What became of one lane.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LaneReport {
    /// `fresh`, `keepalive`, `slow` or `stream`.
    pub name: String,
    /// Requests that were due, whether or not they could be sent.
    pub requests: u64,
    /// Requests without their complete, successful answer.
    pub lost: u64,
    /// The losses by kind.
    pub kinds: BTreeMap<Loss, u64>,
    /// The first losses, in the order of their end.
    pub losses: Vec<LostRequest>,
    /// Complete answers by the pod that gave them.
    pub pods: BTreeMap<String, u64>,
    /// From the scheduled start to the complete answer.
    pub latency: Latency,
}

/// One request that was lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LostRequest {
    /// Milliseconds since 1970 when it was given up.
    pub at: u64,
    /// Why.
    pub kind: Loss,
    /// The pod that the connection had spoken to, where it is known.
    pub pod: Option<String>,
}

/// Milliseconds that complete answers took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: f64,
    /// All but one in a hundred took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// The running counts of a lane.
#[derive(Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    report: LaneReport,
    micros: Vec<u32>,
}

impl Tally {
    pub(super) fn requests(&self) -> u64 {
        self.counts().report.requests
    }

    pub(super) fn lost(&self) -> u64 {
        self.counts().report.lost
    }

    /// Counts a request as due.
    pub(super) fn due(&self) {
        self.counts().report.requests += 1;
    }

    /// Counts a complete answer.
    pub(super) fn answered(&self, pod: Option<String>, took: Duration) {
        let mut counts = self.counts();
        counts.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        *counts.report.pods.entry(pod.unwrap_or_else(|| "unknown".to_owned())).or_default() += 1;
    }

    /// Counts a loss.
    pub(super) fn lost_to(&self, Failure { loss, pod }: Failure) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let report = &mut self.counts().report;
        report.lost += 1;
        *report.kinds.entry(loss).or_default() += 1;
        if report.losses.len() < LISTED {
            report.losses.push(LostRequest {
                at: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
                kind: loss,
                pod,
            });
        }
    }

    /// Returns the lane's report as of now.
    pub(super) fn report(&self, name: &str) -> LaneReport {
        let mut counts = self.counts();
        counts.micros.sort_unstable();
        let latency = Latency::of(&counts.micros);
        LaneReport { name: name.to_owned(), latency, ..counts.report.clone() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latency {
    fn of(sorted_micros: &[u32]) -> Self {
        let at = |share: f64| {
            let rank = (sorted_micros.len() as f64 * share).ceil() as usize;
            sorted_micros.get(rank.saturating_sub(1)).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_by_nearest_rank() {
        let micros: Vec<u32> = (1..=100).map(|number| number * 1000).collect();
        let latency = Latency::of(&micros);
        assert_eq!((latency.p50, latency.p99, latency.max), (50.0, 99.0, 100.0));
        assert_eq!(Latency::of(&[]).max, 0.0);
    }

    #[test]
    fn losses_are_counted_by_kind_with_the_pod_they_happened_on() {
        let tally = Tally::default();
        for loss in [Loss::Reset, Loss::Reset, Loss::Status5xx] {
            tally.due();
            tally.lost_to(Failure { loss, pod: Some("app-1".to_owned()) });
        }
        let report = tally.report("fresh");
        assert_eq!((report.requests, report.lost), (3, 3));
        assert_eq!(serde_json::to_string(&report.kinds).unwrap(), r#"{"reset":2,"status-5xx":1}"#);
        assert_eq!(report.losses[0].pod.as_deref(), Some("app-1"));
    }
}
