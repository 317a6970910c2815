//! A canary without a controller: the image is written with a hold that starts only a few new pods.
//! They serve beside all the old ones, which nobody touches; what they do meanwhile decides whether
//! the hold is widened to all pods or the image goes back. Nothing here is remembered: the hold and
//! the journal say that a canary is on its way, so a run that takes over watches it anew.

use std::collections::BTreeMap;
use std::time::Duration;

use super::settle::Pulse;
use super::step::Step;
use crate::probe::tally::Span;
use crate::rollout::annotations::{CanaryMark, Journal};
use crate::rollout::observe::Snapshot;
use crate::rollout::order::Order;
use crate::rollout::order::canary::{Canary, Check, Metric};
use crate::rollout::plan::drain::Way;
use crate::rollout::verdict::diagnosis::rules::{CANARY_BLIND, CANARY_METRIC, CANARY_REQUEST};
use crate::rollout::verdict::diagnosis::{Cause, Rule};
use crate::rollout::verdict::{Goal, Lack, new_pods_lack};

/// How often a metric is asked.
const EVERY: Duration = Duration::from_secs(10);

/// Returns the mark of the canary that is ordered; `None` where it would be all pods.
#[must_use]
pub fn mark(order: &Order, snapshot: &Snapshot, way: Way) -> Option<CanaryMark> {
    let wanted = snapshot.wanted();
    let pods = order.canary.as_ref()?.pods.of(wanted);
    let fits = pods < wanted && order.wait.is_some();
    fits.then(|| CanaryMark { pods: u32::try_from(pods).unwrap_or(u32::MAX), way })
}

/// Returns the next step while a canary is on its way. No old pod is touched before it is widened.
pub(super) fn step(goal: &Goal, snapshot: &Snapshot, journal: &Journal, is_tested: bool) -> Option<Step> {
    let mark = journal.canary.as_ref()?;
    Some(match lack(goal, snapshot, mark) {
        Some(lack) => Step::Wait(lack),
        None if is_tested => Step::Widen(journal.clone()),
        None => Step::Test,
    })
}

/// Returns what the canary's pods lack before they serve.
#[must_use]
pub fn lack(goal: &Goal, snapshot: &Snapshot, mark: &CanaryMark) -> Option<Lack> {
    let pods = usize::try_from(mark.pods).unwrap_or(usize::MAX);
    // An autoscaler may make it more of them; each that is there has to serve.
    let due = pods.min(snapshot.wanted()).max(snapshot.new_pods().len());
    let mut small = snapshot.clone();
    if let Some(spec) = small.deployment.spec.as_mut() {
        spec.replicas = i32::try_from(due).ok();
    }
    let lack = new_pods_lack(goal, &small)?;
    Some(Lack { words: format!("canary: {}", lack.words), ..lack })
}

/// What the checks have shown so far.
#[derive(Clone, Debug)]
pub struct Trial {
    hold: Duration,
    checks: Vec<Check>,
    since: Option<Duration>,
    pulse: Pulse,
    asked: Option<Duration>,
    measured: BTreeMap<usize, Result<Vec<f64>, String>>,
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It goes on for so long.
    Watching(Duration),
    /// Everything held to the end.
    Passed,
    /// Something did not.
    Failed(Box<Cause>),
}

impl Trial {
    /// Returns the trial that is ordered.
    #[must_use]
    pub fn new(canary: &Canary, has_probe: bool) -> Self {
        let checks = canary.checks(has_probe);
        Self {
            hold: canary.hold,
            checks,
            since: None,
            pulse: Pulse::default(),
            asked: None,
            measured: BTreeMap::new(),
        }
    }

    /// Returns since when the canary serves without a break.
    #[must_use]
    pub fn since(&self) -> Option<Duration> {
        self.since
    }

