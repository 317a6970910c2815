//! kpack in the lab, where `lab up --with kpack` asks for it: the real controller, the images that it runs builds
//! with, what it builds from, and the webhook by which objects are checked, and read and written as v1alpha1 too.

mod build;
mod images;
mod manifests;
mod source;
mod webhook;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use self::build::build;
use super::api::Api;
use super::packages::Package;
use super::parts::{Part, Ready};
use super::place::{INSIDE, NODE_ADDRESS, Place};
use super::plan::Ports;
use super::progress::Progress;

/// The name of the controller's part, of its program and of its kubeconfig.
pub(crate) const CONTROLLER: &str = "kpack-controller";

/// The same of the webhook.
pub(crate) const WEBHOOK: &str = "kpack-webhook";

/// Where the programs and the definitions are inside the lab.
pub(crate) const PROGRAMS: &str = "/run/lab/kpack";

/// Where the sources are served, on the node's address.
const GIT_PORT: u16 = 8418;

/// The port that the controller opens when it has seen every object.
const CONTROLLER_PORT: u16 = 8008;

/// The port on which the API server asks the webhook.
const WEBHOOK_PORT: u16 = 8443;

/// The repository that the sample apps are built from.
const REPOSITORY: &str = "cnb-springboot.git";

/// kpack in a lab that runs, as `lab.json` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kpack {
    /// The version of the controller.
    pub version: String,
    /// The manifests of `kpack/`, made for this lab.
    pub manifests: PathBuf,
    /// The registry as builds and pods name it, `host:port`.
    pub registry: String,
    /// The sources, as kpack fetches them.
    pub git: String,
    /// The same repository on this machine's disk, to push to.
    pub repository: PathBuf,
}

/// The two versions of the runtime, and of the stack, that the lab has.
pub(crate) struct Release {
    pub(crate) java: &'static str,
    pub(crate) stack: &'static str,
    pub(crate) openssl: &'static str,
}

pub(crate) const OLD: Release = Release {
    java: "11.0.5",
    stack: "1",
    openssl: "OpenSSL 1.1.1  11 Sep 2018 built on: Thu Jun 20 17:36:28 2019 UTC",
};

pub(crate) const NEW: Release = Release {
    java: "11.0.6",
    stack: "2",
    openssl: "OpenSSL 1.1.1  11 Sep 2018 built on: Tue Nov 12 16:58:35 2019 UTC",
};

/// What the lab needs from the system for it: the package, and one of its files.
pub(crate) const PACKAGES: [Package; 2] =
    [("busybox-static", &["/bin/busybox"]), ("git", &["/usr/lib/git-core/git-http-backend"])];

/// The parts; they start when the cluster's own are there.
pub(crate) fn parts(ports: Ports) -> Vec<Part> {
    let image = |name: &str| images::reference(ports, name, build::version());
    let controller = own(
        CONTROLLER,
        CONTROLLER_PORT,
        [
            ("SYSTEM_SERVICE_ACCOUNT", "controller".to_owned()),
            ("PROFILING_PORT", CONTROLLER_PORT.to_string()),
            ("BUILD_INIT_IMAGE", image("build-init")),
            ("BUILD_WAITER_IMAGE", image("build-waiter")),
            ("REBASE_IMAGE", image("rebase")),
            ("COMPLETION_IMAGE", image("completion")),
        ],
    );
    let webhook = own(
        WEBHOOK,
        WEBHOOK_PORT,
        [
            ("WEBHOOK_PORT", WEBHOOK_PORT.to_string()),
            ("PROFILING_PORT", (CONTROLLER_PORT + 1).to_string()),
            ("METRICS_PROMETHEUS_PORT", (CONTROLLER_PORT + 2).to_string()),
            // It only names the one that holds the lease.
            ("POD_NAME", WEBHOOK.to_owned()),
        ],
    );
    let git = Part {
        name: "git-server",
        program: "busybox",
        arguments: ["httpd", "-f", "-h", source::SITE, "-p"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("0.0.0.0:{GIT_PORT}")])
            .collect(),
        environment: Vec::new(),
        ready: Ready::Port(GIT_PORT),
    };
    vec![controller, webhook, git]
}

/// One of kpack's own programs, by the name of its part.
fn own<const N: usize>(name: &'static str, port: u16, environment: [(&'static str, String); N]) -> Part {
    let everywhere = [
        ("SYSTEM_NAMESPACE", "kpack".to_owned()),
        ("METRICS_DOMAIN", "kpack.io".to_owned()),
        ("CONFIG_LOGGING_NAME", "config-logging".to_owned()),
        ("CONFIG_OBSERVABILITY_NAME", "config-observability".to_owned()),
    ];
    Part {
        name,
        program: name,
        arguments: vec![format!("-kubeconfig={INSIDE}/{CONTROLLER}.kubeconfig")],
        environment: everywhere.into_iter().chain(environment).collect(),
        ready: Ready::Port(port),
    }
}

/// The arguments with which `kubectl` makes kpack's kinds known, before the controller starts.
pub(crate) fn definitions() -> [String; 4] {
    [
        format!("--kubeconfig={INSIDE}/{CONTROLLER}.kubeconfig"),
        "apply".to_owned(),
        "--server-side".to_owned(),
        format!("--filename={PROGRAMS}/definitions"),
    ]
}

/// Lays out what the parts serve, before they start.
pub(crate) fn lay_out(data: &Path) -> anyhow::Result<()> {
    source::lay_out(data)
}

/// Gives a cluster whose controller runs all that it builds with, and writes the manifests.
pub(crate) async fn install(
    place: &Place,
    (programs, sample): (&Path, &Path),
    (api, ports): (&Api, Ports),
    progress: &Progress,
) -> anyhow::Result<Kpack> {
    images::publish(programs, sample, ports).await?;
    let lifecycle = json!({
        "apiVersion": "kpack.io/v1alpha2",
        "kind": "ClusterLifecycle",
        "metadata": { "name": "default-lifecycle" },
        "spec": { "image": images::reference(ports, "lifecycle", build::lifecycle()) },
    });
    api.create("/apis/kpack.io/v1alpha2/clusterlifecycles", &lifecycle).await?;
    let kpack = Kpack {
        version: build::version().to_owned(),
        manifests: place.target().join("kpack"),
        registry: format!("{NODE_ADDRESS}:{}", ports.plain),
        git: format!("http://{NODE_ADDRESS}:{GIT_PORT}/cgi-bin/git/{REPOSITORY}"),
        repository: source::repository(&place.data()),
    };
    manifests::write(&place.checkout().join("kpack"), &kpack).context("failed to make kpack's manifests")?;
    progress.say(&format!("kpack {} is ready", kpack.version));
    Ok(kpack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_wait_for_ports_of_their_own_and_name_images_as_pods_pull_them() {
        let parts = parts(Ports { api: 1, plain: 5000, tls: 3, auth: 4 });
        let ports: Vec<_> = parts.iter().filter_map(|part| part.ready.port()).collect();
        assert_eq!(ports, [8008, 8443, 8418]);
        let image = parts[0].environment.iter().find(|(name, _)| *name == "REBASE_IMAGE").unwrap();
        assert_eq!(image.1, format!("10.200.0.1:5000/kpack/rebase:{}", build::version()));
    }
}
