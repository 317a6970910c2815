//! The writes of a rollout: each one step of the plan, each with a precondition, each said.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};

use super::Rollout;
use super::live::Place;
use crate::rollout::annotations::{MANAGER, PREVIOUS};
use crate::rollout::observe::{Snapshot, annotation, is_alive, is_detached};
use crate::rollout::plan::drain::Way;
use crate::rollout::plan::patch::{self, Operations};
use crate::rollout::plan::step::Step;
use crate::rollout::sets::patch::translate;
use crate::rollout::{Error, Kind};

/// How often a write may meet another state than the one it was made for.
const RACES: u32 = 5;

impl Rollout<'_> {
    /// Writes the image over the one that was seen. A write that came too late is tried again on what
    /// is there now, as long as that is the same image: another one is somebody's newer wish.
    pub(super) async fn write(&self, mut snapshot: Snapshot, way: Way) -> Result<Snapshot, Error> {
        let seen = snapshot.image().to_owned();
        let mut races = 0;
        let deployment = loop {
            self.still_ours(&snapshot).await?;
            let operations = patch::write(&snapshot, self.order, way, &now());
            match self.patch_deployment(operations, "set the image of").await {
                Err(Error::Cluster(error)) if self.may_try_again(&error) && races < RACES => races += 1,
                done => break done?,
            }
            snapshot = self.fresh().await?;
            if self.is_written(&snapshot) {
                // The answer to the write was lost, not the write.
                break snapshot.deployment.clone();
            }
            if snapshot.image() != seen {
                return Err(self.changed(&snapshot, None));
            }
        };
        let written = Snapshot { deployment, ..snapshot };
        self.note_written(annotation(&written.deployment.metadata, PREVIOUS).map(String::as_str));
        self.say("image written");
        if written.image() != self.order.image.to_string() {
            self.say(&format!("note: an admission policy made it {}", written.image()));
        }
        Ok(written)
    }

    pub(super) async fn nudge(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let now = now();
        self.patch_deployment(patch::nudge(snapshot, &now), "touch").await.map(drop)
    }

    pub(super) async fn patch_deployment(
        &self,
        operations: Operations,
        what: &str,
    ) -> Result<Deployment, Error> {
        let Place { kind, surges, namespace, name, .. } = &self.place;
        let doing = format!("{what} {} `{namespace}/{name}`", kind.word());
        let patch = json_patch(translate(*kind, *surges, operations));
        let patched = match kind {
            Kind::Deployment => self.place.api::<Deployment>().patch(name, &parameters(), &patch).await,
            _ => self.place.patch_set(&parameters(), &patch).await,
        };
        patched.map_err(|error| self.place.cluster.describe(error, &doing).into())
    }

    /// Takes the step, unless the workload is another run's by now.
    pub(super) async fn act(&self, look: &Snapshot, step: Step) -> Result<(), Error> {
        self.still_ours(look).await?;
        match step {
            Step::Orphan(sets) => {
                for set in sets {
                    self.orphan(&set).await?;
                }
            }
            Step::Widen(journal) => {
                self.patch_deployment(patch::widen(look, &journal), "go on after the canary with").await?;
                self.say("the canary goes on: all other pods follow");
            }
            Step::Release(journal) => {
                self.patch_deployment(patch::release(look, &journal), "put back the settings of").await?;
                self.say(&format!("the {}'s own settings are back", self.place.kind.title()));
            }
            Step::FallBack(journal, lack) => {
                self.say(&format!("warning: no room for all new pods beside the old ones: {}", lack.words));
                self.say("going on as a rolling update: requests may be lost when old pods end");
                self.patch_deployment(patch::fall_back(look, &journal), "go on with").await?;
            }
            Step::Finish(journal) => {
                self.patch_deployment(patch::finish(look, &journal), "finish").await?;
            }
            Step::Detach(pods) => {
                for pod in &pods {
                    self.patch_pod(pod, patch::detach(look, pod)).await?;
                }
                self.say(&format!("{} old pods taken out of their Services", pods.len()));
            }
            Step::Attach(pods) if !pods.is_empty() => {
                for pod in &pods {
                    self.patch_pod(pod, patch::attach(pod)).await?;
                }
                self.say(&format!("{} old pods put back into their Services", pods.len()));
            }
            Step::Delete(pods) => {
                for pod in &pods {
                    self.delete_pod(pod).await?;
                }
                self.say(&format!("{} old pods end", pods.len()));
            }
            _ => {}
        }
        Ok(())
    }

    async fn orphan(&self, set: &ReplicaSet) -> Result<(), Error> {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Orphan),
            preconditions: Some(Preconditions { uid: set.uid(), resource_version: None }),
            ..Default::default()
        };
        let name = set.name_any();
        let doing = format!("let go of the pods of replicaset `{name}`");
        let deleted = self.place.api::<ReplicaSet>().delete(&name, &parameters).await;
        self.unless_gone(deleted.map(drop), &doing)?;
        self.say(&format!(
            "all new pods are ready and get traffic: replicaset {name} lets go of the old ones"
        ));
        Ok(())
    }

    pub(super) async fn patch_set(&self, set: &ReplicaSet, operations: Operations) -> Result<(), Error> {
        let name = set.name_any();
        let api = self.place.api::<ReplicaSet>();
        let patched = api.patch(&name, &parameters(), &json_patch(operations)).await;
        self.unless_gone(patched.map(drop), &format!("hold the pods of replicaset `{name}`"))
    }

    async fn patch_pod(&self, pod: &Pod, operations: Operations) -> Result<(), Error> {
        let name = pod.name_any();
        let patched = self.place.api::<Pod>().patch(&name, &parameters(), &json_patch(operations)).await;
        self.unless_gone(patched.map(drop), &format!("relabel pod `{name}`"))
    }

    async fn delete_pod(&self, pod: &Pod) -> Result<(), Error> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..Default::default()
        };
        let name = pod.name_any();
        let deleted = self.place.api::<Pod>().delete(&name, &parameters).await;
        self.unless_gone(deleted.map(drop), &format!("delete pod `{name}`"))
    }

    /// An object that is not there any more is as we want it.
    fn unless_gone(&self, result: kube::Result<()>, doing: &str) -> Result<(), Error> {
        match result {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map_err(|error| self.place.cluster.describe(error, doing).into()),
        }
    }

    /// Gives every detached pod back to its Services. What is detached is looked up now: the look that
    /// led here may be from before pods were given back, and a patch made for it would be refused.
    pub(super) async fn attach_all(&self) -> Result<(), Error> {
        let look = self.fresh().await?;
        let away: Vec<Pod> =
            look.orphans().filter(|pod| is_alive(pod) && is_detached(pod)).cloned().collect();
        self.act(&look, Step::Attach(away)).await
    }
}

/// Returns the time in whole seconds, as Kubernetes writes it.
pub(super) fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// The operations are ours and well-formed; a mistake in them would be a patch that the server refuses.
pub(super) fn json_patch(operations: Operations) -> Patch<()> {
    Patch::Json(serde_json::from_value(operations.into()).unwrap_or_default())
}
