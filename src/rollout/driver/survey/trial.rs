//! What the API server says to what the rollout is going to do, tried without doing it: one pod of the
//! new template, and the image written by server-side apply. The one shows quotas, admission and
//! references, the other who else holds the image.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Status;

use super::Surveyor;
use crate::rollout::Kind;
use crate::rollout::annotations::MANAGER;
use crate::rollout::driver::act::json_patch;
use crate::rollout::observe::is_detached;
use crate::rollout::plan::patch::detach;
use crate::rollout::preflight::facts::{Asked, Owner, Trial};
use crate::rollout::preflight::ownership::{apply_of_the_image, conflicts};
use crate::rollout::preflight::trial::{self, Denial};

impl Surveyor<'_> {
    /// Tries to create one new pod.
    pub(super) async fn trial(&self) -> Asked<Trial> {
        let pod = trial::pod(self.snapshot, self.order);
        let parameters = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
        let api = self.place.api::<Pod>();
        let tried = self.ask("create pods (dry-run)", refusal(api.create(&parameters, &pod))).await;
        match tried {
            Asked::Known(Ok(pod)) => Asked::Known(Trial::Allowed(Box::new(pod))),
            Asked::Known(Err(status)) => match trial::denial(status.code, &status.message) {
                Denial::Final => Asked::Known(Trial::Denied(status.message.clone())),
                Denial::Right => Asked::Unknown("create pods (dry-run)".to_owned()),
                Denial::Unclear => Asked::Unknown("the API server's answer to a tried pod".to_owned()),
            },
            Asked::Unknown(why) => Asked::Unknown(why),
        }
    }

    /// Tries to take one old pod out of its Services; returns why that is refused. It is tried before
    /// anything is written, for a drain that stops half-way leaves old pods that nobody ends.
    pub(in super::super) async fn no_relabelling(&self) -> Option<String> {
        let pod = self.snapshot.own_pods().find(|pod| !is_detached(pod))?;
        let parameters =
            PatchParams { dry_run: true, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = json_patch(detach(self.snapshot, pod));
        let api = self.place.api::<Pod>();
        let name = pod.name_any();
        let tried = self.ask("patch pods (dry-run)", refusal(api.patch(&name, &parameters, &patch))).await;
        match tried {
            Asked::Known(Err(status)) => trial::no_relabelling(status.code, &status.message),
            _ => None,
        }
    }

    /// Tries to apply the image alone: whoever holds it is named in the conflict.
    pub(super) async fn owners(&self) -> Asked<Vec<Owner>> {
        let body = apply_of_the_image(self.snapshot, self.order);
        let parameters =
            PatchParams { dry_run: true, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let (place, patch) = (self.place, Patch::Apply(&body));
        let applied = async {
            match place.kind {
                Kind::Deployment => {
                    place.api::<Deployment>().patch(&place.name, &parameters, &patch).await.map(drop)
                }
                Kind::StatefulSet => {
                    place.api::<StatefulSet>().patch(&place.name, &parameters, &patch).await.map(drop)
                }
                Kind::DaemonSet => {
                    place.api::<DaemonSet>().patch(&place.name, &parameters, &patch).await.map(drop)
                }
            }
        };
        let what = format!("patch {}s (dry-run)", place.kind.word());
        match self.ask(&what, refusal(applied)).await {
            Asked::Known(Ok(_)) => Asked::Known(Vec::new()),
            Asked::Known(Err(status)) if status.code == 409 => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let causes: Vec<(String, String)> =
                    causes.map(|cause| (cause.message.clone(), cause.field.clone())).collect();
                Asked::Known(conflicts(self.snapshot, &causes))
            }
            Asked::Known(Err(status)) => Asked::Unknown(format!("{what} ({})", status.code)),
            Asked::Unknown(why) => Asked::Unknown(why),
        }
    }
}

/// Takes the API server's no for an answer.
async fn refusal<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<Result<T, Box<Status>>> {
    match call.await {
        Ok(done) => Ok(Ok(done)),
        Err(kube::Error::Api(status)) => Ok(Err(status)),
        Err(error) => Err(error),
    }
}
