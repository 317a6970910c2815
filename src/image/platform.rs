//! Where an image runs: operating system, architecture, variant.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

/// A platform in Go's names, as manifests use them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

    /// Reads `linux/arm64` or `linux/arm/v7`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => ("", "", None),
        };
        if os.is_empty() || architecture.is_empty() || variant == Some("") {
            return Err(format!("`{text}` is not a platform: write it like `linux/arm64` or `linux/arm/v7`"));
        }
        let own = |part: &str| part.to_owned();
        Ok(Self { os: own(os), architecture: own(architecture), variant: own(variant.unwrap_or_default()) })
    }

    /// Returns whether an image for `other` is what `self` asks for.
    #[must_use]
    pub fn accepts(&self, other: &Self) -> bool {
        let any_variant = self.variant.is_empty() || self.usual_variant() == other.usual_variant();
        self.os == other.os && self.architecture == other.architecture && any_variant
    }

    /// Returns the variant, or the one that is meant where none is written.
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

/// The keys of a platform that is written as an object; what is left out is as where this runs.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl From<Written> for Platform {
    fn from(written: Written) -> Self {
        let here = Self::here();
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let architecture = given(written.architecture).unwrap_or(here.architecture);
        // `arm64/v8` is how people and documents name an architecture with its variant.
        let (architecture, within) = match architecture.split_once('/') {
            Some((architecture, variant)) => (architecture.to_owned(), variant.to_owned()),
            None => (architecture, String::new()),
        };
        Self {
            os: given(written.os).unwrap_or(here.os),
            architecture,
            variant: given(written.variant).unwrap_or(within),
        }
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Platform;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with `os` and `architecture`, or a text like `linux/arm64`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Platform, E> {
                Platform::parse(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Platform, A::Error> {
                Written::deserialize(MapAccessDeserializer::new(map)).map(Platform::from)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Platform {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Platform".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A platform in Go's names, as manifests use them.",
            "anyOf": [
                {"type": "string", "pattern": "^[^/]+/[^/]+(/[^/]+)?$"},
                {"type": "object", "additionalProperties": false, "properties": {
                    "os": {"type": "string", "description": "`linux`, `windows`, …; the default is where this runs."},
                    "architecture": {"type": "string", "description": "`amd64`, `arm64`, `arm64/v8`, …; the default is where this runs."},
                    "variant": {"type": "string", "description": "`v7`, `v8`, …; the default is any."},
                }},
            ],
        })
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
    fn usual_variant_of_arm_need_not_be_written() {
        let accepts =
            |one: &str, other: &str| Platform::parse(one).unwrap().accepts(&Platform::parse(other).unwrap());
        assert!(accepts("linux/arm64/v8", "linux/arm64") && accepts("linux/arm64", "linux/arm64/v8"));
        assert!(accepts("linux/arm/v7", "linux/arm") && !accepts("linux/arm/v6", "linux/arm"));
    }

    #[test]
    fn architecture_may_carry_its_variant() {
        for (json, text) in [
            (r#"{"architecture": "arm64/v8"}"#, "linux/arm64/v8"),
            (r#"{"architecture": "arm/v7", "variant": "v6"}"#, "linux/arm/v6"),
            (r#"{"os": "windows", "architecture": "amd64"}"#, "windows/amd64"),
            (r#"{"architecture": "", "variant": null}"#, &Platform::here().to_string()),
            (r#""linux/arm/v7""#, "linux/arm/v7"),
        ] {
            let platform: Platform = serde_json::from_str(json).unwrap();
            assert_eq!(platform.to_string(), text, "{json}");
        }
        for wrong in [r#""linux""#, r#""/amd64""#, r#""a/b/c/d""#, "5", r#"{"arch": "arm64"}"#] {
            assert!(serde_json::from_str::<Platform>(wrong).is_err(), "{wrong}");
        }
    }
}
