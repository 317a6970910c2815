//! What an earlier run of another image left half-way, brought to an end before the new image is written.

use super::Rollout;
use super::steps::Stop;
use crate::rollout::Error;
use crate::rollout::annotations::Journal;
use crate::rollout::observe::Snapshot;
use crate::rollout::verdict::new_pods_lack;

impl Rollout<'_> {
    /// Ends the rollout of another image that an earlier run left half-way: to its end when all its
    /// pods are ready, else by giving the old pods back to their Services before the new image is written.
    pub(super) async fn take_over(&self, snapshot: Snapshot, journal: &Journal) -> Result<Snapshot, Error> {
        let goal = self.goal_of(&snapshot);
        if journal.detached && new_pods_lack(&goal, &snapshot).is_none() {
            self.say(&format!("an unfinished rollout to {} is ready: finishing it first", goal.image));
            match self.steps(&goal, snapshot, self.order.wait.unwrap_or_default()).await {
                Ok(_) | Err(Stop::Ended(Error::Superseded { .. })) => {}
                // Its pods did not stay ready; what it held is undone, and the new image is next.
                Err(Stop::Late(look, _) | Stop::Hopeless(look, _)) => self.attach_all(&look).await?,
                Err(Stop::Ended(error)) => return Err(error),
            }
        } else {
            self.say(&format!("replacing the unfinished rollout to {}", goal.image));
            self.attach_all(&snapshot).await?;
        }
        Ok(self.place.look().await?)
    }
}
