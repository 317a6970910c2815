//! kpack as the demo sees it: through `kubectl`, as a person would.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::position;
use crate::demo::kubectl::Kubectl;
use crate::demo::manifests::APPS;

/// The namespace of the manifests in `kpack/`.
const NAMESPACE: &str = "kpack-builders";

/// The three images.
pub(super) struct Fleet<'a> {
    pub(super) kubectl: &'a Kubectl,
    /// The manifests, made for this cluster.
    pub(super) manifests: &'a Path,
}

/// A build that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Built {
    pub(super) number: String,
    pub(super) reason: String,
    /// `repository@digest`.
    pub(super) image: String,
}

impl Built {
    /// Returns the digest alone.
    pub(super) fn digest(&self) -> &str {
        self.image.rsplit_once('@').map_or(self.image.as_str(), |(_, digest)| digest)
    }
}

impl Fleet<'_> {
    /// Removes everything in the namespace, and what the builder is made of.
    pub(super) async fn clear(&self) -> anyhow::Result<()> {
        for arguments in [
            ["delete", "namespace", NAMESPACE],
            ["delete", "clusterstores.kpack.io", "custom-java-store"],
            ["delete", "clusterstacks.kpack.io", "custom-java-stack"],
        ] {
            let arguments: Vec<_> =
                arguments.into_iter().chain(["--ignore-not-found", "--timeout=120s"]).collect();
            self.kubectl.run(&arguments).await?;
        }
        Ok(())
    }

    /// Applies a file or a directory of `kpack/`.
    pub(super) async fn apply(&self, path: &str) -> anyhow::Result<()> {
        let path = self.manifests.join(path).display().to_string();
        self.kubectl.run(&["apply", "-f", &path]).await.map(drop)
    }

    /// Returns the build `number` of each app, in the order of [`APPS`], where it has succeeded.
    ///
    /// # Errors
    /// One of them has failed.
    pub(super) async fn built(&self, number: u64) -> anyhow::Result<Vec<Option<Built>>> {
        let text = self
            .kubectl
            .run(&["get", "builds.kpack.io", "--namespace", NAMESPACE, "--output", "json"])
            .await?;
        let list: Value =
            serde_json::from_str(&text).context("kubectl printed something that is not JSON")?;
        let wanted = number.to_string();
        let mut found = vec![None; APPS.len()];
        for build in list["items"].as_array().into_iter().flatten() {
            let labels = &build["metadata"]["labels"];
            if labels["image.kpack.io/buildNumber"].as_str() != Some(wanted.as_str()) {
                continue;
            }
            let app = labels["image.kpack.io/image"].as_str().unwrap_or_default();
            found[position(app)?] = judged(build)?;
        }
        Ok(found)
    }
}

/// Returns a build that has succeeded, nothing for one that runs.
fn judged(build: &Value) -> anyhow::Result<Option<Built>> {
    let metadata = &build["metadata"];
    let conditions = build["status"]["conditions"].as_array();
    let condition = conditions
        .and_then(|conditions| conditions.iter().find(|condition| condition["type"] == "Succeeded"));
    match condition.and_then(|condition| condition["status"].as_str()) {
        Some("True") => {}
        Some("False") => {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let message = condition.map(|condition| text(&condition["message"])).unwrap_or_default();
            bail!("kpack's build `{}` failed: {message}", text(&metadata["name"]));
        }
        _ => return Ok(None),
    }
    let text = |value: &Value, what: &str| {
        value.as_str().map(str::to_owned).with_context(|| format!("a build has no {what}"))
    };
    Ok(Some(Built {
        number: text(&metadata["labels"]["image.kpack.io/buildNumber"], "number")?,
        reason: text(&metadata["annotations"]["image.kpack.io/reason"], "reason")?,
        image: text(&build["status"]["latestImage"], "image")?,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn build(status: Value) -> Value {
        json!({
            "metadata": {
                "name": "app-foo-build-2",
                "labels": { "image.kpack.io/buildNumber": "2" },
                "annotations": { "image.kpack.io/reason": "BUILDPACK" },
            },
            "status": status,
        })
    }

    #[test]
    fn a_build_counts_when_it_says_that_it_succeeded() {
        let conditions = json!([{ "type": "Succeeded", "status": "True" }]);
        let build_done = build(json!({ "conditions": conditions, "latestImage": "r/a@sha256:1" }));
        let built = judged(&build_done).unwrap().unwrap();
        assert_eq!((built.reason.as_str(), built.digest()), ("BUILDPACK", "sha256:1"));
        assert_eq!(judged(&build(json!({}))).unwrap(), None);
    }

    #[test]
    fn a_build_that_failed_ends_the_demo_with_kpack_s_own_words() {
        let conditions = json!([{ "type": "Succeeded", "status": "False", "message": "detect failed" }]);
        let error = judged(&build(json!({ "conditions": conditions }))).unwrap_err();
        assert_eq!(error.to_string(), "kpack's build `app-foo-build-2` failed: detect failed");
    }
}
