//! What is decided before the lab starts and what the supervisor is told: ports, secrets and directories.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The ports on 127.0.0.1 that are the same inside the lab and on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    /// The API server.
    pub(crate) api: u16,
    /// The registry that speaks plain HTTP.
    pub(crate) plain: u16,
    /// The registry that speaks TLS.
    pub(crate) tls: u16,
    /// The registry that speaks TLS and wants a password.
    pub(crate) auth: u16,
}

impl Ports {
    /// The ports in the order in which the forwarder opens them.
    pub(crate) fn all(self) -> [u16; 4] {
        [self.api, self.plain, self.tls, self.auth]
    }

    /// The inverse of [`Ports::all`].
    pub(crate) fn of([api, plain, tls, auth]: [u16; 4]) -> Self {
        Self { api, plain, tls, auth }
    }
}

/// One lab, before it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The ports of this lab.
    pub(crate) ports: Ports,
    /// The token of the `admin` context.
    pub(crate) admin_token: String,
    /// The directory on the host that becomes `/run/lab`.
    pub(crate) data: PathBuf,
    /// The directory with the programs that were built.
    pub(crate) programs: PathBuf,
    /// The directory with kpack's, where the lab has a kpack.
    pub(crate) kpack: Option<PathBuf>,
    /// The directory for the logs.
    pub(crate) logs: PathBuf,
}

impl Plan {
    /// Where the plan lies in the lab's directory.
    pub(crate) fn path(data: &Path) -> PathBuf {
        data.join("plan.json")
    }

    /// Reads the plan of the lab whose directory is `data`.
    pub(crate) fn load(data: &Path) -> anyhow::Result<Self> {
        let path = Self::path(data);
        let text =
            std::fs::read(&path).with_context(|| format!("failed to read the plan `{}`", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("the plan `{}` is damaged", path.display()))
    }
}
