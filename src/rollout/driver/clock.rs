//! For how long things have been true, when it is late, and how often something was tried.

use std::time::{Duration, Instant};

use super::ENDING;
use crate::rollout::observe::{Snapshot, grace, is_ready};
use crate::rollout::plan::canary;
use crate::rollout::plan::step::Clocks;
use crate::rollout::plan::stuck;
use crate::rollout::preflight::is_recreate;
use crate::rollout::verdict::{Goal, Kind, Lack, new_pods_lack};

/// How many writes of one rollout may come too late before it gives up.
const RACES: u32 = 10;
/// How often a ReplicaSet whose pods are refused is made to try again.
const NUDGE: Duration = Duration::from_secs(3);
/// How often pods that served may need time again: pods that come and go for ever are not waited for.
const RELAPSES: u32 = 10;
/// For how long a reason is waited for that begins to show when it is late.
const MOMENT: Duration = Duration::from_secs(5);
/// What a pod may take beyond its grace period until it is gone: its node kills it and says so.
const GONE: Duration = Duration::from_secs(30);

/// Measures for how long things have been true, and when it is late.
pub(super) struct Stopwatch {
    began: Mark,
    wait: Duration,
    drain_wait: Duration,
    /// Since when the new pods lack nothing.
    ready: Option<Mark>,
    /// When those that were wanted last served, all of them or the whole canary.
    served: Option<Mark>,
    /// How often they did and then did not any more.
    relapses: u32,
    /// Whether they did at the last look.
    serves: bool,
    unrouted: Option<Instant>,
    refused: Option<Instant>,
    /// The pod that stops the controller, by uid, and since when it is that one.
    stuck: Option<(String, Instant)>,
    nudged: Instant,
    races: u32,
    /// Since when it is late.
    late: Option<Instant>,
    /// Since when somebody has it paused.
    paused: Option<Instant>,
    /// How much time was lost so far to pauses and to silence.
    lost: Duration,
}

/// A moment, and how much time was lost before it.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    lost: Duration,
}

impl Stopwatch {
    pub(super) fn new(wait: Duration, drain_wait: Duration) -> Self {
        let started = Instant::now();
        Self {
            began: Mark { at: started, lost: Duration::ZERO },
            wait,
            drain_wait,
            ready: None,
            served: None,
            relapses: 0,
            serves: false,
            unrouted: None,
            refused: None,
            stuck: None,
            nudged: started,
            races: 0,
            late: None,
            paused: None,
            lost: Duration::ZERO,
        }
    }

    /// A write that never meets the state it was made for is not a race but somebody's will.
    pub(super) fn may_retry(&mut self) -> bool {
        self.races += 1;
        self.races <= RACES
    }

    /// The pods that come after the canary have as much time as it had.
    pub(super) fn begin_again(&mut self) {
        self.began = self.mark(Instant::now());
    }

    fn mark(&self, at: Instant) -> Mark {
        Mark { at, lost: self.lost }
    }

    /// Returns how long a moment is ago, without what was lost since.
    fn since(&self, mark: Mark, now: Instant) -> Duration {
        let paused = self.paused.map_or(Duration::ZERO, |paused| now.saturating_duration_since(paused));
        now.saturating_duration_since(mark.at).saturating_sub(self.lost + paused - mark.lost)
    }

    /// Refused pods may fit as soon as an old one is gone.
    pub(super) fn is_time_to_nudge(&mut self) -> bool {
        let is_time = self.nudged.elapsed() > NUDGE;
        if is_time {
            self.nudged = Instant::now();
        }
        is_time
    }

    pub(super) fn look(&mut self, goal: &Goal, snapshot: &Snapshot) -> Clocks {
        self.look_at(goal, snapshot, Instant::now())
    }

