//! How a rollout ends when it does not end well: what was missing, what is taken back, what stays.

use std::time::Duration;

use super::Rollout;
use crate::rollout::Error;
use crate::rollout::observe::Snapshot;
use crate::rollout::outcome::class_word;
use crate::rollout::outside::{self, Change};
use crate::rollout::report::Progress;
use crate::rollout::verdict::Lack;
use crate::rollout::verdict::diagnosis::Cause;

impl Rollout<'_> {
    /// Says what is missing, pod by pod, and takes back what must not stay half done.
    pub(super) async fn late(&self, look: &Snapshot, lack: &Lack) -> Error {
        self.note_verdict();
        self.say(&format!("verdict: not all there in time, {} (F801, TIME)", lack.words));
        self.explain(look, None).await;
        Error::Late {
            target: look.name(),
            image: self.order.image.digest.short().to_owned(),
            seconds: self.order.wait.unwrap_or_default().as_secs(),
            lack: lack.words.clone(),
            left: Box::new(self.left(look).await),
        }
    }

    /// Returns what it means that the image is another one now.
    pub(super) fn changed(&self, look: &Snapshot, previous: Option<&str>) -> Error {
        let (target, image) = (look.name(), look.image().to_owned());
        match outside::change(look, previous) {
            Change::Superseded { by } => Error::Superseded { target, image, by },
            Change::Reverted { by } => Error::Reverted { target, image, by },
        }
    }

    /// Returns that somebody paused it, which nobody but them should undo.
    pub(super) fn paused(&self, look: &Snapshot, wait: Duration) -> Error {
        Error::Paused { target: look.name(), by: outside::pauser(look), seconds: wait.as_secs() }
    }

    /// Says why it cannot succeed, and takes back what must not stay half done.
    pub(super) async fn failed(&self, look: &Snapshot, cause: Cause) -> Error {
        self.note_verdict();
        self.say(&format!("verdict: {cause}, {}", class_word(cause.class)));
        self.explain(look, Some(&cause)).await;
        let image = self.order.image.digest.short().to_owned();
        let left = Box::new(self.left(look).await);
        Error::Failed { target: look.name(), image, cause: Box::new(cause), left }
    }

    pub(super) async fn interrupted(&self) -> Error {
        let look = tokio::time::timeout(Duration::from_secs(2), self.place.look()).await;
        let state = match look {
            Ok(Ok(snapshot)) => {
                let progress = Progress::of(&snapshot, "");
                let record = if snapshot.journal().is_some() {
                    "; the Deployment's annotation records it"
                } else {
                    ""
                };
                format!("{} is at {} ({progress}){record}", snapshot.name(), snapshot.image())
            }
            _ => format!("{}/{} could not be read any more", self.place.namespace, self.place.name),
        };
        Error::Interrupted { state }
    }
}