    /// Returns the queries to ask now, with their places: every so often, and at the end.
    pub fn due(&mut self, now: Duration) -> Vec<(usize, Metric)> {
        let Some(since) = self.since else { return Vec::new() };
        let is_over = now.saturating_sub(since) >= self.hold;
        let is_due = self.asked.is_none_or(|asked| now.saturating_sub(asked) >= EVERY) || is_over;
        if !is_due {
            return Vec::new();
        }
        self.asked = Some(now);
        let metrics = self.checks.iter().enumerate().filter_map(|(place, check)| match check {
            Check::Prometheus(metric) => Some((place, metric.clone())),
            _ => None,
        });
        metrics.collect()
    }

    /// Keeps what a query answered.
    pub fn measure(&mut self, place: usize, answer: Result<Vec<f64>, String>) {
        self.measured.insert(place, answer);
    }

    /// Takes a look into account; `serves` says whether the canary's pods are ready and routed. A break
    /// in that begins the hold again.
    pub fn look(&mut self, snapshot: &Snapshot, serves: bool, now: Duration) -> Option<Cause> {
        let stirs = if self.since.is_some() || serves { self.pulse.look(snapshot) } else { Vec::new() };
        if !serves {
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(now);
        }
        let is_asked = self.checks.contains(&Check::Restarts);
        stirs.first().filter(|_| is_asked).map(|stir| stir.cause("while the canary was watched"))
    }

    /// Judges what is known; `requests` are those since the canary serves.
    #[must_use]
    pub fn judge(&self, requests: Option<Span>, now: Duration) -> Finding {
        if let Some(requests) =
            requests.filter(|requests| requests.failed > 0 && self.checks.contains(&Check::Probe))
        {
            let words = format!(
                "{} of {} requests failed while the canary was watched",
                requests.failed,
                requests.sent.max(requests.failed)
            );
            return failed(&CANARY_REQUEST, words, "the old pods serve on, untouched");
        }
        let Some(since) = self.since else { return Finding::Watching(self.hold) };
        let rest = self.hold.saturating_sub(now.saturating_sub(since));
        for (place, check) in self.checks.iter().enumerate() {
            let Check::Prometheus(metric) = check else { continue };
            match self.measured.get(&place) {
                Some(Ok(values)) => {
                    if let Some(value) = values.iter().find(|value| !metric.allows(**value)) {
                        let words = format!("`{}` is {value}, which is {}", metric.query, metric.bounds());
                        return failed(&CANARY_METRIC, words, "the old pods serve on, untouched");
                    }
                    if values.is_empty() && rest.is_zero() {
                        let words = format!("`{}` has no value at the end of the canary", metric.query);
                        return failed(&CANARY_BLIND, words, "try the query in Prometheus itself");
                    }
                }
                Some(Err(why)) if rest.is_zero() => {
                    let words = format!("`{}` could not be asked: {why}", metric.query);
                    return failed(&CANARY_BLIND, words, "a canary that cannot be judged is not passed");
                }
                None if rest.is_zero() => return Finding::Watching(EVERY),
                _ => {}
            }
        }
        if rest.is_zero() { Finding::Passed } else { Finding::Watching(rest) }
    }
}

impl Metric {
    fn allows(&self, value: f64) -> bool {
        self.max.is_none_or(|max| value <= max) && self.min.is_none_or(|min| value >= min)
    }

    fn bounds(&self) -> String {
        match (self.min, self.max) {
            (Some(min), Some(max)) => format!("not between {min} and {max}"),
            (Some(min), None) => format!("below {min}"),
            (None, Some(max)) => format!("above {max}"),
            (None, None) => "without bounds".to_owned(),
        }
    }
}

fn failed(rule: &Rule, words: String, hint: &str) -> Finding {
    let hint = hint.to_owned();
    let (class, rule) = (rule.class, rule.id);
    Finding::Failed(Box::new(Cause { class, rule, words, hint, pod: None, container: None, count: 1 }))
}

#[cfg(test)]
mod tests;
