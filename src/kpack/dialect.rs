//! The three API versions under which a cluster may serve kpack, the names that differ between them,
//! and which of them to try first.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroupList;
use kube::core::dynamic::ApiResource;
use schemars::JsonSchema;
use serde::Deserialize;

/// One API version of kpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Dialect {
    /// The stored one since kpack 0.4.
    #[serde(rename = "kpack.io/v1alpha2")]
    V1Alpha2,
    /// The one before; newer fields are not to be seen through it.
    #[serde(rename = "kpack.io/v1alpha1")]
    V1Alpha1,
    /// The one before kpack 0.1.
    #[serde(rename = "build.pivotal.io/v1alpha1")]
    Pivotal,
}

/// The two kinds that are read and patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is to be built, again and again.
    Image,
    /// One build of it.
    Build,
}

impl Dialect {
    /// All, the one to prefer first.
    pub const ALL: [Self; 3] = [Self::V1Alpha2, Self::V1Alpha1, Self::Pivotal];

    const fn group(self) -> &'static str {
        match self {
            Self::V1Alpha2 | Self::V1Alpha1 => "kpack.io",
            Self::Pivotal => "build.pivotal.io",
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Self::V1Alpha2 => "v1alpha2",
            Self::V1Alpha1 | Self::Pivotal => "v1alpha1",
        }
    }

    /// Returns what is needed to ask for objects of this kind.
    #[must_use]
    pub fn resource(self, kind: Kind) -> ApiResource {
        let (kind, plural) = match kind {
            Kind::Image => ("Image", "images"),
            Kind::Build => ("Build", "builds"),
        };
        ApiResource {
            group: self.group().to_owned(),
            version: self.version().to_owned(),
            api_version: self.to_string(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }

    /// Returns the label or annotation `name` of Images and Builds, with this version's prefix.
    #[must_use]
    pub fn key(self, name: &str) -> String {
        format!("image.{}/{name}", self.group())
    }

    /// Returns the label that a build's pod has with the Build's name.
    #[must_use]
    pub fn pod_key(self) -> String {
        format!("{}/build", self.group())
    }

    /// Returns the annotation that makes kpack build again when it is on the newest Build.
    #[must_use]
    pub fn trigger_key(self) -> String {
        self.key("additionalBuildNeeded")
    }

    /// Returns the field of an Image's spec that names its service account.
    #[must_use]
    pub const fn service_account_field(self) -> &'static str {
        match self {
            Self::V1Alpha2 => "serviceAccountName",
            Self::V1Alpha1 | Self::Pivotal => "serviceAccount",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.group(), self.version())
    }
}

/// Returns the versions that the cluster says it serves, the one to prefer first. Not every one of
/// them works: without its conversion webhook kpack's API server only answers in the stored version.
#[must_use]
pub fn served(groups: &APIGroupList) -> Vec<Dialect> {
    let versions = groups.groups.iter().flat_map(|group| &group.versions);
    let names: Vec<&str> = versions.map(|version| version.group_version.as_str()).collect();
    Dialect::ALL.into_iter().filter(|dialect| names.contains(&dialect.to_string().as_str())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn groups(versions: &[&str]) -> APIGroupList {
        let groups: Vec<_> = versions
            .iter()
            .map(|version| {
                let (group, short) = version.split_once('/').unwrap();
                json!({"name": group, "versions": [{"groupVersion": version, "version": short}]})
            })
            .collect();
        serde_json::from_value(json!({"groups": groups})).unwrap()
    }

    #[test]
    fn the_newest_version_that_is_served_is_tried_first() {
        let all = ["build.pivotal.io/v1alpha1", "kpack.io/v1alpha1", "kpack.io/v1alpha2", "apps/v1"];
        assert_eq!(served(&groups(&all)), Dialect::ALL);
        assert_eq!(served(&groups(&["build.pivotal.io/v1alpha1"])), [Dialect::Pivotal]);
        assert_eq!(served(&groups(&["apps/v1"])), []);
    }

    #[test]
    fn each_version_has_its_own_prefixes() {
        assert_eq!(Dialect::V1Alpha2.trigger_key(), "image.kpack.io/additionalBuildNeeded");
        assert_eq!(Dialect::V1Alpha1.key("image"), "image.kpack.io/image");
        assert_eq!(Dialect::Pivotal.key("buildNumber"), "image.build.pivotal.io/buildNumber");
        assert_eq!(Dialect::Pivotal.pod_key(), "build.pivotal.io/build");
        assert_eq!(Dialect::Pivotal.resource(Kind::Build).api_version, "build.pivotal.io/v1alpha1");
    }
}
