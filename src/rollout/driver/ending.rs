//! How a rollout ends when it does not end well: what was missing, what is taken back, what stays.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};

use super::Rollout;
use crate::rollout::Error;
use crate::rollout::observe::{Snapshot, is_ready};
use crate::rollout::outcome::class_word;
use crate::rollout::outside::{self, Change};
use crate::rollout::report::{Evidence, Progress, pod as describe_pod};
use crate::rollout::verdict::Lack;
use crate::rollout::verdict::diagnosis::Cause;

/// How many lines of a failing pod's log are shown.
const LOG_LINES: i64 = 15;

impl Rollout<'_> {
    /// Says what is missing, pod by pod, and takes back what must not stay half done.
    pub(super) async fn late(&self, look: &Snapshot, lack: &Lack) -> Error {
        self.note_verdict();
        self.say(&format!("verdict: not all there in time, {} (F801, TIME)", lack.words));
        for pod in look.new_pods().into_iter().filter(|pod| !is_ready(pod)) {
            for line in describe_pod(pod, &self.evidence(pod).await) {
                self.say(&line);
            }
        }
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
        let image = self.order.image.digest.short().to_owned();
        let left = Box::new(self.left(look).await);
        Error::Failed { target: look.name(), image, cause: Box::new(cause), left }
    }

    async fn evidence(&self, pod: &Pod) -> Evidence {
        let uid = pod.uid().unwrap_or_default();
        let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        let events = self.place.api::<Event>().list(&about).await.map(|list| list.items).unwrap_or_default();
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let status = statuses.and_then(|all| all.iter().find(|status| status.name == self.place.container));
        let is_down = status.is_some_and(|status| status.restart_count > 0 && !status.ready);
        let parameters = LogParams {
            container: Some(self.place.container.clone()),
            tail_lines: Some(LOG_LINES),
            previous: is_down,
            ..Default::default()
        };
        let log = self.place.api::<Pod>().logs(&pod.name_any(), &parameters).await.unwrap_or_default();
        Evidence { events, log: log.lines().map(str::to_owned).collect() }
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
