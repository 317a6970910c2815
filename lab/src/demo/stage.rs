//! Where the demo plays: a cluster and a registry, the checkout's files, and the programs beside this one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::kubectl::Kubectl;
use super::manifests::App;
use crate::image::{Registry, SampleApp, sample_app};

/// Which demo is played.
pub(super) struct Play {
    /// The directory below `target/` for what it writes.
    pub(super) name: &'static str,
    /// The resource type that starts its pipelines.
    pub(super) trigger: &'static str,
    /// The pipeline, in the checkout.
    pub(super) pipeline: &'static str,
}

/// What every step of the demo needs.
pub(super) struct Stage {
    pub(super) kubectl: Kubectl,
    /// `HOST:PORT`, as images are named.
    registry: String,
    /// The `rollway` program; the resources' programs lie beside it.
    pub(super) rollway: PathBuf,
    /// The static program that goes into the images.
    sample: PathBuf,
    /// The checkout.
    pub(super) root: PathBuf,
    /// What the demo writes: logs, variables, the report.
    pub(super) output: PathBuf,
    /// The pipeline that every app has.
    pub(super) pipeline: PathBuf,
    http: reqwest::Client,
}

impl Stage {
    /// Finds everything, and says what is missing.
    pub(super) fn set(
        root: &Path,
        environment: &BTreeMap<String, String>,
        play: &Play,
    ) -> anyhow::Result<Self> {
        let variable = |key: &str| environment.get(key).filter(|value| !value.is_empty());
        let kubeconfig = variable("KUBECONFIG").context("KUBECONFIG is not set")?;
        let registry = variable("ROLLWAY_REGISTRY").context("ROLLWAY_REGISTRY is not set")?;
        let rollway = std::env::current_exe()?.with_file_name("rollway");
        for name in ["rollway", "rollout", play.trigger] {
            let program = rollway.with_file_name(name);
            ensure!(program.exists(), "`{}` is not built; `make build` builds it", program.display());
        }
        let output = root.join("target").join(play.name);
        std::fs::create_dir_all(&output)
            .with_context(|| format!("failed to create `{}`", output.display()))?;
        Ok(Self {
            kubectl: Kubectl {
                program: program("kubectl", variable("PATH"))?,
                kubeconfig: kubeconfig.into(),
            },
            registry: registry.clone(),
            rollway,
            sample: SampleApp::program()?,
            root: root.to_owned(),
            pipeline: root.join(play.pipeline),
            output,
            http: http()?,
        })
    }

    /// Names an app's repository.
    pub(super) fn repository(&self, app: &App) -> String {
        let host = self.registry.split_once("://").map_or(self.registry.as_str(), |(_, host)| host);
        format!("{}/{}", host.trim_end_matches('/'), app.name)
    }

    /// Publishes an image under the tag that the pipelines follow; returns its digest.
    pub(super) async fn publish(&self, app: &App, release: &Release) -> anyhow::Result<String> {
        let mut spec = SampleApp::new(app.short, &self.sample).runtime(release.runtime);
        release.openssl.clone_into(&mut spec.openssl);
        // Packing takes a while, and the other apps' images need not wait for it.
        let image = tokio::task::spawn_blocking(move || sample_app(&spec)).await??;
        let base = if self.registry.contains("://") {
            self.registry.clone()
        } else {
            format!("http://{}", self.registry)
        };
        Registry::new(&base, None, None)?.push(&image, app.name, "latest").await
    }

    /// Writes what was found to a file of the demo's own; returns its path.
    pub(super) fn keep(&self, name: &str, found: &impl Serialize) -> anyhow::Result<PathBuf> {
        let path = self.output.join(name);
        let text = serde_json::to_string_pretty(found)?;
        std::fs::write(&path, text + "\n")
            .with_context(|| format!("failed to write `{}`", path.display()))?;
        Ok(path)
    }

    /// Returns where an app's Service answers on this machine, once it does.
    pub(super) async fn address(&self, app: &App) -> anyhow::Result<SocketAddr> {
        let service = self.kubectl.object(app.name, "service", "app").await?;
        let port = service["spec"]["ports"][0]["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok());
        let port = port.with_context(|| format!("the Service of `{}` has no node port", app.name))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let end = Instant::now() + Duration::from_secs(15);
        while let Err(error) = self.info(address).await {
            if Instant::now() > end {
                bail!(
                    "{} does not answer on `{address}`: {error:#}\nhint: load goes to this machine's loopback only; \
                     let the cluster's node ports answer there",
                    app.name
                );
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(address)
    }

    /// Asks an app which Java it runs.
    pub(super) async fn runtime(&self, address: SocketAddr) -> anyhow::Result<String> {
        self.told(address, "java.version").await
    }

    /// Asks an app for one of the versions that it tells.
    pub(super) async fn told(&self, address: SocketAddr, name: &str) -> anyhow::Result<String> {
        let info = self.info(address).await?;
        let tags = info["availableTags"].as_array().context("app.info has no tags")?;
        let tag = tags.iter().find(|tag| tag["tag"] == name);
        let tag = tag.with_context(|| format!("app.info has no {name}"))?;
        Ok(tag["values"][0].as_str().with_context(|| format!("{name} is not a text"))?.to_owned())
    }

    async fn info(&self, address: SocketAddr) -> anyhow::Result<Value> {
        let url = format!("http://{address}/actuator/metrics/app.info");
        Ok(self.http.get(url).send().await?.error_for_status()?.json().await?)
    }
}

/// One version of the sample application.
pub(super) struct Release {
    /// What changed, as a person would put it.
    pub(super) name: &'static str,
    pub(super) runtime: &'static str,
    pub(super) openssl: &'static str,
}

fn http() -> anyhow::Result<reqwest::Client> {
    // Only the first caller of the process installs it; any later one finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // No pool: each answer shall come from whatever pod the Service chooses now.
    let builder =
        reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(3));
    Ok(builder.build()?)
}

fn program(name: &str, path: Option<&String>) -> anyhow::Result<PathBuf> {
    let places = path.map(std::env::split_paths).into_iter().flatten();
    let found = places.map(|place| place.join(name)).find(|place| place.is_file());
    found.with_context(|| format!("`{name}` is not in PATH"))
}
