//! The `source` of a pipeline: which Image of which cluster, and which of its builds are versions.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Wrong;
use crate::cluster;
use crate::kpack::Dialect;

/// No label, and so no Image that kpack can build, has a longer name.
const LONGEST_NAME: usize = 63;

/// Which builds are versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Those that published an image.
    #[default]
    Succeeded,
    /// Those that failed too.
    Any,
}

cluster::with_cluster_keys! {
    /// Where the Image is.
    #[derive(Clone, Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct Source {
        /// The name of the kpack Image. Required.
        pub image: String,
        /// Which of its builds are versions: `succeeded` or `any`. Default: `succeeded`.
        #[serde(default, deserialize_with = "status")]
        pub status: Status,
        /// The API version to speak to kpack in. Default: the newest that the cluster serves.
        #[serde(default)]
        pub api_version: Option<Dialect>,
        /// Say more on stderr. Default: false.
        #[serde(default, deserialize_with = "cluster::flag")]
        #[schemars(schema_with = "cluster::flag_schema")]
        pub debug: bool,
    }
}

/// Null is what a key has that nobody gave.
fn status<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Returns whether an Image that kpack can build may have this name.
#[must_use]
pub fn is_image_name(name: &str) -> bool {
    cluster::is_name(name) && name.len() <= LONGEST_NAME
}

impl Source {
    /// Refuses names before they become part of a URL or a selector.
    pub(super) fn inspect(&self) -> Result<(), Wrong> {
        if !is_image_name(&self.image) {
            return Err(Wrong::Name { key: "image", value: self.image.clone() });
        }
        match &self.namespace {
            Some(name) if !cluster::is_name(name) => {
                Err(Wrong::Name { key: "namespace", value: name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Returns what the driver needs to find the Image.
    pub(super) fn target(&self) -> super::driver::Target {
        super::driver::Target { access: self.access(), image: self.image.clone(), dialect: self.api_version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Source, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_image_is_required_and_its_name_must_be_a_label() {
        assert!(read("{}").unwrap_err().contains("missing field `image`"));
        let source = read(r#"{"image": "app", "namespace": "", "status": "any"}"#).unwrap();
        assert_eq!((source.status, source.namespace.clone()), (Status::Any, None));
        assert!(source.inspect().is_ok());
        assert_eq!(read(r#"{"image": "app", "status": null}"#).unwrap().status, Status::Succeeded);
        let long = "a".repeat(64);
        for name in ["", "App", "../pods", "a b", &long] {
            let source = read(&format!(r#"{{"image": "{name}"}}"#)).unwrap();
            assert!(matches!(source.inspect(), Err(Wrong::Name { key: "image", .. })), "{name}");
        }
        let source = read(r#"{"image": "app", "namespace": "a/b"}"#).unwrap();
        assert!(matches!(source.inspect(), Err(Wrong::Name { key: "namespace", .. })));
    }

    #[test]
    fn an_api_version_is_one_of_three() {
        let source = read(r#"{"image": "app", "api_version": "build.pivotal.io/v1alpha1"}"#).unwrap();
        assert_eq!(source.api_version, Some(Dialect::Pivotal));
        assert!(read(r#"{"image": "app", "api_version": "v1"}"#).unwrap_err().contains("unknown variant"));
    }

    #[test]
    fn debug_output_keeps_secrets_to_itself() {
        let source = read(r#"{"image": "app", "kubeconfig": "canary", "token": "canary"}"#).unwrap();
        assert!(!format!("{source:?}").contains("canary"));
    }
}
