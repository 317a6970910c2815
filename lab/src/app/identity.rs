//! Who this instance is: its name and pod from the environment, its runtime and OpenSSL from its image.

use std::collections::BTreeMap;
use std::path::Path;

use super::{OPENSSL_FILE, RUNTIME_FILE};

/// What the answers say about the instance.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) pod: String,
    pub(super) runtime: String,
    pub(super) openssl: String,
}

impl Identity {
    /// Reads the versions from the layers below `root`; a missing one is `unknown`, as the page shall say so.
    /// Where a buildpack has put the runtime's layer elsewhere, `JAVA_HOME` says so.
    pub(super) fn read(root: &Path, environment: &BTreeMap<String, String>) -> Self {
        let variable =
            |key: &str, default: &str| environment.get(key).map_or(default, String::as_str).to_owned();
        let layer = |file: &Path| {
            std::fs::read_to_string(root.join(file))
                .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
        };
        let runtime = environment
            .get("JAVA_HOME")
            .map_or_else(|| RUNTIME_FILE.into(), |home| Path::new(home).join("version"));
        Self {
            name: variable("APP_NAME", "app"),
            pod: variable("HOSTNAME", "none"),
            runtime: layer(&runtime),
            openssl: layer(Path::new(OPENSSL_FILE)),
        }
    }
}
