//! A tag as a pipeline writes it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer};
use serde_json::value::RawValue;

use crate::registry;

/// A tag as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::image_digest) struct Tag(String);

impl Tag {
    /// Returns the text.
    pub(in crate::image_digest) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a tag; `null` and the empty text are none. A number keeps its literal text: as a number,
/// `1.0` and `1.00` would be the same tag.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tag>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let raw = raw.get();
    let text = match raw.bytes().next() {
        Some(b'"') => serde_json::from_str(raw).map_err(de::Error::custom)?,
        Some(b'0'..=b'9' | b'-') => raw.to_owned(),
        Some(b'n') => String::new(),
        _ => return Err(de::Error::custom("a tag is a string or a number")),
    };
    if text.is_empty() {
        Ok(None)
    } else if registry::is_tag(&text) {
        Ok(Some(Tag(text)))
    } else {
        let rule = "at most 128 letters, digits, `_`, `.` and `-`, and no `.` or `-` in front";
        Err(de::Error::custom(format!("`{text}` is not a tag: {rule}")))
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
