//! Arguments that are JSON themselves or name a file of JSON or YAML.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use crate::concourse::AnyVersion;
use crate::yaml;

/// Returns the object that `text` is or names; `name` is the flag, for errors.
pub(super) fn object(name: &str, text: &str) -> anyhow::Result<Map<String, Value>> {
    let value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).with_context(|| format!("--{name} is not JSON"))?
    } else {
        let content =
            std::fs::read_to_string(text).with_context(|| format!("failed to read `{text}` for --{name}"))?;
        yaml::read(&content).with_context(|| format!("failed to read `{text}` for --{name}"))?
    };
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => bail!("--{name} is not an object"),
    }
}

/// Returns the version that `text` is or names; `key:value,key:value` is one too, as in fly.
pub(super) fn version(text: &str) -> anyhow::Result<AnyVersion> {
    let is_pairs = !text.trim_start().starts_with('{') && !Path::new(text).exists();
    if is_pairs {
        let pair = |pair: &str| {
            let (key, value) =
                pair.split_once(':').with_context(|| format!("--version `{pair}` is not `key:value`"))?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        };
        return text.split(',').map(pair).collect();
    }
    let entry = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, text)),
        _ => bail!("--version: `{key}` is not a string"),
    };
    object("version", text)?.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_pairs_or_json() {
        let expected = AnyVersion::from([
            ("digest".to_owned(), "sha256:ab".to_owned()),
            ("tag".to_owned(), "latest".to_owned()),
        ]);
        assert_eq!(version("digest:sha256:ab, tag:latest").unwrap(), expected);
        assert_eq!(version(r#"{"digest":"sha256:ab","tag":"latest"}"#).unwrap(), expected);
        assert_eq!(version("latest").unwrap_err().to_string(), "--version `latest` is not `key:value`");
        assert_eq!(version(r#"{"n":1}"#).unwrap_err().to_string(), "--version: `n` is not a string");
    }
}
