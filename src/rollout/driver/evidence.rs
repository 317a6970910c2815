//! Fetches what a failure is told with: events, and the last lines of one log of each kind. None of
//! it decides anything, so what may not be read is left out.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};

use super::Rollout;
use crate::rollout::annotations::AT;
use crate::rollout::observe::{Snapshot, annotation};
use crate::rollout::report::failure::{Case, Evidence, cases, describe, events};
use crate::rollout::verdict::diagnosis::Cause;

/// How many lines of a failing container's log are shown.
const LOG_LINES: i64 = 25;
/// How long the story may take to be put together: the way back waits for it.
const BOUND: Duration = Duration::from_secs(5);

impl Rollout<'_> {
    /// Says what is known of the new pods that are not ready, one pod of each kind.
    pub(super) async fn explain(&self, look: &Snapshot, cause: Option<&Cause>) {
        let lines = tokio::time::timeout(BOUND, self.story(look, cause)).await.unwrap_or_default();
        for line in &lines {
            self.say(line);
        }
    }

    async fn story(&self, look: &Snapshot, cause: Option<&Cause>) -> Vec<String> {
        let since = annotation(&look.deployment.metadata, AT).and_then(|at| at.parse::<Timestamp>().ok());
        let pods: Vec<&Pod> = look.new_set().map(|set| look.pods_of(set).collect()).unwrap_or_default();
        let cases = cases(&pods, cause);
        let mut lines = Vec::new();
        if cases.is_empty()
            && let Some(uid) = look.new_set().and_then(ResourceExt::uid)
        {
            lines.extend(events(&self.events(&uid).await, since));
        }
        for case in &cases {
            lines.extend(describe(case, &self.evidence(case).await, since));
        }
        lines.extend(cause.map(|cause| format!("hint: {}", cause.hint)).filter(|hint| hint != "hint: "));
        lines
    }

    async fn evidence(&self, case: &Case<'_>) -> Evidence {
        let events = self.events(&case.pod.uid().unwrap_or_default()).await;
        let Some(source) = &case.log else { return Evidence { events, log: Vec::new() } };
        let parameters = LogParams {
            container: Some(source.container.clone()),
            tail_lines: Some(LOG_LINES),
            previous: source.previous,
            ..Default::default()
        };
        let log = self.place.api::<Pod>().logs(&case.pod.name_any(), &parameters).await.unwrap_or_default();
        Evidence { events, log: log.lines().map(str::to_owned).collect() }
    }

    async fn events(&self, uid: &str) -> Vec<Event> {
        let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        self.place.api::<Event>().list(&about).await.map(|list| list.items).unwrap_or_default()
    }
}
