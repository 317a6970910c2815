//! What the probe's requests met, each failure with what went on when it was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::probe::tally::{Kind, Lane, Span, Tally};
use crate::rollout::verdict::diagnosis::Cause;
use crate::rollout::verdict::diagnosis::rules::REQUESTS;

/// So many failures are enough when they are more than one of a hundred, or in a row.
const ENOUGH: u64 = 5;

/// The requests of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// The address, without what may be secret in it.
    pub url: String,
    /// Requests that ended in one way or the other.
    pub sent: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were due and not sent, because too many were open.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// By lane.
    pub lanes: BTreeMap<Lane, LaneReport>,
    /// When requests failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Moment>,
}

/// The requests of one lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LaneReport {
    /// Requests that ended in one way or the other.
    pub sent: u64,
    /// Requests that failed.
    pub failed: u64,
    /// What they met.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<Kind, u64>,
    /// The time that half of the answers did not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// The time that 99 of 100 answers did not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// Failures of the same moment of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// What went on.
    pub when: String,
    /// How many failed then.
    pub failed: u64,
    /// What they met.
    pub kinds: BTreeMap<Kind, u64>,
}

impl Traffic {
    /// Sums up; `phase` says what went on at a moment.
    pub(super) fn of<'a>(url: String, tally: &Tally, phase: impl Fn(Duration) -> &'a str) -> Self {
        let mut failures: Vec<Moment> = Vec::new();
        for failed in &tally.failures {
            let when = phase(failed.at);
            let known = failures.iter().position(|moment| moment.when == when);
            let place = known.unwrap_or_else(|| {
                failures.push(Moment { when: when.to_owned(), failed: 0, kinds: BTreeMap::new() });
                failures.len() - 1
            });
            failures[place].failed += 1;
            *failures[place].kinds.entry(failed.kind).or_default() += 1;
        }
        let lane = |count: &crate::probe::tally::Count| LaneReport {
            sent: count.sent,
            failed: count.failed(),
            kinds: count.kinds.clone(),
            p50_ms: count.percentile(50),
            p99_ms: count.percentile(99),
        };
        Self {
            url,
            sent: tally.sent(),
            failed: tally.failed(),
            skipped: tally.skipped,
            lanes: tally.lanes.iter().map(|(name, count)| (*name, lane(count))).collect(),
            failures,
        }
    }

    /// Says `probe: 0 of 812 requests failed`.
    pub(super) fn words(&self) -> String {
        format!("probe: {} of {} requests failed", self.failed, self.sent)
    }

    /// Says what failed when, a line each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(|moment| {
            let kinds: Vec<String> =
                moment.kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
            let requests = if moment.failed == 1 { "request" } else { "requests" };
            format!("{} {requests} failed {}: {}", moment.failed, moment.when, kinds.join(", "))
        })
    }
}

/// Returns what ends a rollout: more than one of a hundred requests since new pods serve, or several in
/// a row. Fewer than that are reported and end nothing.
#[must_use]
pub fn verdict(requests: Span) -> Option<Cause> {
    let is_share = requests.failed >= ENOUGH && requests.failed * 100 > requests.sent;
    if !is_share && requests.longest < ENOUGH {
        return None;
    }
    let failed = requests.failed.max(requests.longest);
    Some(Cause {
        class: REQUESTS.class,
        rule: REQUESTS.id,
        words: format!("{failed} of {} requests failed since new pods serve", requests.sent.max(failed)),
        hint: "the report says what went on when they failed; `fail: false` only reports".to_owned(),
        pod: None,
        container: None,
        count: 1,
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(sent: u64, failed: u64, longest: u64) -> Option<&'static str> {
        verdict(Span { sent, failed, longest }).map(|cause| cause.rule)
    }

    #[test]
    fn more_than_one_of_a_hundred_or_five_in_a_row_end_a_rollout() {
        assert_eq!(span(1000, 10, 1), None);
        assert_eq!(span(1000, 11, 1), Some(REQUESTS.id));
        assert_eq!(span(20, 4, 4), None);
        assert_eq!(span(20, 5, 1), Some(REQUESTS.id));
        assert_eq!(span(100_000, 5, 5), Some(REQUESTS.id));
        assert_eq!(span(0, 0, 0), None);
    }

    #[test]
    fn failures_are_told_by_what_went_on() {
        let mut tally = Tally::default();
        let at = Duration::from_secs;
        for (when, failure) in
            [(1, None), (1, Some(Kind::Reset)), (5, Some(Kind::Reset)), (6, Some(Kind::Timeout)), (9, None)]
        {
            tally.record(Lane::Fresh, at(when), Duration::from_millis(2), failure);
        }
        let phase = |when| if when < at(3) { "at first" } else { "during the drain of pod a" };
        let traffic = Traffic::of("http://app".to_owned(), &tally, phase);
        assert_eq!(traffic.words(), "probe: 3 of 5 requests failed");
        assert_eq!(
            traffic.warnings().collect::<Vec<_>>(),
            [
                "1 request failed at first: 1 × the connection was reset",
                "2 requests failed during the drain of pod a: 1 × the connection was reset, 1 × no answer in time"
            ]
        );
        let lane = &serde_json::to_value(&traffic).unwrap()["lanes"]["fresh"];
        assert_eq!((&lane["sent"], &lane["kinds"]["timeout"]), (&5.into(), &1.into()));
    }
}
