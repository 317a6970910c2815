//! Keys in any case, as Go's decoder takes them and so every resource that people know. It is looked
//! at only when a request cannot be read as it is written.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// Reads `value` with its unknown keys in lower case, where that makes them known. The error is that
/// of the value as it is written.
pub(super) fn read<T: DeserializeOwned>(
    value: &Value,
) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize(value).or_else(|error| lowered(value, &error).ok_or(error))
}

fn lowered<T: DeserializeOwned>(
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
