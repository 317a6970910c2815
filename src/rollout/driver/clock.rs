//! For how long things have been true, when it is late, and how often something was tried.

use std::time::{Duration, Instant};

use super::ENDING;
use crate::rollout::observe::Snapshot;
use crate::rollout::plan::step::Clocks;
use crate::rollout::verdict::{Goal, Kind, Lack, new_pods_lack};

/// How many writes of one rollout may come too late before it gives up.
const RACES: u32 = 10;
/// How often a ReplicaSet whose pods are refused is made to try again.
const NUDGE: Duration = Duration::from_secs(3);

/// Measures for how long things have been true, and when it is late.
pub(super) struct Stopwatch {
    started: Instant,
    wait: Duration,
    ready: Option<Instant>,
    unrouted: Option<Instant>,
    refused: Option<Instant>,
    stuck: Option<Instant>,
    nudged: Instant,
    races: u32,
    /// Since when somebody has it paused.
    paused: Option<Instant>,
    /// For how long it was paused before that.
    lost: Duration,
}

impl Stopwatch {
    pub(super) fn new(wait: Duration) -> Self {
        let started = Instant::now();
        Self {
            started,
            wait,
            ready: None,
            unrouted: None,
            refused: None,
            stuck: None,
            nudged: started,
            races: 0,
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
        self.started = Instant::now();
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
        if snapshot.is_paused() {
            self.paused.get_or_insert_with(Instant::now);
        } else if let Some(paused) = self.paused.take() {
            self.lost += paused.elapsed();
        }
        let lack = new_pods_lack(goal, snapshot);
        Clocks {
            ready: since(&mut self.ready, lack.is_none()),
            unrouted: since(&mut self.unrouted, snapshot.is_every_orphan_out()),
            refused: since(&mut self.refused, lack.is_some_and(|lack| lack.kind == Kind::Room)),
            stuck: since(&mut self.stuck, snapshot.set.as_ref().is_some_and(|set| !set.stuck().is_empty())),
            ..Clocks::default()
        }
    }

    /// New pods have the time that was asked for; old ones get what draining and ending takes on top.
    pub(super) fn is_late(&self, lack: &Lack, drain_wait: Duration) -> bool {
        let extra = match lack.kind {
            Kind::OldPods | Kind::Endpoints => drain_wait + ENDING,
            _ => Duration::ZERO,
        };
        let paused = self.paused.map_or(Duration::ZERO, |paused| paused.elapsed());
        self.started.elapsed().saturating_sub(self.lost + paused) > self.wait + extra
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

fn since(start: &mut Option<Instant>, is_true: bool) -> Duration {
    if !is_true {
        *start = None;
        return Duration::ZERO;
    }
    start.get_or_insert_with(Instant::now).elapsed()
}
