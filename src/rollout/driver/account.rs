//! What a rollout notes of itself on the way, for the report at its end.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Rollout, describe};
use crate::concourse::Field;
use crate::rollout::annotations::PREVIOUS;
use crate::rollout::observe::{Snapshot, annotation};
use crate::rollout::outcome::{Ending, Notes, Pods};
use crate::rollout::preflight::facts::Findings;
use crate::rollout::report::lingering;
use crate::rollout::{Outcome, Report};

/// The notes, and the moments that make durations of them.
#[derive(Debug, Default)]
pub(super) struct Account {
    notes: Notes,
    written: Option<Instant>,
}

impl Rollout<'_> {
    fn note(&self, change: impl FnOnce(&mut Account)) {
        // What was noted before a panic elsewhere is as true as before.
        change(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Keeps what the rules said.
    pub(super) fn note_findings(&self, findings: &Findings) {
        self.note(|account| account.notes.findings = findings.clone());
    }

    /// Keeps the image from before, and that another one is written from now on.
    pub(super) fn note_written(&self, previous: Option<&str>) {
        self.note(|account| {
            account.notes.previous = previous.map(str::to_owned);
            account.written = Some(Instant::now());
        });
    }

    /// Keeps that it is settled how the new image does; the first word counts.
    pub(super) fn note_verdict(&self) {
        self.note(|account| {
            let since = account.written.map(|written| written.elapsed().as_secs_f64());
            account.notes.verdict_seconds = account.notes.verdict_seconds.or(since);
        });
    }

    /// Keeps what the last look showed.
    pub(super) fn note_look(&self, look: &Snapshot) {
        let pods = Pods { wanted: look.wanted(), proven: self.proven(look) };
        self.note(|account| {
            account.notes.revision = Some(look.revision().to_owned());
            account.notes.pods = Some(pods);
        });
    }

    /// Returns how long ago the image was written, or found written.
    pub(super) fn waited(&self) -> Duration {
        let mut written = None;
        self.note(|account| written = account.written);
        written.unwrap_or(self.started).elapsed()
    }

    /// Returns the image from before, as far as it is known.
    pub(super) fn previous(&self) -> Option<String> {
        let mut previous = None;
        self.note(|account| previous.clone_from(&account.notes.previous));
        previous
    }

    /// Returns how many pods run what was asked for, by their own runtime's word.
    fn proven(&self, look: &Snapshot) -> usize {
        let (pods, known) = (look.new_pods(), self.identities(&self.order.image.to_string()));
        let running = pods.iter().filter_map(|pod| look.running_digest(pod));
        running.filter(|digest| known.contains(digest)).count()
    }

    /// Puts everything together.
    pub(super) fn report(&self, result: Result<Outcome, super::Error>) -> Report {
        let mut notes = Notes::default();
        self.note(|account| notes = account.notes.clone());
        notes.proof = self.testimony().and_then(|proof| serde_json::to_value(proof).ok());
        notes.seconds = self.started.elapsed().as_secs_f64();
        let workload = format!("{}/{}/{}", self.place.namespace, self.place.kind.word(), self.place.name);
        Report::new(workload, self.order.image.to_string(), notes, result)
    }

    pub(super) fn proof(&self, snapshot: &Snapshot) -> String {
        format!(
            "{}/{} pods run {} (revision {})",
            self.proven(snapshot),
            snapshot.wanted(),
            self.order.image,
            snapshot.revision()
        )
    }

    pub(super) fn outcome(&self, snapshot: &Snapshot, ending: Ending) -> Outcome {
        self.note_look(snapshot);
        self.note_verdict();
        let field = |name: &str, value: String| Field { name: name.to_owned(), value };
        let mut fields = vec![
            field("outcome", ending.word().to_owned()),
            field(self.place.kind.word(), snapshot.name()),
            field("image", self.order.image.to_string()),
            field("pods", format!("{} of {}", snapshot.new_pods().len(), snapshot.wanted())),
            field("revision", snapshot.revision().to_owned()),
            field("seconds", self.started.elapsed().as_secs().to_string()),
        ];
        fields.extend(self.order.tag.clone().map(|tag| field("tag", tag)));
        let previous = annotation(&snapshot.deployment.metadata, PREVIOUS).cloned();
        fields.extend(previous.map(|previous| field("previous", previous)));
        fields.extend(lingering(snapshot).map(|warning| field("warning", warning)));
        if let Some(proof) = self.testimony() {
            fields.push(field("proof", proof.lines().join("; ")));
            fields.extend(proof.warnings.into_iter().map(|warning| field("warning", warning)));
        }
        Outcome { ending, running: describe(snapshot, self.order.image.clone()), fields }
    }
}
