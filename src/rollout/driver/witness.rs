//! Tells the pure proof what the watches show, and the log what was proven.

use std::sync::{MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::Rollout;
use crate::probe::load::Prober;
use crate::rollout::observe::Snapshot;
use crate::rollout::proof::{Proof, ProofReport};
use crate::rollout::verdict::diagnosis::Notice;

impl Rollout<'_> {
    /// Takes a look into account, what events tell, and the last states of the pods that went since the one before.
    pub(super) fn witness<'a>(
        &self,
        look: &Snapshot,
        gone: &[Pod],
        notices: impl Iterator<Item = &'a Notice>,
    ) {
        let mut seen = self.seen();
        seen.look(look, self.started.elapsed());
        for notice in notices {
            seen.notice(notice);
        }
        for pod in gone {
            seen.gone(pod);
        }
    }

    /// Returns what was proven so far, if anything was looked at.
    pub(super) fn testimony(&self) -> Option<ProofReport> {
        let tally = self.prober().as_ref().map(Prober::tally);
        let proof = match (&self.order.probe, tally) {
            (Some(probe), Some(tally)) => self.seen().report_with(&probe.url, &tally),
            _ => self.seen().report(),
        };
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

    /// Says when which requests of the probe failed, where one asks.
    pub(super) fn tell_failures(&self) {
        let Some(traffic) = self.testimony().and_then(|proof| proof.probe) else { return };
        for warning in traffic.warnings() {
            self.say(&format!("warning: {warning}"));
        }
    }

    pub(super) fn prober(&self) -> MutexGuard<'_, Option<Prober>> {
        self.prober.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look that panicked half-way has a bug, and what was seen before it is still true.
    pub(super) fn seen(&self) -> MutexGuard<'_, Proof> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
