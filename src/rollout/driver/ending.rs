//! How a rollout ends when it does not end well: what was missing, what is taken back, what stays.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};

use super::{ENDING, Rollout};
use crate::rollout::annotations::PREVIOUS;
use crate::rollout::observe::{Snapshot, annotation, is_alive, is_ready};
use crate::rollout::plan::patch;
use crate::rollout::report::{Evidence, Progress, pod as describe_pod};
use crate::rollout::verdict::Lack;
use crate::rollout::verdict::diagnosis::Cause;
use crate::rollout::{Error, Left};

/// How many lines of a failing pod's log are shown.
const LOG_LINES: i64 = 15;

impl Rollout<'_> {
    /// Says what is missing, pod by pod, and takes back what must not stay half done.
    pub(super) async fn late(&self, look: &Snapshot, lack: &Lack) -> Error {
        self.note_verdict();
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

    /// Says why it cannot succeed, and takes back what must not stay half done.
    pub(super) async fn failed(&self, look: &Snapshot, cause: Cause) -> Error {
        self.note_verdict();
        let image = self.order.image.digest.short().to_owned();
        let left = Box::new(self.left(look).await);
        Error::Failed { target: look.name(), image, cause: Box::new(cause), left }
    }

    async fn left(&self, look: &Snapshot) -> Left {
        self.take_back(look).await.unwrap_or_else(|error| Left {
            state: format!("it could not be taken back: {}", crate::failure::chain(&error)),
            ..self.stays(look)
        })
    }

    /// Undoes a detached drain while its old pods still live, and puts settings back in any case.
    async fn take_back(&self, look: &Snapshot) -> Result<Left, Error> {
        let Some(journal) = look.journal() else { return Ok(self.stays(look)) };
        self.attach_all(look).await?;
        let orphans = look.orphans().filter(|pod| is_alive(pod)).count();
        let old_live = look.old_pods().iter().filter(|pod| is_alive(pod)).count();
        if journal.detached && old_live < look.wanted() && orphans > 0 {
            self.patch_deployment(patch::release(look, &journal), "put back the settings of").await?;
            let state = format!(
                "{orphans} old pods serve on; the same put again ends them when the new ones are ready"
            );
            return Ok(Left { state, ..self.stays(look) });
        }
        if !journal.detached || old_live < look.wanted() {
            self.patch_deployment(patch::finish(look, &journal), "put back the settings of").await?;
            return Ok(self.stays(look));
        }
        let look = &self.place.look().await?;
        let undone = self.patch_deployment(patch::undo(look, &journal), "take back the image of").await?;
        self.say(&format!("taken back: the image is {} again", journal.previous));
        let snapshot = Snapshot { deployment: undone, ..look.clone() };
        let goal = self.goal_of(&snapshot);
        let settle = self.steps(&goal, snapshot, self.order.wait.unwrap_or_default());
        let state = match tokio::time::timeout(ENDING, settle).await {
            Ok(Ok(last)) => {
                let state = format!("rolled back: {} pods run {} again", last.wanted(), journal.previous);
                return Ok(Left { rolled_back: true, state, next: None });
            }
            _ => format!("taken back to {}, whose pods are not all ready yet", journal.previous),
        };
        Ok(Left { state, ..Left::default() })
    }

    /// The new image stays; the next command goes back.
    fn stays(&self, look: &Snapshot) -> Left {
        let (namespace, name) = (&self.place.namespace, &self.place.name);
        let previous = annotation(&look.deployment.metadata, PREVIOUS);
        let back = previous.map_or_else(
            || format!("rollout undo deployment/{name}"),
            |previous| format!("set image deployment/{name} {}={previous}", look.container),
        );
        Left {
            rolled_back: false,
            state: "the Deployment keeps the new image".to_owned(),
            next: Some(format!("kubectl -n {namespace} {back}")),
        }
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
