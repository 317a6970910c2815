//! Watches what the steps do not look at: whether new pods hold still, what the canary's checks say,
//! whether requests are answered. What follows from it is decided by the pure part.

use std::time::Duration;

use super::{Error, Rollout};
use crate::probe::load::{Plan, Prober};
use crate::probe::tally::{Span, Tally};
use crate::probe::{self, prometheus, shown};
use crate::rollout::observe::Snapshot;
use crate::rollout::order::Probe;
use crate::rollout::order::canary::{Check, Metric};
use crate::rollout::plan::canary::{self, Finding, Trial};
use crate::rollout::plan::settle::Settle;
use crate::rollout::plan::step::Clocks;
use crate::rollout::preflight::facts::Rule;
use crate::rollout::preflight::{is_recreate, watched};
use crate::rollout::proof::verdict;
use crate::rollout::verdict::diagnosis::Cause;
use crate::rollout::verdict::{Goal, new_pods_lack};

/// So many answers tell whether the probe's address answers at all.
const FIRST: u64 = 5;
/// How long those may take: each request has its own deadline, and the first are sent within a second.
const FIRST_WAIT: Duration = Duration::from_secs(8);

/// What is watched during one run of the steps.
pub(super) struct Guard {
    settle: Settle,
    trial: Option<Trial>,
    /// A way back, or the end of another run's rollout, is not what the order wants watched.
    is_ours: bool,
}

impl Guard {
    pub(super) fn new(rollout: &Rollout<'_>, goal: &Goal) -> Self {
        let order = rollout.order;
        let canary = order.canary.as_ref();
        Self {
            settle: Settle::new(order.settle),
            trial: canary.map(|canary| Trial::new(canary, order.probe.is_some())),
            is_ours: goal.image == order.image.to_string(),
        }
    }

    /// Takes a look into account; returns what ends the rollout.
    pub(super) async fn look(
        &mut self,
        rollout: &Rollout<'_>,
        goal: &Goal,
        look: &Snapshot,
    ) -> Option<Cause> {
        if !self.is_ours {
            return None;
        }
        let now = rollout.started.elapsed();
        let serves = new_pods_lack(goal, look).is_none();
        let unrest = self.settle.look(look, serves, now);
        if unrest.is_some() {
            return unrest;
        }
        let cause = self.test(rollout, goal, look, now).await;
        if cause.is_some() {
            return cause;
        }
        let since = rollout.seen().new_pods_serve_since()?;
        let fails = rollout.order.probe.as_ref().is_some_and(|probe| probe.fail);
        rollout.requests(since).filter(|_| fails).and_then(verdict)
    }

    async fn test(
        &mut self,
        rollout: &Rollout<'_>,
        goal: &Goal,
        look: &Snapshot,
        now: Duration,
    ) -> Option<Cause> {
        let mark = look.journal().and_then(|journal| journal.canary)?;
        let trial = self.trial.as_mut()?;
        let serves = canary::lack(goal, look, &mark).is_none();
        let began = trial.since().is_none();
        let unrest = trial.look(look, serves, now);
        if unrest.is_some() {
            return unrest;
        }
        if began && trial.since().is_some() {
            rollout.say(&format!("canary: {} of {} pods serve and are watched", mark.pods, look.wanted()));
        }
        for (place, metric) in trial.due(now) {
            trial.measure(place, rollout.measure(&metric).await.map_err(|error| error.to_string()));
        }
        let requests = trial.since().and_then(|since| rollout.requests(since));
        match trial.judge(requests, now) {
            Finding::Failed(cause) => return Some(*cause),
            Finding::Passed => {
                rollout.say("canary: everything held");
                self.trial = None;
            }
            Finding::Watching(_) => {}
        }
        None
    }

    /// Adds to the clocks what only the guard knows.
    pub(super) fn clocks(&self, rollout: &Rollout<'_>, clocks: Clocks) -> Clocks {
        if !self.is_ours {
            return Clocks { tested: true, ..clocks };
        }
        let settle = self.settle.rest(rollout.started.elapsed());
        Clocks { tested: self.trial.is_none(), settle, ..clocks }
    }
}

impl Rollout<'_> {
    /// Begins to probe. What could not be watched, or does not answer even now, is refused before anything
    /// is written.
    pub(super) async fn probe(&self, snapshot: &Snapshot) -> Result<(), Error> {
        if let Some(canary) = &self.order.canary {
            if is_recreate(snapshot) {
                let words = "a canary serves beside the old pods, and the Deployment's strategy is Recreate";
                return Err(refused(watched::CANARY, words.to_owned()));
            }
            if canary.pods.of(snapshot.wanted()) >= snapshot.wanted() {
                self.say(&format!(
                    "note: a canary of {} would be all {} pods: none goes first",
                    canary.pods,
                    snapshot.wanted()
                ));
            }
        }
        if let Some(probe) = &self.order.probe {
            self.start_prober(probe)?;
            self.first_answers(probe).await?;
        }
        let checks = self.order.canary.iter().flat_map(|canary| canary.checks.iter().flatten());
        for check in checks {
            if let Check::Prometheus(metric) = check
                && let Err(error) = self.measure(metric).await
            {
                let words = format!("the canary's metric `{}` cannot be asked: {error}", metric.query);
                return Err(refused(watched::METRIC, words));
            }
        }
        Ok(())
    }

    /// Begins to probe, unless that was done.
    pub(super) fn start_prober(&self, probe: &Probe) -> Result<(), Error> {
        let mut prober = self.prober();
        if prober.is_none() {
            let plan = Plan {
                url: probe.url.clone(),
                rps: probe.rps,
                lanes: probe.lanes.clone(),
                ca_certs: self.site.registry.ca_certs.clone(),
            };
            let started = Prober::start(&plan, self.started);
            let started = started.map_err(|error| refused(watched::PROBE, error.to_string()))?;
            *prober = Some(started);
        }
        Ok(())
    }

    async fn first_answers(&self, probe: &Probe) -> Result<(), Error> {
        let began = tokio::time::Instant::now();
        let wanted = FIRST.min(u64::from(probe.rps)).max(probe.lanes.len() as u64);
        let mut tally = Tally::default();
        while tally.sent() < wanted && began.elapsed() < FIRST_WAIT {
            tokio::time::sleep(Duration::from_millis(50)).await;
            tally = self.prober().as_ref().map(Prober::tally).unwrap_or_default();
        }
        if tally.failed() < tally.sent() {
            return Ok(());
        }
        let met = tally.failures.first().map_or("nothing came back", |failed| failed.kind.words());
        let words =
            format!("`probe.url` does not answer before anything is written: {}: {met}", shown(&probe.url));
        if probe.fail {
            return Err(refused(watched::PROBE, words));
        }
        self.say(&format!("warning: {words}"));
        Ok(())
    }

    async fn measure(&self, metric: &Metric) -> Result<Vec<f64>, probe::Error> {
        let answer = prometheus::query(&metric.url, &metric.query, &self.site.registry.ca_certs).await?;
        Ok(answer.into_iter().map(|sample| sample.value).collect())
    }

    /// Sums up the requests since a moment; `None` where nobody probes.
    fn requests(&self, since: Duration) -> Option<Span> {
        self.prober().as_ref().map(|prober| prober.tally().since(since))
    }

    /// Sends no further request and waits for the open ones.
    pub(super) async fn stop_prober(&self) {
        let prober = self.prober().take();
        if let Some(mut prober) = prober {
            prober.stop().await;
            *self.prober() = Some(prober);
        }
    }
}

fn refused(rule: &Rule, words: String) -> Error {
    Error::Preflight(watched::refused(rule, words))
}
