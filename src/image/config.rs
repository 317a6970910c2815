//! An image's config: what it was built from, when, and how it starts.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The parts of a config that are of use to a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// When it was built, as the image says.
    pub created: String,
    /// Where it runs.
    pub platform: super::Platform,
    /// `KEY=value` pairs of its environment.
    pub env: Vec<String>,
    /// Its entrypoint.
    pub entrypoint: Vec<String>,
    /// What is run where there is no entrypoint, and its arguments where there is one.
    pub command: Vec<String>,
    /// The user it runs as; empty means root.
    pub user: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Config {
    /// Reads a config as a registry serves it.
    ///
    /// # Errors
    /// When it is not the JSON of a config.
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let file: File = serde_json::from_slice(json)?;
        let run = file.config.unwrap_or_default();
        Ok(Self {
            created: file.created.unwrap_or_default(),
            platform: super::Platform {
                os: file.os,
                architecture: file.architecture,
                variant: file.variant.unwrap_or_default(),
            },
            env: run.env.unwrap_or_default(),
            entrypoint: run.entrypoint.unwrap_or_default(),
            command: run.cmd.unwrap_or_default(),
            user: run.user.unwrap_or_default(),
            labels: run.labels.unwrap_or_default(),
        })
    }

    /// Returns a label that is there and not empty.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

#[derive(Deserialize)]
struct File {
    created: Option<String>,
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
    config: Option<Run>,
}

/// Docker and OCI both capitalise these keys, and both write `null` for what is absent.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Run {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_absent_are_the_same() {
        let absent = Config::read(br#"{"os": "linux", "architecture": "amd64"}"#).unwrap();
        let null = br#"{"os": "linux", "architecture": "amd64", "created": null,
            "config": {"Env": null, "Entrypoint": null, "Cmd": null, "Labels": null, "User": ""}}"#;
        assert_eq!(Config::read(null).unwrap(), absent);
    }

    #[test]
    fn empty_label_is_no_label() {
        let config = Config::read(br#"{"config": {"Labels": {"a": "", "b": "c"}}}"#).unwrap();
        assert_eq!((config.label("a"), config.label("b"), config.label("c")), (None, Some("c"), None));
    }
}
