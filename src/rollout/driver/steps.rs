//! The loop of a rollout: look, decide the one next step, take it, look again, until the goal is
//! reached or it is certain that it will not be.

use std::time::{Duration, Instant};

use super::clock::Stopwatch;
use super::doctor::Doctor;
use super::guard::Guard;
use super::live::Live;
use super::{ENDING, Rollout};
use crate::cluster;
use crate::rollout::observe::Snapshot;
use crate::rollout::outcome::Ending;
use crate::rollout::plan::step::{Step, clear, next};
use crate::rollout::report::{Progress, lingering};
use crate::rollout::verdict::diagnosis::Cause;
use crate::rollout::verdict::{Goal, Kind, Lack, is_current};
use crate::rollout::{Error, Outcome};

/// How often a look is taken when nothing is heard: clocks move on without events.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// Why the goal was not reached.
pub(super) enum Stop {
    /// Time ran out.
    Late(Box<Snapshot>, Lack),
    /// The evidence says that it never will be.
    Hopeless(Box<Snapshot>, Box<Cause>),
    /// It is not to be reached any more, or nobody knows.
    Ended(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Ended(error.into())
    }
}

impl Rollout<'_> {
    /// Waits for the goal, or only for the controller to have seen it.
    pub(super) async fn drive(&self, goal: Goal, snapshot: Snapshot) -> Result<Outcome, Error> {
        if let Some(wait) = self.order.wait {
            if let Some(probe) = &self.order.probe {
                self.start_prober(probe)?;
            }
            let last = match self.steps(&goal, snapshot, wait).await {
                Ok(last) => last,
                Err(Stop::Late(look, lack)) => return Err(self.late(&look, &lack).await),
                Err(Stop::Hopeless(look, cause)) => {
                    self.tell_failures();
                    return Err(self.failed(&look, *cause).await);
                }
                Err(Stop::Ended(Error::Cluster(error))) => return Err(self.stuck(error)),
                Err(Stop::Ended(error)) => return Err(error),
            };
            self.stop_prober().await;
            self.testify();
            if let Some(warning) = lingering(&last) {
                self.say(&format!("warning: {warning}"));
            }
            self.say(&format!("done: {}", self.proof(&last)));
            return Ok(self.outcome(&last, Ending::Rolled));
        }
        let mut live = Live::start(&self.place, snapshot);
        let seen = async {
            while !live.snapshot().is_observed() || live.snapshot().new_set().is_none() {
                live.changed().await;
            }
        };
        // A controller that is slow to look at it is not our failure: nobody asked to wait.
        let _ = tokio::time::timeout(Duration::from_secs(10), seen).await;
        self.say("not waiting: wait_until_ready is 0, so nothing is known of the new pods");
        Ok(self.outcome(&live.snapshot(), Ending::Written))
    }

    /// Takes one step after the other until the goal is reached; new pods have `wait` to be ready.
    /// Returns the last look.
    pub(super) async fn steps(
        &self,
        goal: &Goal,
        snapshot: Snapshot,
        wait: Duration,
    ) -> Result<Snapshot, Stop> {
        let mut live = Live::start(&self.place, snapshot);
        let goal = &mut goal.clone();
        let mut watch = Stopwatch::new(wait, self.order.drain_wait);
        let (mut doctor, mut guard) = (Doctor::default(), Guard::new(self, goal));
        loop {
            let mut look = live.snapshot();
            let gone = live.gone();
            self.heed(&look)?;
            self.witness(&look, &gone, live.notices.iter());
            if let Some(cause) = guard.look(self, goal, &look).await {
                return Err(Stop::Hopeless(Box::new(look), Box::new(cause)));
            }
            let clocks = guard.clocks(self, watch.look(goal, &look));
            let mut step = next(goal, &look, clocks, self.order.drain_wait);
            let is_late = matches!(&step, Step::Wait(lack) if watch.is_late(lack, &look));
            if is_late || !matches!(step, Step::Wait(_) | Step::Drain(_) | Step::Test | Step::Settle) {
                // What writes or ends the loop is decided on a list: a watch may be behind.
                let asked = Instant::now();
                look = self.fresh_before(&step).await?;
                watch.forgive(asked.elapsed());
                live.refresh(&look);
                let clocks = guard.clocks(self, watch.look(goal, &look));
                step = next(goal, &look, clocks, self.order.drain_wait);
            }
            self.note_look(&look);
            let progress = Progress::of(&look, &waits_for(&step)).towards(self.order, &look);
            self.site.reporter.look(&progress);
            match step {
                Step::Done => return Ok(look),
                Step::Gone => return Err(self.gone().await.into()),
                Step::Superseded(_) => {
                    self.clear(&mut live).await?;
                    return Err(self.changed(&look, self.previous().as_deref()).into());
                }
                Step::Wait(_) if watch.is_paused_for_good(&look) => {
                    return Err(self.paused(&look, wait).into());
                }
                Step::Wait(lack) => {
                    // A set is watched from what was there before the write: its pods are the others still.
                    if is_current(goal, &look)
                        && let Some(cause) = doctor.look(self, &look, &live.notices).await
                    {
                        return Err(Stop::Hopeless(Box::new(look), Box::new(cause)));
                    }
                    if watch.is_late(&lack, &look) && !(doctor.suspects() && watch.has_a_moment()) {
                        return Err(Stop::Late(Box::new(look), lack));
                    }
                    if lack.kind == Kind::Digest
                        && let Some(cause) = self.learn(goal, &look).await
                    {
                        return Err(Stop::Hopeless(Box::new(look), Box::new(cause)));
                    }
                    if lack.kind == Kind::Room && !look.is_held() && watch.is_time_to_nudge() {
                        match self.nudge(&look).await {
                            Err(Error::Cluster(error)) if self.may_try_again(&error) => {}
                            done => done?,
                        }
                    }
                    self.listen(&mut live).await?;
                }
                Step::Drain(_) | Step::Test | Step::Settle => self.listen(&mut live).await?,
                Step::Widen(_) => {
                    self.act_or_listen(&look, step, &mut live, &mut watch).await?;
                    watch.begin_again();
                }
                step => self.act_or_listen(&look, step, &mut live, &mut watch).await?,
            }
        }
    }

    /// Ends the pods that are out of their Services, each after its drain. Endpoints that do not go are
    /// waited for as long as in any rollout.
    async fn clear(&self, live: &mut Live) -> Result<(), Error> {
        let (began, mut out) = (Instant::now(), None);
        loop {
            let unrouted = out.map_or(Duration::ZERO, |out: Instant| out.elapsed());
            match clear(&live.snapshot(), unrouted, self.order.drain_wait) {
                Step::Drain(_) => drop(out.get_or_insert_with(Instant::now)),
                Step::Wait(_) if began.elapsed() < self.order.drain_wait + ENDING => out = None,
                Step::Wait(_) | Step::Delete(_) => {
                    let look = self.fresh().await?;
                    let mut routed = look.clone();
                    routed.routing = None;
                    return self
                        .act(&look, clear(&routed, self.order.drain_wait, self.order.drain_wait))
                        .await;
                }
                _ => return Ok(()),
            }
            self.listen(live).await?;
        }
    }

    async fn act_or_listen(
        &self,
        look: &Snapshot,
        step: Step,
        live: &mut Live,
        watch: &mut Stopwatch,
    ) -> Result<(), Error> {
        match self.act(look, step).await {
            // A precondition did not hold, or nobody answered: what is there now is looked at again.
            Err(Error::Cluster(error)) if self.may_try_again(&error) && watch.may_retry() => {
                self.listen(live).await
            }
            done => done,
        }
    }
}

pub(super) fn lost_race(error: &cluster::Error) -> bool {
    matches!(error.status(), Some(409 | 422))
}

fn waits_for(step: &Step) -> String {
    match step {
        Step::Wait(lack) => lack.words.clone(),
        Step::Drain(_) => "old pods drain".to_owned(),
        Step::Test => "the canary is watched".to_owned(),
        Step::Settle => "the new pods settle".to_owned(),
        _ => String::new(),
    }
}
