//! A real single-node Kubernetes with three registries on this machine, in namespaces of its own. `lab up` and
//! `lab down` start and stop it; [`Lab`] is what tests and the demo read about the one that runs.

mod accounts;
mod api;
mod build;
mod certificates;
mod cgroups;
pub mod cli;
mod configuration;
mod down;
mod enter;
mod files;
mod forward;
mod forwarder;
mod launch;
mod logs;
mod packages;
mod parts;
mod place;
mod plan;
mod processes;
mod progress;
mod record;
mod sandbox;
mod status;
mod supervise;
mod up;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use self::place::Place;

/// A lab that runs, as `lab.json` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lab {
    /// The kubeconfig with the contexts `admin` (current), `certificate` and `deployer`.
    pub kubeconfig: PathBuf,
    /// A kubectl of the cluster's own version.
    pub kubectl: PathBuf,
    /// The registries.
    pub registry: Registry,
    /// The API server.
    pub api: String,
    /// The first and the last node port; they answer on 127.0.0.1 inside the lab.
    pub node_ports: [u16; 2],
    /// The node's address; pods reach the registries here, on the same ports.
    pub node: String,
    /// The checkout that the lab belongs to.
    pub checkout: PathBuf,
    /// The process id of the lab's first process.
    pub supervisor: u32,
}

/// The three faces of the registry. They share no images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Plain HTTP, `host:port`.
    pub plain: String,
    /// TLS with the lab's authority, `host:port`.
    pub tls: String,
    /// TLS and a password, `host:port`.
    pub auth: String,
    /// The user of [`Registry::auth`].
    pub username: String,
    /// The password of [`Registry::auth`].
    pub password: String,
    /// The authority's certificate, in PEM.
    pub ca: PathBuf,
}

impl Lab {
    /// Reads what runs for `checkout`.
    pub fn load(checkout: &Path) -> anyhow::Result<Self> {
        let path = Place::new(checkout)?.state();
        let text = std::fs::read(&path).with_context(|| {
            format!("no lab runs for `{}`: start one with `make lab-up`", checkout.display())
        })?;
        serde_json::from_slice(&text).with_context(|| format!("`{}` is damaged", path.display()))
    }

    /// Whether the lab's first process still runs.
    pub fn is_running(&self) -> bool {
        Place::new(&self.checkout).is_ok_and(|place| processes::supervisor(&place) == Some(self.supervisor))
    }

    /// Returns a command that runs `program` in the lab's network, where node ports, Services and pods answer. It
    /// ends with the lab at the latest. The directory and the environment are the caller's.
    pub fn command(&self, program: impl AsRef<Path>) -> anyhow::Result<Command> {
        let place = Place::new(&self.checkout)?;
        Ok(enter::network(&place, self.supervisor, program.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(checkout: &Path) -> Lab {
        Lab {
            kubeconfig: "/checkout/target/lab/kubeconfig".into(),
            kubectl: "/cache/kubectl".into(),
            registry: Registry {
                plain: "127.0.0.1:1".to_owned(),
                tls: "127.0.0.1:2".to_owned(),
                auth: "127.0.0.1:3".to_owned(),
                username: "rollway".to_owned(),
                password: "secret".to_owned(),
                ca: "/checkout/target/lab/ca.pem".into(),
            },
            api: "https://127.0.0.1:4".to_owned(),
            node_ports: [30000, 30063],
            node: "10.200.0.1".to_owned(),
            checkout: checkout.into(),
            supervisor: 1,
        }
    }

    #[test]
    fn a_lab_that_is_written_is_read_back() {
        let checkout = tempfile::tempdir().unwrap();
        let lab = lab(checkout.path());
        std::fs::create_dir_all(checkout.path().join("target/lab")).unwrap();
        std::fs::write(checkout.path().join("target/lab/lab.json"), serde_json::to_vec(&lab).unwrap())
            .unwrap();
        assert_eq!(Lab::load(checkout.path()).unwrap(), lab);
    }

    #[test]
    fn without_a_lab_the_message_says_how_to_start_one() {
        let checkout = tempfile::tempdir().unwrap();
        let error = Lab::load(checkout.path()).unwrap_err();
        assert!(error.to_string().contains("`make lab-up`"), "{error}");
    }
}
