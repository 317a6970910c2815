//! What became of the requests, counted so that any span of time can be judged afterwards. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// So many failures are kept one by one: far more than any verdict needs.
const KEPT: usize = 10_000;

/// A way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// A new connection for each request.
    Fresh,
    /// Connections that are kept and used again.
    Pooled,
}

impl Lane {
    /// Returns the lane as a key and an option spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Pooled => "pooled",
        }
    }
}

/// What a failed request met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// No connection.
    Connect,
    /// A connection that ended before the answer did.
    Reset,
    /// No whole answer in time.
    Timeout,
    /// An answer of 500 or above.
    #[serde(rename = "5xx")]
    Server,
}

impl Kind {
    /// Returns the same in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Connect => "no connection",
            Self::Reset => "the connection was reset",
            Self::Timeout => "no answer in time",
            Self::Server => "the server answered with an error",
        }
    }
}

/// One failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// When it was sent, since the rollout began.
    pub at: Duration,
    /// How it was asked.
    pub lane: Lane,
    /// What it met.
    pub kind: Kind,
    /// Failures that no success came between have the same number.
    streak: u64,
}

/// The requests of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that ended in one way or the other.
    pub sent: u64,
    /// Failures by what they met.
    pub kinds: BTreeMap<Kind, u64>,
    /// How many answers took so many steps of five per cent above a tenth of a millisecond.
    took: BTreeMap<u16, u64>,
}

/// All requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By lane.
    pub lanes: BTreeMap<Lane, Count>,
    /// Requests that were due and not sent, because too many were open.
    pub skipped: u64,
    /// The first failures.
    pub failures: Vec<Failed>,
    /// Requests by the second in which they were sent: all, and the failed ones.
    seconds: BTreeMap<u64, (u64, u64)>,
    streak: u64,
    is_failing: bool,
}

/// What became of the requests of a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Those that ended in one way or the other.
    pub sent: u64,
    /// Those that failed.
    pub failed: u64,
    /// The longest run of failures that no success came between.
    pub longest: u64,
}

impl Tally {
    /// Counts a request that was sent at `at` and took `took`.
    pub fn record(&mut self, lane: Lane, at: Duration, took: Duration, failure: Option<Kind>) {
        let count = self.lanes.entry(lane).or_default();
        count.sent += 1;
        let second = self.seconds.entry(at.as_secs()).or_default();
        second.0 += 1;
        let Some(kind) = failure else {
            *count.took.entry(step(took)).or_default() += 1;
            self.is_failing = false;
            return;
        };
        *count.kinds.entry(kind).or_default() += 1;
        second.1 += 1;
        if !self.is_failing {
            self.streak += 1;
        }
        self.is_failing = true;
        if self.failures.len() < KEPT {
            self.failures.push(Failed { at, lane, kind, streak: self.streak });
        }
    }

    /// Returns all requests that ended.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.lanes.values().map(|count| count.sent).sum()
    }

    /// Returns all requests that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.lanes.values().map(Count::failed).sum()
    }

    /// Sums up what was sent since a moment. Whole seconds count: the one that it falls in does not.
    #[must_use]
    pub fn since(&self, moment: Duration) -> Span {
        let from = moment.as_secs() + u64::from(moment.subsec_nanos() > 0);
        let seconds: Vec<_> = self.seconds.range(from..).map(|(_, counts)| *counts).collect();
        let mut streaks: BTreeMap<u64, u64> = BTreeMap::new();
        for failed in self.failures.iter().filter(|failed| failed.at >= moment) {
            *streaks.entry(failed.streak).or_default() += 1;
        }
        Span {
            sent: seconds.iter().map(|(sent, _)| sent).sum(),
            failed: seconds.iter().map(|(_, failed)| failed).sum(),
            longest: streaks.values().copied().max().unwrap_or(0),
        }
    }
}

impl Count {
    /// Returns how many failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Returns the time in milliseconds that so many of a hundred answers did not exceed.
    #[must_use]
    pub fn percentile(&self, hundredths: u64) -> Option<f64> {
        let all: u64 = self.took.values().sum();
        let due = (all * hundredths).div_ceil(100);
        let mut before = 0;
        let found = self.took.iter().find(|(_, count)| {
            before += **count;
            before >= due
        });
        found.map(|(step, _)| (1.05_f64.powi(i32::from(*step)) * 0.1 * 10.0).round() / 10.0)
    }
}

/// Steps of five per cent keep any number of times in a few hundred counters.
fn step(took: Duration) -> u16 {
    let tenths = (took.as_secs_f64() * 10_000.0).max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 0, at most some hundred"
    )]
    let step = (tenths.ln() / 1.05_f64.ln()).ceil() as u16;
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn percentiles_are_true_to_five_per_cent() {
        let mut tally = Tally::default();
        for milliseconds in 1..=100 {
            tally.record(Lane::Fresh, ms(0), ms(milliseconds), None);
        }
        let count = &tally.lanes[&Lane::Fresh];
        let (half, most) = (count.percentile(50).unwrap(), count.percentile(99).unwrap());
        assert!((50.0..=52.6).contains(&half) && (99.0..=104.0).contains(&most), "{half} {most}");
        assert_eq!(Count::default().percentile(50), None);
    }

    #[test]
    fn a_span_counts_what_was_sent_in_it() {
        let mut tally = Tally::default();
        tally.record(Lane::Fresh, ms(500), ms(1), Some(Kind::Connect));
        tally.record(Lane::Fresh, ms(1500), ms(1), None);
        tally.record(Lane::Pooled, ms(2500), ms(1), Some(Kind::Reset));
        tally.record(Lane::Pooled, ms(2600), ms(1), Some(Kind::Timeout));
        assert_eq!(tally.since(ms(0)), Span { sent: 4, failed: 3, longest: 2 });
        assert_eq!(tally.since(ms(900)), Span { sent: 3, failed: 2, longest: 2 });
        assert_eq!(tally.since(ms(2550)), Span { sent: 0, failed: 0, longest: 1 });
        assert_eq!((tally.sent(), tally.failed()), (4, 3));
    }

    #[test]
    fn a_success_ends_a_run_of_failures() {
        let mut tally = Tally::default();
        for failure in [Some(Kind::Reset), None, Some(Kind::Reset), Some(Kind::Server), None] {
            tally.record(Lane::Fresh, ms(0), ms(1), failure);
        }
        assert_eq!(tally.since(ms(0)).longest, 2);
    }
}
