//! Whether a Deployment runs a digest on all its pods and nobody is at work on it any more. Pure.
//! `rollway.dev/` keys are spelled here as a user would read them, not shared with the tool under test.

use serde_json::Value;

/// How far a Deployment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// Pods of the new template.
    pub(super) updated: i64,
    /// Pods wanted.
    pub(super) wanted: i64,
    /// Whether all of it is over.
    pub(super) is_over: bool,
}

impl Stand {
    /// Judges a Deployment that shall run `digest`.
    pub(super) fn of(deployment: &Value, digest: &str) -> Self {
        let (spec, status) = (&deployment["spec"], &deployment["status"]);
        let count = |name: &str| status[name].as_i64().unwrap_or(0);
        let wanted = spec["replicas"].as_i64().unwrap_or(1);
        let image = spec["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let is_written = image.ends_with(digest);
        let is_observed = status["observedGeneration"] == deployment["metadata"]["generation"];
        let is_complete =
            [count("updatedReplicas"), count("replicas"), count("availableReplicas")] == [wanted; 3];
        // While the rollout is at work its journal, a JSON object, is in this annotation.
        let journal =
            deployment["metadata"]["annotations"]["rollway.dev/rollout"].as_str().unwrap_or_default();
        Self {
            updated: if is_written && is_observed { count("updatedReplicas") } else { 0 },
            wanted,
            is_over: is_written && is_observed && is_complete && !journal.starts_with('{'),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(image: &str, journal: &str) -> Value {
        json!({
            "metadata": { "generation": 4, "annotations": { "rollway.dev/rollout": journal } },
            "spec": { "replicas": 3, "template": { "spec": { "containers": [{ "image": image }] } } },
            "status": { "observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3 },
        })
    }

    #[test]
    fn it_is_over_when_all_pods_run_the_digest_and_the_journal_is_closed() {
        assert!(Stand::of(&deployment("r/app@sha256:2", "finished"), "sha256:2").is_over);
        assert!(!Stand::of(&deployment("r/app@sha256:1", "finished"), "sha256:2").is_over);
        assert!(
            !Stand::of(&deployment("r/app@sha256:2", r#"{"image":"r/app@sha256:2"}"#), "sha256:2").is_over
        );
    }

    #[test]
    fn it_is_not_over_before_the_controller_has_looked_or_while_old_pods_remain() {
        let mut unseen = deployment("r/app@sha256:2", "finished");
        unseen["status"]["observedGeneration"] = json!(3);
        assert_eq!(Stand::of(&unseen, "sha256:2"), Stand { updated: 0, wanted: 3, is_over: false });
        let mut surging = deployment("r/app@sha256:2", "finished");
        surging["status"]["replicas"] = json!(4);
        assert!(!Stand::of(&surging, "sha256:2").is_over);
    }
}
