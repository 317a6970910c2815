//! What an earlier run of another image left half-way, brought to an end before the new image is written.

use super::Rollout;
use super::lock::YIELD;
use super::steps::Stop;
use crate::rollout::Error;
use crate::rollout::annotations::Journal;
use crate::rollout::observe::{Snapshot, is_alive, is_ready};
use crate::rollout::plan::drain::Way;
use crate::rollout::plan::patch;
use crate::rollout::verdict::new_pods_lack;

/// How often the journal may be another one than the one that was read.
const RACES: u32 = 5;

impl Rollout<'_> {
    /// Writes into the journal of the run that began it that it is to stop, and gives it time to hear that.
    async fn claim(&self, mut snapshot: Snapshot) -> Result<Snapshot, Error> {
        let mut races = 0;
        while let Some(journal) = snapshot.journal() {
            let journal = Journal { taken: Some(self.wanted()), ..journal };
            match self.patch_deployment(patch::note(&snapshot, &journal), "take over the rollout of").await {
                Err(Error::Cluster(error)) if self.may_try_again(&error) && races < RACES => races += 1,
                done => {
                    done?;
                    tokio::time::sleep(YIELD).await;
                    return self.fresh().await;
                }
            }
            snapshot = self.fresh().await?;
        }
        Ok(snapshot)
    }

    /// Ends the rollout of another image that an earlier run left half-way: to its end when all its
    /// pods are ready, back to its beginning when some serve and the old ones still can do without
    /// them, else by giving the old pods back to their Services before the new image is written.
    pub(super) async fn take_over(
        &self,
        mut snapshot: Snapshot,
        journal: &Journal,
        way: Way,
    ) -> Result<Snapshot, Error> {
        if !self.has_lease() {
            snapshot = self.claim(snapshot).await?;
            // It may have come to its end meanwhile.
            if snapshot.journal().is_none() {
                return Ok(snapshot);
            }
        }
        let goal = self.goal_of(&snapshot);
        let ended = if journal.detached && new_pods_lack(&goal, &snapshot).is_none() {
            self.say(&format!("an unfinished rollout to {} is ready: finishing it first", goal.image));
            self.steps(&goal, snapshot, self.order.wait.unwrap_or_default()).await.map(drop)
        } else if way == Way::Detached && serves_half(&snapshot) {
            self.say(&format!("the unfinished rollout to {} serves in part: going back first", goal.image));
            self.go_back(journal).await.map(drop)
        } else {
            self.say(&format!("replacing the unfinished rollout to {}", goal.image));
            self.attach_all().await?;
            Ok(())
        };
        match ended {
            Ok(()) | Err(Stop::Ended(Error::Superseded { .. } | Error::Reverted { .. })) => {}
            // Its pods did not stay ready; what it held is undone, and the new image is next.
            Err(Stop::Late(..) | Stop::Hopeless(..)) => self.attach_all().await?,
            Err(Stop::Ended(error)) => return Err(error),
        }
        self.fresh().await
    }
}

/// Returns whether new pods get traffic that a third image would end at once, and all old ones are
/// still there to take it.
fn serves_half(snapshot: &Snapshot) -> bool {
    let old = snapshot.old_pods().into_iter().filter(|pod| is_alive(pod) && is_ready(pod)).count();
    snapshot.is_held() && snapshot.ready_new_pods() > 0 && old >= snapshot.wanted()
}
