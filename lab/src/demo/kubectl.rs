//! `kubectl` as a person would use it: the demo deploys with it, watches with it, and loses requests with it.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A `kubectl` with the cluster it speaks to.
#[derive(Clone, Debug)]
pub(super) struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
}

impl Kubectl {
    /// Runs it and returns what it printed.
    pub(super) async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.with_input(arguments, "").await
    }

    /// Applies a rendered manifest.
    pub(super) async fn apply(&self, manifest: &Value) -> anyhow::Result<()> {
        self.with_input(&["apply", "-f", "-"], &manifest.to_string()).await.map(drop)
    }

    /// Reads one object.
    pub(super) async fn object(&self, namespace: &str, kind: &str, name: &str) -> anyhow::Result<Value> {
        let text = self.run(&["get", kind, name, "--namespace", namespace, "--output", "json"]).await?;
        serde_json::from_str(&text).context("kubectl printed something that is not JSON")
    }

    async fn with_input(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut process = Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start `{}`", self.program.display()))?;
        if let Some(mut stdin) = process.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = process.wait_with_output().await?;
        if !output.status.success() {
            bail!(
                "kubectl {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
