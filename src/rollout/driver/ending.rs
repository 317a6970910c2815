//! How a rollout ends when it does not end well: what was missing, what is taken back, what stays.

use std::time::Duration;

use super::Rollout;
use super::act::now;
use crate::cluster;
use crate::rollout::annotations::Journal;
use crate::rollout::observe::Snapshot;
use crate::rollout::outcome::class_word;
use crate::rollout::outside::{self, Change};
use crate::rollout::plan::patch;
use crate::rollout::report::Progress;
use crate::rollout::verdict::diagnosis::Cause;
use crate::rollout::verdict::{Kind, Lack};
use crate::rollout::{Error, Left};

/// How long the last look and the last write may take after SIGTERM.
const LAST_LOOK: Duration = Duration::from_millis(1_200);
const LAST_WORD: Duration = Duration::from_secs(1);

impl Rollout<'_> {
    /// Says what is missing, pod by pod, and takes back what must not stay half done.
    pub(super) async fn late(&self, look: &Snapshot, lack: &Lack) -> Error {
        self.note_verdict();
        let lack = &self.doubt(lack);
        self.say(&format!("verdict: not all there in time, {} (F801, TIME)", lack.words));
        self.explain(look, None).await;
        Error::Late {
            target: look.name(),
            image: self.order.image.digest.short().to_owned(),
            seconds: self.waited().as_secs(),
            lack: lack.words.clone(),
            left: Box::new(self.left(look).await),
        }
    }

    /// A digest that the registry was not heard about may be the right one: that is said.
    fn doubt(&self, lack: &Lack) -> Lack {
        let silence = self.silence().filter(|_| lack.kind == Kind::Digest);
        let doubt = |why| {
            format!(
                "{}, as far as is known: the registry does not say which digests are its own: {why}",
                lack.words
            )
        };
        silence.map_or_else(|| lack.clone(), |why| Lack { words: doubt(why), ..lack.clone() })
    }

    /// Returns what it means that the image is another one now.
    pub(super) fn changed(&self, look: &Snapshot, previous: Option<&str>) -> Error {
        let target = look.name();
        let image = match look.image() {
            "" => format!("a template without container {}", look.container),
            image => image.to_owned(),
        };
        match outside::change(look, previous) {
            Change::Superseded { by } => {
                Error::Superseded { target, image, by, orphans: outside::stranded(look) }
            }
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

    /// A write that is refused for good ends a rollout that has begun.
    pub(super) fn stuck(&self, error: cluster::Error) -> Error {
        let state = "it stays as it is now, half done".to_owned();
        let left = Left { rolled_back: false, state, next: None };
        Error::Stuck { error, left: Box::new(left) }
    }

    /// Says and records what is there, and starts nothing: all of it within three seconds.
    pub(super) async fn interrupted(&self) -> Error {
        let look = tokio::time::timeout(LAST_LOOK, self.place.look()).await;
        let state = match look {
            Ok(Ok(snapshot)) => {
                let progress = Progress::of(&snapshot, "");
                let record = if self.record_interruption(&snapshot).await {
                    format!("; the {}'s annotation records it", self.place.kind.title())
                } else {
                    String::new()
                };
                format!("{} is at {} ({progress}){record}", snapshot.name(), snapshot.image())
            }
            _ => format!("{}/{} could not be read any more", self.place.namespace, self.place.name),
        };
        Error::Interrupted { state }
    }

    async fn record_interruption(&self, look: &Snapshot) -> bool {
        let ours = self.order.image.to_string();
        let Some(journal) = look.journal().filter(|it| it.image == ours || it.previous == ours) else {
            return false;
        };
        let build = &self.order.build.url;
        let by = if build.is_empty() { String::new() } else { format!(" ({build})") };
        let journal = Journal { interrupted: Some(format!("interrupted at {}{by}", now())), ..journal };
        let note = self.patch_deployment(patch::note(look, &journal), "record the interruption of");
        matches!(tokio::time::timeout(LAST_WORD, note).await, Ok(Ok(_)))
    }
}
