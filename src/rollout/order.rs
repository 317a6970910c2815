//! What is asked of a rollout: which workload, which image, and what may be risked for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::concourse::Build;
use crate::image::Pinned;

pub mod canary;
pub mod probe;
pub mod window;
mod wrong;

pub use canary::Canary;
pub use probe::Probe;
pub use window::{Freeze, Window};
pub use wrong::Wrong;

/// How long new pods may take to be ready when nobody says.
pub const WAIT: Duration = Duration::from_secs(180);
/// The longest that may be asked for, in seconds: no build waits longer than a day.
pub const LONGEST_WAIT: u64 = 86_400;
/// The longest drain in seconds: none is worth more than an hour.
pub const LONGEST_DRAIN_WAIT: u64 = 3_600;
/// The longest time to hold still, in seconds.
pub const LONGEST_SETTLE: u64 = 3_600;
/// How long a finished rollout must hold still when nobody says.
pub const SETTLE: Duration = Duration::from_secs(10);

/// The kinds of workload that can be rolled.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A Deployment.
    #[default]
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
}

impl Kind {
    /// Returns the kind as the API spells it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// Returns the kind as a command line and a key spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
        }
    }

    /// Reads `KIND/NAME`, or `NAME` of a Deployment, with the short kinds that kubectl has too.
    ///
    /// # Errors
    ///
    /// The kind, when it is none of these.
    pub fn split(text: &str) -> Result<(Self, &str), String> {
        let Some((kind, name)) = text.split_once('/') else { return Ok((Self::Deployment, text)) };
        let kind = match kind.to_ascii_lowercase().trim_end_matches(".apps") {
            "deployment" | "deployments" | "deploy" => Self::Deployment,
            "statefulset" | "statefulsets" | "sts" => Self::StatefulSet,
            "daemonset" | "daemonsets" | "ds" => Self::DaemonSet,
            _ => return Err(kind.to_owned()),
        };
        Ok((kind, name))
    }
}

/// Which containers of which workload.
#[derive(Clone, Debug)]
pub struct Target {
    /// The workload's namespace.
    pub namespace: String,
    /// The workload's kind.
    pub kind: Kind,
    /// The workload's name.
    pub name: String,
    /// The containers' names, init containers among them; none where the pod has one container. The
    /// first one's digest stands for the rollout.
    pub containers: Vec<String>,
}

/// What to roll it to, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// The image to run.
    pub image: Pinned,
    /// The images of containers that get another one, by name.
    pub images: BTreeMap<String, Pinned>,
    /// The tag under which the digest was seen, for the record only.
    pub tag: Option<String>,
    /// How long the new pods may take to be ready; `None` writes the image and does not wait.
    pub wait: Option<Duration>,
    /// The same where somebody said so: then nothing calls a start too slow before it is over.
    pub said_wait: Option<Duration>,
    /// How the old pods leave.
    pub drain: Drain,
    /// How long old pods live on after the last endpoint named them.
    pub drain_wait: Duration,
    /// Who asks.
    pub build: Build,
    /// What may not stop it, and when it may start.
    pub policy: Policy,
    /// What happens to the new image when its pods do not come up.
    pub on_failure: OnFailure,
    /// For how long the finished rollout must hold still: no restart, no pod that loses its readiness.
    pub settle: Duration,
    /// The few pods that go first.
    pub canary: Option<Canary>,
    /// What is asked of the application meanwhile.
    pub probe: Option<Probe>,
}

impl Order {
    /// Returns the image that the container is to run.
    #[must_use]
    pub fn image_of(&self, container: &str) -> &Pinned {
        self.images.get(container).unwrap_or(&self.image)
    }
}

/// Refuses what is watched in a way that cannot be meant, before anything is asked or written.
///
/// # Errors
///
/// The first key that says something impossible.
pub fn inspect(wait: Option<Duration>, canary: Option<&Canary>, probe: Option<&Probe>) -> Result<(), Wrong> {
    if let Some(probe) = probe {
        probe.inspect()?;
    }
    let Some(canary) = canary else { return Ok(()) };
    if wait.is_none() {
        let words = "is set, and nobody stays to watch it".to_owned();
        return Err(Wrong::new("canary", words, "give the new pods a time to be ready above 0"));
    }
    canary.inspect(probe.is_some())
}

/// Which preflight rules stop a rollout.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Ids of rules that may not block (`D401`).
    pub allow: BTreeSet<String>,
    /// Whether warnings block too.
    pub strict: bool,
    /// When it may start; at any time where there are none.
    pub windows: Vec<Window>,
    /// Which alerts stop it.
    pub freeze: Option<Freeze>,
}

/// What happens to the new image when its pods do not come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The image from before comes back, proven by the same predicate.
    #[default]
    Rollback,
    /// It stays, for somebody to look at.
    Leave,
}

/// How old pods leave their Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drain {
    /// The safest that the pods, the credentials and the capacity allow.
    #[default]
    Auto,
    /// Take the old pods out of their Services first, end them later; needs room for all pods twice.
    Detached,
    /// A rolling update that adds before it removes; the old pods' own shutdown decides what is lost.
    Rolling,
    /// The Deployment's own strategy, untouched.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_named_as_kubectl_names_it() {
        let cases = [
            ("app", Kind::Deployment, "app"),
            ("deploy/app", Kind::Deployment, "app"),
            ("deployment.apps/app", Kind::Deployment, "app"),
            ("sts/db", Kind::StatefulSet, "db"),
            ("StatefulSet/db", Kind::StatefulSet, "db"),
            ("daemonset/agent", Kind::DaemonSet, "agent"),
        ];
        for (text, kind, name) in cases {
            assert_eq!(Kind::split(text), Ok((kind, name)), "{text}");
        }
        assert_eq!(Kind::split("pod/app"), Err("pod".to_owned()));
    }
}
