//! Tells the pure proof what the watches show, and the log what was proven.

use std::sync::{MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::Rollout;
use crate::rollout::observe::Snapshot;
use crate::rollout::proof::{Proof, ProofReport};

impl Rollout<'_> {
    /// Takes a look into account, and the last states of the pods that went since the one before.
    pub(super) fn witness(&self, look: &Snapshot, gone: &[Pod]) {
        let mut seen = self.seen();
        seen.look(look, self.started.elapsed());
        for pod in gone {
            seen.gone(pod);
        }
    }

    /// Returns what was proven so far, if anything was looked at.
    pub(super) fn testimony(&self) -> Option<ProofReport> {
        let proof = self.seen().report();
        (!proof.lines().is_empty()).then_some(proof)
    }

    /// Says what was proven, and what may have cost requests.
    pub(super) fn testify(&self) {
        let Some(proof) = self.testimony() else { return };
        for line in proof.lines() {
            self.say(&line);
        }
        for warning in proof.warnings {
            self.say(&format!("warning: {warning}"));
        }
    }

    /// A look that panicked half-way has a bug, and what was seen before it is still true.
    pub(super) fn seen(&self) -> MutexGuard<'_, Proof> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
