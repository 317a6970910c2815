//! Every annotation, label and mark that Rollway writes, and the journal that one of them holds.
//! Nothing else spells a key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::drain::Way;

/// The field manager of every write.
pub const MANAGER: &str = "rollway";
/// The digest that was asked for.
pub const DIGEST: &str = "rollway.dev/digest";
/// The tag under which it was seen; informative, never deployed.
pub const TAG: &str = "rollway.dev/tag";
/// The image that ran before.
pub const PREVIOUS: &str = "rollway.dev/previous";
/// The URL or name of the build that asked.
pub const BUILD: &str = "rollway.dev/build";
/// This tool and its version.
pub const TOOL: &str = "rollway.dev/tool";
/// When the image was written.
pub const AT: &str = "rollway.dev/at";
/// The [`Journal`] of a rollout that is not finished, else [`FINISHED`].
pub const JOURNAL: &str = "rollway.dev/rollout";
/// What replaces the journal. The controller copies the Deployment's annotations to the new
/// ReplicaSet and `kubectl rollout undo` copies them back: a removed journal would come back to life.
pub const FINISHED: &str = "finished";
/// How the last rollout that is over ended, one of the words of `outcome`.
pub const OUTCOME: &str = "rollway.dev/outcome";
/// The last rollouts, as JSON. ReplicaSets remember them too, but a detached drain deletes its own.
pub const HISTORY: &str = "rollway.dev/history";
/// On the Lease of a workload: the images that its holder rolls to.
pub const WANTED: &str = "rollway.dev/wanted";
/// On the Deployment's pods: how many seconds the app itself goes on serving after SIGTERM.
pub const DRAINS: &str = "rollway.dev/drains";
/// On a detached pod, as a label: the Deployment it came from.
pub const DETACHED: &str = "rollway.dev/detached";
/// On a detached pod: the labels that were taken off, as JSON.
pub const LABELS: &str = "rollway.dev/labels";
/// The revision that the Deployment controller counts.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The label by which a ReplicaSet knows its pods.
pub const HASH: &str = "pod-template-hash";

/// `minReadySeconds` while new pods are held back from counting as available: a day. The controller
/// then starts all new pods and touches no old one. No one else has this very value.
pub const HOLD: i32 = 86_400;

/// What must be put back, and what is on its way: enough for another run to finish or undo this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// The image that was written.
    pub image: String,
    /// The image that it replaced.
    pub previous: String,
    /// Whether the old pods are taken out of their Services before they end.
    pub detached: bool,
    /// `spec.strategy` as it was.
    pub strategy: Value,
    /// `spec.minReadySeconds` as it was; null where it was not set.
    pub min_ready_seconds: Value,
    /// `spec.progressDeadlineSeconds` as it was.
    pub progress_deadline_seconds: Value,
    /// The images of the other containers that are rolled with the first, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, Swap>,
    /// Which run ended early and when; the next one goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<String>,
    /// The image of a run that brings this rollout to an end in order to write its own: the run that
    /// began it must stop. Where the credentials have Leases, those say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// The canary that goes first, until it is widened to all pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryMark>,
}

/// A canary that is watched, and how it goes on when it passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryMark {
    /// How many new pods there are beside the old ones.
    pub pods: u32,
    /// The way of the others.
    pub way: Way,
}

/// One image in another's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Swap {
    /// The image that was written.
    pub image: String,
    /// The image that it replaced.
    pub previous: String,
}

impl Swap {
    /// Returns the way back.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { image: self.previous.clone(), previous: self.image.clone() }
    }
}

impl Journal {
    /// Reads the journal of an unfinished rollout; text that is not one is nobody's journal.
    #[must_use]
    pub fn read(annotation: Option<&String>) -> Option<Self> {
        serde_json::from_str(annotation?).ok()
    }

    /// Returns what is known when the journal of a held Deployment is lost: its settings go back to
    /// what the API has where nothing is said.
    #[must_use]
    pub fn lost(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            previous: image.to_owned(),
            detached: true,
            strategy: Value::Null,
            min_ready_seconds: Value::Null,
            progress_deadline_seconds: Value::Null,
            others: BTreeMap::new(),
            interrupted: None,
            taken: None,
            canary: None,
        }
    }

    /// Returns the annotation's value.
    #[must_use]
    pub fn write(&self) -> String {
        serde_json::to_string(self).expect("strings, a flag and JSON values serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_rollout_has_no_journal() {
        assert_eq!(Journal::read(Some(&FINISHED.to_owned())), None);
        assert_eq!(Journal::read(None), None);
    }

    #[test]
    fn a_journal_survives_the_annotation() {
        let journal = Journal {
            image: "r/a@sha256:b".to_owned(),
            previous: "r/a:1".to_owned(),
            detached: true,
            strategy: serde_json::json!({"type": "RollingUpdate"}),
            min_ready_seconds: Value::Null,
            progress_deadline_seconds: 600.into(),
            others: BTreeMap::new(),
            interrupted: None,
            taken: None,
            canary: None,
        };
        assert_eq!(Journal::read(Some(&journal.write())), Some(journal.clone()));
        let swap = Swap { image: "r/m@sha256:b".to_owned(), previous: "r/m:1".to_owned() };
        let journal = Journal { others: [("migrate".to_owned(), swap)].into(), ..journal };
        assert_eq!(Journal::read(Some(&journal.write())), Some(journal));
    }

    #[test]
    fn a_journal_of_one_container_reads_as_it_did() {
        let text = r#"{"image":"a","previous":"b","detached":false,"strategy":null,
            "minReadySeconds":null,"progressDeadlineSeconds":600}"#;
        let journal = Journal::read(Some(&text.to_owned())).unwrap();
        assert!(journal.others.is_empty() && !journal.write().contains("others"));
    }
}
