//! get: small files that name the image, once it is sure that the registry still has it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Source, Version, metadata};
use crate::concourse::{Context, Response};
use crate::image::{Config, Digest, Pinned, Platform};
use crate::log::Log;
use crate::registry::{self, Client, Manifest};

/// The `params` of a get.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GetParams {
    /// Do not download layers. This type never does; `false` is refused where it is written out.
    pub skip_download: Option<bool>,
    /// `registry-image`'s format of the content; refused unless `skip_download` is set.
    pub format: Option<String>,
    /// The image of an index that metadata is read from, in place of the source's.
    pub platform: Option<Platform>,
}

/// Writes `tag`, `digest`, `repository` and `image` for `version`.
pub(super) async fn get(
    source: &Source,
    version: Version,
    params: &GetParams,
    context: &Context,
) -> Result<Response<Version>, Error> {
    refuse_layers(params)?;
    let version = version.with_tag(source.tag.as_str());
    let digest = version.checked_digest()?;
    let sources = source.sources(context).await?;
    let pinned = Pinned { repository: sources.origin().repository().given().to_owned(), digest };
    let platform = params.platform.clone().or_else(|| source.platform.clone()).unwrap_or_else(Platform::here);
    let look = async |client: &Client| match client.manifest(pinned.digest.as_str()).await? {
        Some(manifest) => Ok(Some(described(client, &manifest, &platform, &context.log).await)),
        None => Ok::<_, registry::Error>(None),
    };
    let config = sources.ask(look, Option::is_some).await?.ok_or_else(|| Error::Gone(pinned.clone()))?;
    write(&context.directory, &files(&version.tag, &pinned))?;
    context.log.line(format_args!(
        "{pinned} is named in tag, digest, repository and image; no layer was downloaded"
    ));
    let metadata = metadata::fields(&version.tag, &pinned, config.as_ref());
    Ok(Response { version, metadata })
}

/// A param that asks for content is refused rather than ignored: the task after this step would
/// look for files that are not there. No param at all means what this type is for.
fn refuse_layers(params: &GetParams) -> Result<(), Error> {
    match (params.skip_download, &params.format) {
        (Some(true), _) | (None, None) => Ok(()),
        (Some(false), _) => Err(Error::Layers("skip_download")),
        (None, Some(_)) => Err(Error::Layers("format")),
    }
}

/// Reads the image's config for the metadata. It is a courtesy: an image without one (a chart, an
/// artifact) and a registry that balks at it do not fail a get whose files are right.
async fn described(client: &Client, manifest: &Manifest, platform: &Platform, log: &Log) -> Option<Config> {
    match config(client, manifest, platform).await {
        Ok(config) => config,
        Err(error) => {
            log.line(format_args!("warning: no metadata from the image's config: {error}"));
            None
        }
    }
}

async fn config(
    client: &Client,
    manifest: &Manifest,
    platform: &Platform,
) -> Result<Option<Config>, registry::Error> {
    if let Some(config) = manifest.config() {
        return client.config(config).await;
    }
    let Some(child) = manifest.children().iter().find(|child| platform.accepts(&child.platform)) else {
        return Ok(None);
    };
    match client.manifest(child.digest.as_str()).await?.as_ref().and_then(Manifest::config) {
        Some(config) => client.config(config).await,
        None => Ok(None),
    }
}

fn files(tag: &str, pinned: &Pinned) -> [(&'static str, String); 4] {
    let digest: &Digest = &pinned.digest;
    [
        ("tag", tag.to_owned()),
        ("digest", digest.to_string()),
        ("repository", pinned.repository.clone()),
        ("image", pinned.to_string()),
    ]
}

/// Writes all files or none: each is complete under another name before the first one appears, and
/// whatever a failure left is removed.
fn write(directory: &Path, files: &[(&str, String)]) -> Result<(), Error> {
    let staged: Vec<(PathBuf, PathBuf)> = files
        .iter()
        .map(|(name, _)| (directory.join(format!(".{name}.partial")), directory.join(name)))
        .collect();
    let result = stage(files, &staged);
    if result.is_err() {
        for (partial, path) in &staged {
            let _ = fs::remove_file(partial);
            let _ = fs::remove_file(path);
        }
    }
    result
}

fn stage(files: &[(&str, String)], staged: &[(PathBuf, PathBuf)]) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::Write { path, source }
    };
    for ((_, content), (partial, path)) in files.iter().zip(staged) {
        fs::write(partial, content).map_err(failed(path))?;
    }
    for (partial, path) in staged {
        fs::rename(partial, path).map_err(failed(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_when_a_file_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("digest")).unwrap();
        let files = [("tag", "latest".to_owned()), ("digest", "sha256:x".to_owned())];
        let error = write(directory.path(), &files).unwrap_err();
        assert!(error.to_string().contains("digest"), "{error}");
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["digest"]);
    }

    #[test]
    fn params_that_ask_for_content_are_refused() {
        let params = |json: &str| serde_json::from_str::<GetParams>(json).unwrap();
        for fine in ["{}", r#"{"skip_download": true}"#, r#"{"skip_download": true, "format": "oci"}"#] {
            assert!(refuse_layers(&params(fine)).is_ok(), "{fine}");
        }
        for refused in [r#"{"skip_download": false}"#, r#"{"format": "rootfs"}"#] {
            assert!(refuse_layers(&params(refused)).is_err(), "{refused}");
        }
    }
}