    fn look_at(&mut self, goal: &Goal, snapshot: &Snapshot, now: Instant) -> Clocks {
        if snapshot.is_paused() {
            self.paused.get_or_insert(now);
        } else if let Some(paused) = self.paused.take() {
            self.lost += now.saturating_duration_since(paused);
        }
        let lack = new_pods_lack(goal, snapshot);
        let mark = self.mark(now);
        self.ready = lack.is_none().then(|| self.ready.unwrap_or(mark));
        self.note_serving(lack.is_none() || is_canary_there(goal, snapshot), mark);
        let stuck = stuck::candidate(snapshot).and_then(|(pod, _)| pod.metadata.uid.clone());
        let known = self.stuck.take().filter(|(uid, _)| Some(uid) == stuck.as_ref());
        self.stuck = stuck.map(|uid| known.unwrap_or((uid, now)));
        Clocks {
            ready: self.ready.map_or(Duration::ZERO, |ready| now.saturating_duration_since(ready.at)),
            unrouted: since(&mut self.unrouted, snapshot.is_every_orphan_out(), now),
            refused: since(&mut self.refused, lack.is_some_and(|lack| lack.kind == Kind::Room), now),
            stuck: self.stuck.as_ref().map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at)),
            overdue: self.ready.is_some_and(|ready| self.is_overdue(ready, snapshot, now)),
            ..Clocks::default()
        }
    }

    /// A pod that comes later, by an autoscaler or after an eviction, or one that misses a probe once all
    /// have served, has the time of a new one.
    fn note_serving(&mut self, serves: bool, mark: Mark) {
        self.relapses += u32::from(self.serves && !serves);
        self.serves = serves;
        if serves && self.relapses <= RELAPSES {
            self.served = Some(mark);
        }
    }

    /// New pods have the time that was asked for; old ones get what draining and ending takes on top.
    pub(super) fn is_late(&self, lack: &Lack, snapshot: &Snapshot) -> bool {
        self.is_late_at(lack, snapshot, Instant::now())
    }

    fn is_late_at(&self, lack: &Lack, snapshot: &Snapshot, now: Instant) -> bool {
        if let Some(ready) = self.ready {
            return self.is_overdue(ready, snapshot, now);
        }
        let extra = match lack.kind {
            Kind::OldPods | Kind::Endpoints => self.drain_wait + ending(snapshot),
            _ if waits_for_an_end(snapshot) => ending(snapshot),
            _ => Duration::ZERO,
        };
        let served = self.served.map_or(Duration::MAX, |served| self.since(served, now));
        self.since(self.began, now).min(served) > self.wait + extra
    }

    /// Evidence that has just begun to show tells more than that it is late: it has a moment to be certain.
    pub(super) fn has_a_moment(&mut self) -> bool {
        self.late.get_or_insert_with(Instant::now).elapsed() < MOMENT
    }

    /// Old pods leave when the new ones are there: what that takes counts from then, or from when the new
    /// ones had to be there at the latest.
    fn is_overdue(&self, ready: Mark, snapshot: &Snapshot, now: Instant) -> bool {
        let extra = self.drain_wait + ending(snapshot);
        self.since(self.began, now) > self.wait + extra && self.since(ready, now) > extra
    }

    /// Time in which nobody could see the pods is not theirs.
    pub(super) fn forgive(&mut self, blind: Duration) {
        if blind > Duration::from_secs(1) {
            self.lost += blind;
        }
    }

    /// A pause stops the clock of the pods, and has as much time itself.
    pub(super) fn is_paused_for_good(&self, snapshot: &Snapshot) -> bool {
        snapshot.is_paused() && self.paused.is_some_and(|paused| paused.elapsed() > self.wait)
    }
}

fn since(start: &mut Option<Instant>, is_true: bool, now: Instant) -> Duration {
    if !is_true {
        *start = None;
        return Duration::ZERO;
    }
    now.saturating_duration_since(*start.get_or_insert(now))
}

fn is_canary_there(goal: &Goal, snapshot: &Snapshot) -> bool {
    let mark = snapshot.journal().and_then(|journal| journal.canary);
    mark.is_some_and(|mark| canary::lack(goal, snapshot, &mark).is_none())
}

/// Returns whether nothing is missing but the place of an old pod that still ends.
fn waits_for_an_end(snapshot: &Snapshot) -> bool {
    let is_in_place = snapshot.set.is_some() || is_recreate(snapshot);
    is_in_place && snapshot.ending_pods().next().is_some() && snapshot.new_pods().into_iter().all(is_ready)
}

/// Returns what the old pods may take to end: as long as the slowest of those that were asked to was
/// given, and some air.
pub(super) fn ending(snapshot: &Snapshot) -> Duration {
    let slowest = snapshot.ending_pods().map(grace).max().unwrap_or_default();
    ENDING.max(slowest + GONE)
}

#[cfg(test)]
mod tests;
