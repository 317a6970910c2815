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
mod go;
mod kpack;
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
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

pub use self::kpack::Kpack;
pub use self::place::Place;
use self::record::{Record, State};

/// How long a part that is restarted may take.
const COMES_BACK: Duration = Duration::from_secs(60);

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
    /// kpack, where the lab was started with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kpack: Option<Kpack>,
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

    /// Kills the part `name` and starts it again; returns when it has shown that it is there.
    ///
    /// # Errors
    /// There is no such part, or it does not come back.
    pub fn restart(&self, name: &str) -> anyhow::Result<()> {
        self.restart_with(name, &[])
    }

    /// Does the same, with more in the part's environment until it is started again.
    ///
    /// # Errors
    /// There is no such part, or it does not come back.
    pub fn restart_with(&self, name: &str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let data = Place::new(&self.checkout)?.data();
        let marker = record::restart(&data, name);
        let pid = self.part(name)?;
        let lines: String = environment.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        std::fs::write(&marker, lines).with_context(|| format!("failed to write `{}`", marker.display()))?;
        kill_process(pid, Signal::KILL).with_context(|| format!("failed to kill `{name}`"))?;
        let deadline = Instant::now() + COMES_BACK;
        // The marker goes when the part was started again; before that its record is the old one.
        while marker.exists() || Record::load(&data).parts.get(name) != Some(&State::Ready) {
            ensure!(Instant::now() < deadline, "`{name}` is not ready after {} s", COMES_BACK.as_secs());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Stops the part `name` where it is, as a machine that hangs does, until [`Lab::thaw`].
    ///
    /// # Errors
    /// There is no such part.
    pub fn freeze(&self, name: &str) -> anyhow::Result<()> {
        kill_process(self.part(name)?, Signal::STOP).with_context(|| format!("failed to stop `{name}`"))
    }

    /// Lets a part that was stopped go on.
    ///
    /// # Errors
    /// There is no such part.
    pub fn thaw(&self, name: &str) -> anyhow::Result<()> {
        kill_process(self.part(name)?, Signal::CONT).with_context(|| format!("failed to continue `{name}`"))
    }

    fn part(&self, name: &str) -> anyhow::Result<Pid> {
        let pid = processes::part(self.supervisor, name).and_then(|pid| Pid::from_raw(pid.cast_signed()));
        pid.with_context(|| format!("the lab has no part `{name}` that runs"))
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
            kpack: None,
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
