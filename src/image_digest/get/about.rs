//! The files that say what an image is: `metadata.json` and `labels.json` as registry-image writes
//! them, byte for byte, and `image.json`. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Format;
use super::found::Found;
use crate::image::{Buildpacks, Config, Pinned};

/// The part of a config that a task's container is made from. An absent list stays absent.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Run {
    cmd: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

/// What Concourse reads beside a `rootfs`.
#[derive(Serialize)]
struct Metadata {
    cmd: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: String,
}

/// Returns the files that come with this format.
pub(super) fn files(format: Format, config: &[u8]) -> Vec<(&'static str, String)> {
    #[derive(Default, Deserialize)]
    struct File {
        config: Option<Run>,
    }

    let file: File = serde_json::from_slice(config).unwrap_or_default();
    let Run { cmd, entrypoint, env, user, labels } = file.config.unwrap_or_default();
    let labels = || ("labels.json", line(&labels.clone().unwrap_or_default()));
    match format {
        Format::Rootfs => {
            let metadata = Metadata { cmd, entrypoint, env, user: user.unwrap_or_default() };
            vec![("metadata.json", line(&metadata)), labels()]
        }
        Format::Oci => vec![labels()],
        Format::OciLayout => Vec::new(),
    }
}

/// Returns all that is known about the image, for whoever deploys it.
pub(super) fn image(
    pinned: &Pinned,
    tag: &str,
    tags: &[String],
    found: &Found,
    config: Option<&[u8]>,
) -> String {
    let read = config.and_then(|config| Config::read(config).ok());
    let built = read.as_ref().and_then(Buildpacks::read).unwrap_or_default();
    let revision = read.as_ref().and_then(|config| config.label("org.opencontainers.image.revision"));
    let platforms: Vec<_> = found
        .platforms
        .iter()
        .map(|(platform, digest)| json!({"platform": platform.to_string(), "digest": digest.as_str()}))
        .collect();
    let config = config.and_then(|config| serde_json::from_slice::<Value>(config).ok());
    line(&json!({
        "image": pinned.to_string(),
        "repository": pinned.repository,
        "tag": tag,
        "digest": pinned.digest.as_str(),
        "tags": tags,
        "platform": read.as_ref().map(|config| config.platform.to_string()),
        "platform_digest": found.image().map(|image| image.manifest.digest.as_str()),
        "platforms": platforms,
        "created": read.as_ref().map(|config| &config.created).filter(|created| !created.is_empty()),
        "commit": revision.or(built.commit.as_deref()),
        "buildpacks": built.used,
        "run_image": built.run_image,
        "labels": read.as_ref().map(|config| &config.labels),
        "annotations": found.image().map(|image| &image.parts.annotations),
        "config": config,
    }))
}

/// Writes JSON as Go does: on one line with a line break, and without the characters that mean
/// something to HTML. In JSON they can only be within strings.
fn line(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("maps with string keys have a JSON form");
    let mut line = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '<' => line.push_str("\\u003c"),
            '>' => line.push_str("\\u003e"),
            '&' => line.push_str("\\u0026"),
            '\u{2028}' => line.push_str("\\u2028"),
            '\u{2029}' => line.push_str("\\u2029"),
            other => line.push(other),
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_those_of_registry_image_byte_for_byte() {
        let config =
            br#"{"os": "linux", "config": {"Env": ["A=<b>&"], "Cmd": null, "Entrypoint": [], "User": "1000",
            "Labels": {"z": "\u2028", "a": "\"\\"}}}"#;
        let metadata =
            "{\"cmd\":null,\"entrypoint\":[],\"env\":[\"A=\\u003cb\\u003e\\u0026\"],\"user\":\"1000\"}\n";
        let labels = "{\"a\":\"\\\"\\\\\",\"z\":\"\\u2028\"}\n";
        let wanted = [("metadata.json", metadata.to_owned()), ("labels.json", labels.to_owned())];
        assert_eq!(files(Format::Rootfs, config), wanted);
        assert_eq!(files(Format::Oci, config), wanted[1..]);
        assert!(files(Format::OciLayout, config).is_empty());
    }

    #[test]
    fn image_that_says_nothing_has_nulls_and_an_empty_map() {
        for config in [&br#"{"config": {}}"#[..], b"{}", br#"{"config": null}"#] {
            let files = files(Format::Rootfs, config);
            assert_eq!(files[0].1, "{\"cmd\":null,\"entrypoint\":null,\"env\":null,\"user\":\"\"}\n");
            assert_eq!(files[1].1, "{}\n");
        }
    }
}
