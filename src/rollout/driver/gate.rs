//! The first act of every rollout: everything the preflight rules want to know, asked once, and what
//! they say about it.

use super::Rollout;
use crate::rollout::observe::Snapshot;
use crate::rollout::plan::drain::{Choice, choose};
use crate::rollout::{Error, preflight};

impl Rollout<'_> {
    /// Lets the rules look before anything is written, and returns the way that the old pods will go.
    pub(super) async fn gate(&self, snapshot: &Snapshot) -> Result<Choice, Error> {
        for note in preflight::check(snapshot).map_err(Error::Preflight)? {
            self.say(&format!("note: {note}"));
        }
        Ok(choose(self.order, snapshot, self.obstacle(snapshot).await.as_deref()))
    }
}
