//! One app's Concourse pipeline, run by `rollway harness pipeline --watch` in a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};

use super::manifests::App;
use super::stage::Stage;

/// What Concourse gives a step between SIGTERM and SIGKILL, and a moment more.
const GOODBYE: Duration = Duration::from_secs(12);

/// How often a resource is checked that does not say so itself; Concourse's minute would be most of the demo.
const CHECK_EVERY: &str = "2s";

/// The variables that every app's pipeline takes, in a file.
pub(super) struct Variables(PathBuf);

impl Variables {
    /// Writes what a user writes to `ci/k8s.yml`: the kubeconfig, and the context with the least rights in it.
    pub(super) async fn write(stage: &Stage) -> anyhow::Result<Self> {
        let kubeconfig = stage.kubectl.run(&["config", "view", "--raw", "--flatten"]).await?;
        let contexts = stage.kubectl.run(&["config", "get-contexts", "--output", "name"]).await?;
        let context = contexts.lines().find(|name| *name == "deployer").unwrap_or_default();
        let variables = json!({
            "kubernetes-config": kubeconfig,
            "kubernetes-context": context,
            "kubernetes-version": "1.36",
            "kubernetes-skip-tls-verification": false,
            "kubernetes-wait-until-ready": 180,
            // Not asked: the harness runs the programs beside it.
            "resource-types": "localhost",
        });
        let path = stage.output.join("k8s.yml");
        write_private(&path, &variables.to_string())?;
        Ok(Self(path))
    }
}

/// A pipeline that watches its image.
pub(super) struct Pipeline {
    app: App,
    process: Child,
    log: PathBuf,
}

impl Pipeline {
    /// Starts it.
    pub(super) fn start(stage: &Stage, app: App, variables: &Variables) -> anyhow::Result<Self> {
        // The app's own file comes first: what is said later overrides it, as with fly.
        let own = stage.output.join(format!("{}.yml", app.name));
        let image = json!({ "container-image": stage.repository(&app) });
        write_private(&own, &image.to_string())?;
        let log = stage.output.join(format!("{}.log", app.name));
        let output = File::create(&log).with_context(|| format!("failed to create `{}`", log.display()))?;
        let ci = stage.root.join("ci");
        let process = Command::new(&stage.rollway)
            .args(["harness", "pipeline", "--pipeline", app.name, "--config"])
            .arg(&stage.pipeline)
            .args(["--load-vars-from".into(), variables.0.clone()])
            .args(["--load-vars-from".into(), ci.join(format!("{}.yml", app.name))])
            .args(["--load-vars-from".into(), own])
            .args(["--watch", "--interval", CHECK_EVERY])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start `{}`", stage.rollway.display()))?;
        Ok(Self { app, process, log })
    }

    /// Fails when the pipeline has ended, which it does not by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.process.try_wait()? {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n");
            bail!(
                "the pipeline of `{}` ended with {status}:\n{last}\nhint: all of it is in {}",
                self.app.name,
                self.log.display()
            );
        }
        Ok(())
    }

    /// Returns where its output goes.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Ends it as Concourse would: SIGTERM first.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // One that has ended meanwhile is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
            if tokio::time::timeout(GOODBYE, self.process.wait()).await.is_err() {
                self.process.kill().await?;
            }
        }
        Ok(())
    }
}

/// Writes a file that holds a kubeconfig, so for this user's eyes only.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("failed to write `{}`", path.display()))
}
