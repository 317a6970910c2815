//! Where an image runs: operating system, architecture, variant.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A platform in Go's names, as manifests use them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Platform {
    /// `linux`, `windows`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …; empty for any.
    pub variant: String,
}

impl Default for Platform {
    /// What a manifest that does not say means.
    fn default() -> Self {
        Self { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: String::new() }
    }
}

impl Platform {
    /// Returns the platform that this program was built for, in the names of manifests.
    #[must_use]
    pub fn here() -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Self { architecture: architecture.to_owned(), ..Self::default() }
    }

    /// Returns the same with a variant that is written behind the architecture, `arm64/v8`, in its
    /// own place.
    #[must_use]
    pub fn split(mut self) -> Self {
        if self.variant.is_empty()
            && let Some((architecture, variant)) = self.architecture.split_once('/')
        {
            (self.architecture, self.variant) = (architecture.to_owned(), variant.to_owned());
        }
        self
    }

    /// Returns whether an image for `other` is what `self` asks for.
    #[must_use]
    pub fn accepts(&self, other: &Self) -> bool {
        let any_variant = self.variant.is_empty() || self.variant == other.usual_variant();
        self.os == other.os && self.architecture == other.architecture && any_variant
    }

    /// Returns the variant, or the one that is meant where an ARM image does not say.
    fn usual_variant(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("arm64", "") => "v8",
            ("arm", "") => "v7",
            (_, variant) => variant,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(variant: &str) -> Platform {
        Platform { variant: variant.to_owned(), ..Platform::default() }
    }

    #[test]
    fn variant_matters_only_when_it_is_asked_for() {
        assert!(platform("").accepts(&platform("v2")));
        assert!(platform("v2").accepts(&platform("v2")));
        assert!(!platform("v2").accepts(&platform("v3")));
    }

    #[test]
    fn variant_may_be_written_behind_the_architecture() {
        let written = |architecture: &str| {
            Platform { architecture: architecture.to_owned(), ..Platform::default() }.split()
        };
        let wanted = written("arm64/v8");
        assert_eq!(wanted.to_string(), "linux/arm64/v8");
        assert!(wanted.accepts(&written("arm64")) && wanted.accepts(&written("arm64/v8")));
        assert!(!wanted.accepts(&written("arm64/v9")) && !wanted.accepts(&written("arm/v8")));
        assert!(written("arm/v7").accepts(&written("arm")) && !written("arm/v6").accepts(&written("arm")));
    }
}
