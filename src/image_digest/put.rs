//! put: refused. Pushing and promoting images is not part of this resource type yet, and a put that
//! silently did nothing would be worse than one that fails.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Error;

/// The `params` of a put; whatever they are, the answer is the same.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PutParams(pub BTreeMap<String, serde_json::Value>);

/// Returns the answer.
pub(super) fn unsupported() -> Error {
    Error::Put
}
