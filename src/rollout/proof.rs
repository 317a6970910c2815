//! What was seen while it rolled: the floor of ready endpoints, when each old pod left its Services
//! and when it ended, and how. Evidence that no request had to be lost, without any load. Pure: looks
//! go in, a report comes out; what is not seen is said to be unseen, never taken for good.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

pub use self::audit::Exits;
pub use self::floor::Floor;
use self::floor::Floors;
use self::ledger::Ledger;
pub use self::ledger::{Exit, Fate, OldPod};
pub use self::traffic::{Traffic, verdict};
use super::observe::{Snapshot, is_alive};
use super::verdict::diagnosis::Notice;
use crate::probe::shown;
use crate::probe::tally::Tally;

mod audit;
mod floor;
mod ledger;
mod traffic;

/// How long a pod must have been out of its Services before it ends, and a new one in them before the
/// first old one leaves: what a node may take to hear of an endpoint, which is a second, and one more.
pub const MARGIN: Duration = Duration::from_secs(2);

/// What has been seen so far.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    floors: Floors,
    ledger: Ledger,
    phases: Vec<(Duration, String)>,
}

/// What was proven, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProofReport {
    /// The fewest ready endpoints of each Service.
    pub floors: Vec<Floor>,
    /// How long a new pod had been in its Services when the first old one left them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<f64>,
    /// Each pod that ran an older template.
    pub old_pods: Vec<OldPod>,
    /// How their containers ended.
    pub exits: Exits,
    /// What was asked of the application meanwhile, and what it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Traffic>,
    /// What may have cost requests, and what would prevent it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Proof {
    /// Takes one look into account; `now` is the time since the rollout began.
    pub fn look(&mut self, snapshot: &Snapshot, now: Duration) {
        if snapshot.uid().is_empty() {
            return;
        }
        self.floors.look(snapshot);
        self.ledger.look(snapshot, now);
        let phase = phase(snapshot);
        if self.phases.last().is_none_or(|(_, last)| *last != phase) {
            self.phases.push((now, phase));
        }
    }

    /// Takes the last state of a pod into account that is no longer there.
    pub fn gone(&mut self, pod: &Pod) {
        self.ledger.gone(pod);
    }

    /// Takes an event into account, if it is about how an old pod ended.
    pub fn notice(&mut self, notice: &Notice) {
        self.ledger.notice(notice);
    }

    /// Returns since when a Service sends traffic to a pod of the new template.
    #[must_use]
    pub fn new_pods_serve_since(&self) -> Option<Duration> {
        self.ledger.first_new()
    }

    /// Says what went on at `when`.
    #[must_use]
    pub fn phase_at(&self, when: Duration) -> &str {
        let before = self.phases.iter().rev().find(|(since, _)| *since <= when);
        before.map_or("before the first look", |(_, phase)| phase)
    }

    /// Sums up, with the requests of a probe.
    #[must_use]
    pub fn report_with(&self, url: &str, tally: &Tally) -> ProofReport {
        let traffic = Traffic::of(shown(url), tally, |when| self.phase_at(when));
        let mut report = self.report();
        report.warnings.extend(traffic.warnings());
        report.probe = Some(traffic);
        report
    }

    /// Sums up.
    #[must_use]
    pub fn report(&self) -> ProofReport {
        let floors = self.floors.report();
        let old_pods = self.ledger.report();
        let exits = Exits::of(&old_pods);
        let overlap = self.ledger.overlap();
        let mut warnings: Vec<String> = floors.iter().filter_map(Floor::warning).collect();
        warnings.extend(floors.iter().flat_map(Floor::zone_warnings));
        if let Some(overlap) = overlap.filter(|overlap| *overlap < seconds(MARGIN))
            && floors.iter().any(|floor| floor.initial == 1)
        {
            warnings.push(format!(
                "the only old pod left its Services {overlap:.1} s after the first new one was in them, and a node \
                 may take a second to hear of it: set `minReadySeconds: 5`"
            ));
        }
        warnings.extend(self.ledger.warnings(&old_pods));
        ProofReport { floors, overlap_seconds: overlap, old_pods, exits, probe: None, warnings }
    }
}

impl ProofReport {
    /// Says what was proven, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.floors.is_empty() {
            let floors: Vec<String> = self.floors.iter().map(Floor::to_string).collect();
            lines.push(format!("ready floor {}", floors.join(", ")));
        }
        let mut words: Vec<String> = audit::departures(&self.old_pods).into_iter().collect();
        words.extend(self.exits.words());
        if !words.is_empty() {
            lines.push(words.join("; "));
        }
        lines.extend(self.probe.as_ref().map(Traffic::words));
        lines
    }
}

/// Names what goes on: what a failed request is told to have happened in.
fn phase(snapshot: &Snapshot) -> String {
    let (wanted, ready) = (snapshot.wanted(), snapshot.ready_new_pods());
    let old = snapshot.old_pods();
    let (alive, ending): (Vec<&Pod>, Vec<&Pod>) = old.into_iter().partition(|pod| is_alive(pod));
    let name = |pod: &&Pod| pod.metadata.name.clone().unwrap_or_default();
    let away: Vec<&Pod> =
        alive.iter().copied().filter(|pod| snapshot.routing.is_some() && !snapshot.is_routed(pod)).collect();
    let mut words = if ready < wanted {
        format!("while {ready} of {wanted} new pods were ready")
    } else {
        "after all new pods were ready".to_owned()
    };
    match (ending.as_slice(), away.as_slice()) {
        ([], []) => {}
        ([one], _) => words = format!("{words}, while pod {} ended", name(one)),
        ([], [one]) => words = format!("{words}, during the drain of pod {}", name(one)),
        ([], many) => words = format!("{words}, during the drain of {} pods", many.len()),
        (many, _) => words = format!("{words}, while {} pods ended", many.len()),
    }
    words
}

/// Returns seconds to a tenth: the cluster's own times have no more to give.
fn seconds(duration: Duration) -> f64 {
    tenths(duration.as_secs_f64())
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests;
