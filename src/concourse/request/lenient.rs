//! Keys in any case, as Go's decoder takes them and so every resource that people know. It is looked
//! at only when a request cannot be read as it is written.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment};

/// Returns the object with its own keys in lower case, and all values as they are written; `None` when
/// they are already.
pub(super) fn lowered(object: &str) -> Option<String> {
    let map: BTreeMap<String, Box<RawValue>> = serde_json::from_str(object).ok()?;
    let is_lower = map.keys().all(|key| *key == key.to_lowercase());
    let lower: BTreeMap<String, Box<RawValue>> =
        map.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
    if is_lower { None } else { serde_json::to_string(&lower).ok() }
}

/// Reads `value` with its unknown keys in lower case, where that makes them known. The error is that
/// of the value as it is written.
pub(super) fn read<T: DeserializeOwned>(
    value: &Value,
) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize(value).or_else(|error| renamed(value, &error).ok_or(error))
}

fn renamed<T: DeserializeOwned>(
    value: &Value,
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> Option<T> {
    let message = error.inner().to_string();
    let unknown = message.strip_prefix("unknown field `")?.split('`').next()?;
    let mut value = value.clone();
    lower(&mut value, error.path(), unknown)?;
    read(&value).ok()
}

/// Renames one key: one less that is not in lower case, so this comes to an end.
fn lower(value: &mut Value, path: &Path, key: &str) -> Option<()> {
    let known = key.to_lowercase();
    if known == key {
        return None;
    }
    let mut parent = value;
    for segment in path {
        match segment {
            // The path of an unknown key ends in the key itself.
            Segment::Map { key: here } if here == key => break,
            Segment::Map { key: here } => parent = parent.get_mut(here)?,
            Segment::Seq { index } => parent = parent.get_mut(index)?,
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let map = parent.as_object_mut()?;
    let moved = map.shift_remove(key)?;
    map.insert(known, moved);
    Some(())
}
