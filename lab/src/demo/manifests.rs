//! What the demo deploys: the manifests of `k8s/` with the published image and the way each app ends.
//! Pure; reading the files and applying the result is elsewhere.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::app::OnSigterm;

/// One of the three apps, and how its processes end.
#[derive(Clone, Copy, Debug)]
pub(super) struct App {
    /// The name of its namespace, its manifest and its repository.
    pub(super) name: &'static str,
    /// The name that its image carries.
    pub(super) short: &'static str,
    /// What SIGTERM does to it.
    pub(super) on_sigterm: OnSigterm,
}

/// The apps of the demo: one that drains, one that dies at once, one that is gracious but naive.
pub(super) const APPS: [App; 3] = [
    App { name: "app-foo", short: "foo", on_sigterm: OnSigterm::Drain },
    App { name: "app-bar", short: "bar", on_sigterm: OnSigterm::Die },
    App { name: "app-baz", short: "baz", on_sigterm: OnSigterm::Graceful },
];

impl App {
    /// Tells whether it finishes what is open before it ends, and stays reachable until nobody calls any more.
    pub(super) fn drains(&self) -> bool {
        self.on_sigterm == OnSigterm::Drain
    }

    /// Returns in words how it ends.
    pub(super) fn end(&self) -> &'static str {
        match self.on_sigterm {
            OnSigterm::Drain => "drains, after a preStop",
            OnSigterm::Die => "dies at once; it has no preStop",
            OnSigterm::Graceful => "closes its listener at once and finishes what is open; it has no preStop",
            OnSigterm::Ignore => "ignores SIGTERM",
        }
    }

    /// Renders the app's manifest for `kubectl apply`.
    pub(super) fn render(&self, manifest: &str, image: &str) -> anyhow::Result<Value> {
        let mut objects: Vec<Value> = serde_saphyr::from_multiple(manifest)
            .with_context(|| format!("failed to read the manifest of `{}`", self.name))?;
        let deployments = objects.iter_mut().filter(|object| object["kind"] == "Deployment");
        let mut rendered = 0;
        for deployment in deployments {
            self.set(deployment, image)?;
            rendered += 1;
        }
        ensure!(rendered == 1, "the manifest of `{}` has {rendered} Deployments, not 1", self.name);
        Ok(json!({ "apiVersion": "v1", "kind": "List", "items": objects }))
    }

    fn set(&self, deployment: &mut Value, image: &str) -> anyhow::Result<()> {
        let container = deployment
            .pointer_mut("/spec/template/spec/containers/0")
            .and_then(Value::as_object_mut)
            .with_context(|| format!("the Deployment of `{}` has no container", self.name))?;
        container.insert("image".to_owned(), json!(image));
        if !self.drains() {
            container.remove("lifecycle");
        }
        let environment = container.entry("env").or_insert_with(|| json!([]));
        let environment = environment.as_array_mut().context("the container's `env` is not a list")?;
        let switches = [
            ("ON_SIGTERM", self.on_sigterm.to_string()),
            ("START_DELAY", "2".to_owned()),
            ("DRAIN_DELAY", "3".to_owned()),
        ];
        environment.extend(switches.map(|(name, value)| json!({ "name": name, "value": value })));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "
kind: Namespace
---
kind: Deployment
spec:
  template:
    spec:
      containers:
        - name: app
          image: placeholder
          lifecycle: { preStop: { sleep: { seconds: 10 } } }
";

    fn container(app: App) -> Value {
        app.render(MANIFEST, "registry/app@sha256:1").unwrap()["items"][1]["spec"]["template"]["spec"]["containers"][0].clone()
    }

    #[test]
    fn only_the_app_that_drains_keeps_its_pre_stop() {
        let kept = APPS.map(|app| container(app).get("lifecycle").is_some());
        assert_eq!(kept, [true, false, false]);
    }

    #[test]
    fn the_image_and_the_switches_are_set() {
        let container = container(APPS[1]);
        assert_eq!(container["image"], "registry/app@sha256:1");
        assert_eq!(container["env"][0], json!({ "name": "ON_SIGTERM", "value": "die" }));
    }

    #[test]
    fn a_manifest_without_a_deployment_is_named() {
        let error = APPS[0].render("kind: Namespace\n", "x").unwrap_err();
        assert_eq!(error.to_string(), "the manifest of `app-foo` has 0 Deployments, not 1");
    }
}
