//! Who else wrote to the Deployment: the API server keeps for each field who set it last. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use super::annotations::{BUILD, MANAGER};
use super::observe::{Snapshot, annotation, is_alive, is_detached};

/// What somebody else made of the image while a rollout ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another image: theirs is the newer wish.
    Superseded {
        /// Who.
        by: String,
    },
    /// The image from before: whoever owns it does not want ours.
    Reverted {
        /// Who.
        by: String,
    },
}

/// Returns what a Deployment with another image than the written one means. Another run that goes
/// to the image from before is a newer wish too.
#[must_use]
pub fn change(snapshot: &Snapshot, previous: Option<&str>) -> Change {
    let manager = image_writer(snapshot);
    let by = words(snapshot, manager.as_deref());
    let is_ours = manager.as_deref() == Some(MANAGER);
    if previous == Some(snapshot.image()) && !is_ours {
        Change::Reverted { by }
    } else {
        Change::Superseded { by }
    }
}

/// Returns how many old pods serve on without anybody to end them: their ReplicaSet let go of them, and
/// who changed the image is no run of this tool, which would go on with them.
#[must_use]
pub fn stranded(snapshot: &Snapshot) -> usize {
    if image_writer(snapshot).as_deref() == Some(MANAGER) {
        return 0;
    }
    snapshot.orphans().filter(|pod| is_alive(pod) && !is_detached(pod)).count()
}

/// Returns in words who paused the Deployment.
#[must_use]
pub fn pauser(snapshot: &Snapshot) -> String {
    words(snapshot, writer(snapshot, &["f:spec", "f:paused"]).as_deref())
}

/// Returns the field manager that set the image last.
#[must_use]
pub fn image_writer(snapshot: &Snapshot) -> Option<String> {
    let path = image_fields(snapshot);
    writer(snapshot, &path.each_ref().map(String::as_str))
}

/// Returns where the image is in the record of who set which field.
#[must_use]
pub fn image_fields(snapshot: &Snapshot) -> [String; 6] {
    let slot = snapshot.slot(&snapshot.container);
    let list = if slot.is_init { "f:initContainers" } else { "f:containers" };
    let key = format!("k:{{\"name\":\"{}\"}}", slot.name);
    ["f:spec", "f:template", "f:spec", list, &key, "f:image"].map(str::to_owned)
}

fn writer(snapshot: &Snapshot, path: &[&str]) -> Option<String> {
    let entries = snapshot.deployment.metadata.managed_fields.as_deref().unwrap_or_default();
    let holders = entries.iter().filter(|entry| holds(entry, path));
    holders.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?.manager.clone()
}

fn holds(entry: &ManagedFieldsEntry, path: &[&str]) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    fields.and_then(|fields| path.iter().try_fold(fields, |fields, key| fields.get(key))).is_some()
}

/// Another run of this tool is told by its build, anybody else by the name they write under.
fn words(snapshot: &Snapshot, manager: Option<&str>) -> String {
    let build = annotation(&snapshot.deployment.metadata, BUILD);
    match (manager, build) {
        (None, _) => "somebody else".to_owned(),
        (Some(MANAGER), Some(build)) => format!("another rollout ({build})"),
        (Some(MANAGER), None) => "another rollout".to_owned(),
        (Some(manager), _) => format!("`{manager}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rollout::fixtures::{mk_image, mk_snapshot, with};

    fn mk_written(manager: &str, fields: &Value) -> Snapshot {
        let snapshot = mk_snapshot();
        let entries = json!([
            { "manager": "helm", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields },
            { "manager": manager, "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": fields },
            { "manager": "kube-controller-manager", "operation": "Update", "time": "2026-01-03T00:00:00Z",
              "fieldsV1": { "f:status": {} } },
        ]);
        let deployment = with(&snapshot.deployment, &json!({ "metadata": { "managedFields": entries } }));
        Snapshot { deployment, ..snapshot }
    }

    fn image_fields() -> Value {
        let container = json!({ "k:{\"name\":\"main\"}": { "f:image": {} } });
        json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": container } } } })
    }

    #[test]
    fn the_image_from_before_is_a_revert_and_any_other_a_newer_wish() {
        let look = mk_written("argocd-controller", &image_fields());
        let by = "`argocd-controller`".to_owned();
        assert_eq!(change(&look, Some(&mk_image('a'))), Change::Reverted { by: by.clone() });
        assert_eq!(change(&look, Some(&mk_image('c'))), Change::Superseded { by: by.clone() });
        assert_eq!(change(&look, None), Change::Superseded { by });
    }

    #[test]
    fn another_run_that_goes_back_on_purpose_is_a_newer_wish() {
        let mut look = mk_written(MANAGER, &image_fields());
        let annotations = json!({ "metadata": { "annotations": { BUILD: "https://ci/builds/8" } } });
        look.deployment = with(&look.deployment, &annotations);
        let by = "another rollout (https://ci/builds/8)".to_owned();
        assert_eq!(change(&look, Some(&mk_image('a'))), Change::Superseded { by });
    }

    #[test]
    fn who_paused_it_is_who_set_the_field() {
        assert_eq!(
            pauser(&mk_written("kubectl-rollout", &json!({ "f:spec": { "f:paused": {} } }))),
            "`kubectl-rollout`"
        );
        assert_eq!(pauser(&mk_written("kubectl-rollout", &image_fields())), "somebody else");
    }
}
