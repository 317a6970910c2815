//! The `source` of the pipeline: `registry-image`'s keys, as far as this type goes today.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Unexpected};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::content_trust::ContentTrust;
use crate::concourse::Context;
use crate::image::Platform;
use crate::registry::{self, Ambient, Client, Sources, with_access_keys};

with_access_keys! {
/// Where the image is and how to get in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the keys at the end are there to be refused by name")]
pub struct Source {
    /// The repository, with its host unless it is Docker Hub's.
    pub repository: String,
    /// The tag to watch. A number is taken as it is written.
    #[serde(default)]
    pub tag: Tag,
    /// The image of an index that metadata is read from; the default is where this runs.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Log every request.
    #[serde(default)]
    pub debug: bool,
    #[schemars(skip)]
    tag_regex: Unsupported,
    #[schemars(skip)]
    created_at_sort: Unsupported,
    #[schemars(skip)]
    variant: Unsupported,
    #[schemars(skip)]
    semver_constraint: Unsupported,
    #[schemars(skip)]
    pre_releases: Unsupported,
    #[schemars(skip)]
    pre_release_prefixes: Unsupported,
    #[schemars(skip)]
    label_regex: Unsupported,
    #[schemars(skip)]
    annotation_regex: Unsupported,
    /// Signing with Notary v1, which put refuses.
    #[serde(default)]
    pub content_trust: Option<ContentTrust>,
}
}

impl Source {
    /// Returns a client for the repository itself, which alone can be written to.
    #[expect(dead_code, reason = "put will write with it")]
    pub(super) async fn client(&self, context: &Context) -> Result<Client, registry::Error> {
        let access = self.access(&Ambient::of(&context.variables));
        let client = Client::reach(&self.repository, &access, &context.log).await?;
        Ok(if self.debug { client.traced() } else { client })
    }

    /// Returns the places that the repository can be read from: its mirrors, and itself.
    pub(super) async fn sources(&self, context: &Context) -> Result<Sources, registry::Error> {
        let access = self.access(&Ambient::of(&context.variables));
        let sources = Sources::reach(&self.repository, &access, &context.log).await?;
        Ok(if self.debug { sources.with(Client::traced) } else { sources })
    }
}

/// A tag as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tag {
    fn default() -> Self {
        Self("latest".to_owned())
    }
}

impl<'de> Deserialize<'de> for Tag {
    /// Keeps the literal text of a number: as a number, `1.0` and `1.00` would be the same tag.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let raw = raw.get();
        let text = match raw.bytes().next() {
            Some(b'"') => serde_json::from_str(raw).map_err(de::Error::custom)?,
            Some(b'0'..=b'9' | b'-') => raw.to_owned(),
            Some(b'n') => String::new(),
            _ => return Err(de::Error::custom("a tag is a string or a number")),
        };
        if text.is_empty() {
            return Ok(Self::default());
        }
        if registry::is_tag(&text) {
            Ok(Self(text))
        } else {
            let rule = "at most 128 letters, digits, `_`, `.` and `-`, and no `.` or `-` in front";
            Err(de::Error::custom(format!("`{text}` is not a tag: {rule}")))
        }
    }
}

impl JsonSchema for Tag {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tag".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}

/// A key that is known and cannot be obeyed. Its empty value asks for nothing and is let through,
/// because pipelines fill keys from variables that may be empty.
#[derive(Clone, Copy, Debug, Default)]
struct Unsupported;

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Unsupported;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("nothing")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Unsupported, E> {
                empty(!value)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Unsupported, E> {
                empty(value.is_empty())
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Unsupported, E> {
                empty(false)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Unsupported, E> {
                empty(false)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Unsupported, E> {
                empty(false)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Unsupported, E> {
                empty(true)
            }

            fn visit_none<E: de::Error>(self) -> Result<Unsupported, E> {
                empty(true)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Unsupported, D::Error> {
                deserializer.deserialize_any(Visitor)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Unsupported, A::Error> {
                empty(list.next_element::<IgnoredAny>()?.is_none())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Unsupported, A::Error> {
                empty(map.next_entry::<IgnoredAny, IgnoredAny>()?.is_none())
            }
        }

        fn empty<E: de::Error>(is_empty: bool) -> Result<Unsupported, E> {
            let wanted = "no value (image-digest does not support this key of registry-image yet)";
            if is_empty { Ok(Unsupported) } else { Err(E::invalid_value(Unexpected::Other("one"), &wanted)) }
        }

        // A missing key is read as an option without a value.
        deserializer.deserialize_option(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(json: &str) -> Result<Source, String> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| error.to_string())
    }

    #[test]
    fn number_as_a_tag_keeps_its_text() {
        for (json, tag) in [
            ("1.10", "1.10"),
            ("\"1.0\"", "1.0"),
            ("7", "7"),
            ("1e3", "1e3"),
            ("null", "latest"),
            ("\"\"", "latest"),
        ] {
            let source = source(&format!(r#"{{"repository": "app", "tag": {json}}}"#)).unwrap();
            assert_eq!(source.tag.as_str(), tag, "{json}");
        }
    }

    #[test]
    fn tag_survives_a_detour_through_a_value() {
        let value = serde_json::json!({"repository": "app", "tag": 12});
        let source: Source = serde_path_to_error::deserialize(value).unwrap();
        assert_eq!(source.tag.as_str(), "12");
    }

    #[test]
    fn tag_that_is_none_is_refused() {
        for json in ["true", "[]", "{}", "\"a/b\"", "\"a b\"", "-1"] {
            let error = source(&format!(r#"{{"repository": "app", "tag": {json}}}"#)).unwrap_err();
            assert!(error.starts_with("tag: "), "{json}: {error}");
        }
    }

    #[test]
    fn mode_that_is_not_there_yet_is_named() {
        for key in [r#""tag_regex": "^1""#, r#""pre_releases": true"#] {
            let error = source(&format!(r#"{{"repository": "app", {key}}}"#)).unwrap_err();
            let name = key.split('"').nth(1).unwrap();
            assert!(error.starts_with(name) && error.contains("does not support this key"), "{error}");
        }
    }

    #[test]
    fn empty_value_of_such_a_key_asks_for_nothing() {
        let json = r#"{"repository": "app", "tag_regex": "", "pre_releases": false, "variant": null,
            "pre_release_prefixes": [], "content_trust": {}}"#;
        assert!(source(json).is_ok());
    }
}
