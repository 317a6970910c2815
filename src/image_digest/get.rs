//! get: small files that name the image and, unless `skip_download` says otherwise, the image. All
//! of it is complete beside its place before the first file appears there.
//!
//! With `verify`, a version that is not signed is refused first: one that is pinned never went
//! through a check.
//!
//! What is written follows from source, params and version alone: Concourse keeps it and gives it to
//! other builds that ask for the same.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::verify::{self, PublicKey};
use super::{Error, Source, Version, metadata, rules};
use crate::concourse::{Context, Field, Response};
use crate::image::{Config, Pinned, Platform};
use crate::registry::{Client, Policy, or_default, or_nothing};

mod about;
mod download;
mod feed;
mod found;
mod layout;
mod rootfs;
mod stage;
mod tags;
mod tarball;

use found::Found;
use stage::Stage;

/// The `params` of a get.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GetParams {
    /// What to make of the image: a directory of its files, a tarball, or an OCI layout.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "Format")]
    pub format: Format,
    /// Download no layer: write only the small files that name the image.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "bool")]
    pub skip_download: bool,
    /// Which image of an index, in place of the source's.
    #[serde(deserialize_with = "or_nothing")]
    pub platform: Option<Platform>,
    /// Look for all tags of the digest, at one request for each tag of the repository.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "bool")]
    pub all_tags: bool,
}

/// What becomes of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Format {
    /// `rootfs/`: its files, with `metadata.json` and `labels.json`. For tasks and resource types.
    #[default]
    Rootfs,
    /// `image.tar`: what `docker load` reads, with `labels.json`.
    Oci,
    /// `oci/`: an OCI layout of the image, or of an index and all its images.
    OciLayout,
}

impl<'de> Deserialize<'de> for Format {
    /// An empty text asks for nothing: pipelines fill params from variables that may be empty.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "" | "rootfs" => Ok(Self::Rootfs),
            "oci" => Ok(Self::Oci),
            "oci-layout" => Ok(Self::OciLayout),
            other => Err(serde::de::Error::unknown_variant(other, &["rootfs", "oci", "oci-layout"])),
        }
    }
}

impl GetParams {
    /// Returns what is asked for beyond names.
    fn content(&self) -> Option<Format> {
        (!self.skip_download).then_some(self.format)
    }

    /// Returns the platform that is written down somewhere.
    fn platform<'a>(&'a self, source: &'a Source) -> Option<&'a Platform> {
        self.platform.as_ref().or(source.platform.as_ref())
    }
}

/// Writes the files of `version`.
pub(super) async fn get(
    source: &Source,
    version: Version,
    params: &GetParams,
    context: &Context,
) -> Result<Response<Version>, Error> {
    let keys = rules::keys(source)?;
    let version = version.with_tag(source.usual_tag());
    let digest = version.checked_digest()?;
    let sources = source.sources(context).await?.patient(Policy::of_a_build());
    let origin = sources.origin().repository();
    let pinned = Pinned { repository: origin.given().to_owned(), digest };
    let reference = format!("{}/{}:{}", origin.host(), origin.path(), version.tag);
    let job = Job { source, keys, tag: &version.tag, pinned: &pinned, reference, params, context };
    let metadata = sources.ask(async |client| job.run(client).await, |_| true).await?;
    Ok(Response { version, metadata })
}

/// One get of one version from one registry.
struct Job<'a> {
    source: &'a Source,
    /// Whose signatures count; none where the version needs no signature.
    keys: Vec<PublicKey>,
    tag: &'a str,
    pinned: &'a Pinned,
    /// What the image is called, in full.
    reference: String,
    params: &'a GetParams,
    context: &'a Context,
}

impl Job<'_> {
    async fn run(&self, client: &Client) -> Result<Vec<Field>, Error> {
        let stage = Stage::open(&self.context.directory)?;
        let platform = self.params.platform(self.source).cloned().unwrap_or_else(Platform::here);
        let found = Found::fetch(client, self.pinned, &platform).await?;
        self.verify(client).await?;
        let config = self.config(client, &found).await?;
        let tags = self.tags(client).await?;
        if let Some(format) = self.params.content() {
            self.content(client, (&found, config.as_deref()), format, &stage).await?;
        }
        let names = [
            ("tag", self.tag.to_owned()),
            ("digest", self.pinned.digest.to_string()),
            ("repository", self.pinned.repository.clone()),
            ("image", self.pinned.to_string()),
            ("image.json", about::image(self.pinned, self.tag, &tags, &found, config.as_deref())),
        ];
        for (name, text) in names {
            stage.write(name, text.as_bytes())?;
        }
        if let (Some(format), Some(config)) = (self.params.content(), &config) {
            for (name, text) in about::files(format, config) {
                stage.write(name, text.as_bytes())?;
            }
        }
        stage.commit()?;
        self.tell(config.is_some());
        let described = config.as_deref().and_then(|config| Config::read(config).ok());
        let annotations = found.image().map(|image| &image.parts.annotations);
        let extra = metadata::matching(self.source, described.as_ref(), annotations);
        Ok(metadata::fields(self.tag, self.pinned, extra, described.as_ref()))
    }

    async fn verify(&self, client: &Client) -> Result<(), Error> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let verdict = verify::signature(client, &self.pinned.digest, &self.keys).await?;
        verdict.map_err(|why| Error::Unverified { image: self.pinned.clone(), why })?;
        self.context.log.line(format_args!("{} is signed by one of the keys", self.pinned));
        Ok(())
    }

    /// Reads the image's config. Beside names alone it is a courtesy: an image without one (a chart,
    /// an artifact) and a registry that balks at it do not fail a get whose files are right.
    async fn config(&self, client: &Client, found: &Found) -> Result<Option<Vec<u8>>, Error> {
        let is_needed = self.params.content().is_some_and(|format| format != Format::OciLayout);
        let Some(image) = found.image() else {
            return if is_needed { Err(found.no_image(self.pinned)) } else { self.without_image(found) };
        };
        match client.content(&image.parts.config.digest, image.parts.config.size).await {
            Ok(config) => Ok(Some(config)),
            Err(error) if is_needed => Err(error.into()),
            Err(error) => {
                let line = format_args!("warning: no metadata from the image's config: {error}");
                self.context.log.line(line);
                Ok(None)
            }
        }
    }

    /// Decides what it means that there are names and no image behind them. Whoever names a platform
    /// means its image; where the step runs may be beside the point.
    fn without_image(&self, found: &Found) -> Result<Option<Vec<u8>>, Error> {
        if !found.lacks_platform() {
            return Ok(None);
        }
        let error = found.no_image(self.pinned);
        if self.params.content().is_none() && self.params.platform(self.source).is_some() {
            return Err(error);
        }
        self.context.log.line(format_args!("warning: no metadata from the image's config: {error}"));
        Ok(None)
    }

    async fn tags(&self, client: &Client) -> Result<Vec<String>, Error> {
        if !self.params.all_tags {
            return Ok(vec![self.tag.to_owned()]);
        }
        tags::of(client, &self.pinned.digest, self.tag, &self.context.log).await
    }

    async fn content(
        &self,
        client: &Client,
        (found, config): (&Found, Option<&[u8]>),
        format: Format,
        stage: &Stage,
    ) -> Result<(), Error> {
        let log = &self.context.log;
        let image = || found.image().ok_or_else(|| found.no_image(self.pinned));
        match format {
            Format::Rootfs => rootfs::fetch(client, &image()?.parts.layers, stage, log).await,
            Format::Oci => {
                let config = config.unwrap_or_default();
                let named = tarball::Named { image: image()?, config, name: &self.reference };
                tarball::fetch(client, &named, stage, log).await
            }
            Format::OciLayout => layout::fetch(client, found, config, stage, log).await,
        }
    }

    fn tell(&self, has_config: bool) {
        let what = match self.params.content() {
            None => "is named in tag, digest, repository and image; no layer was downloaded",
            Some(Format::Rootfs) => "is in rootfs",
            Some(Format::Oci) => "is in image.tar",
            Some(Format::OciLayout) if has_config => "is in oci",
            Some(Format::OciLayout) => "is in oci, whatever it is",
        };
        self.context.log.line(format_args!("{} {what}", self.pinned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(json: &str) -> Result<GetParams, String> {
        serde_json::from_str::<GetParams>(json).map_err(|error| error.to_string())
    }

    #[test]
    fn without_params_it_is_the_files_of_the_image() {
        for json in [
            "{}",
            r#"{"format": ""}"#,
            r#"{"format": null, "skip_download": "", "platform": "", "all_tags": ""}"#,
        ] {
            assert_eq!(params(json).unwrap().content(), Some(Format::Rootfs), "{json}");
        }
        assert_eq!(params(r#"{"format": "oci-layout"}"#).unwrap().content(), Some(Format::OciLayout));
        assert_eq!(params(r#"{"format": "oci", "skip_download": true}"#).unwrap().content(), None);
    }

    #[test]
    fn format_that_is_none_is_refused_with_those_that_are() {
        let error = params(r#"{"format": "docker"}"#).unwrap_err();
        assert!(
            error.starts_with("unknown variant `docker`, expected one of `rootfs`, `oci`, `oci-layout`"),
            "{error}"
        );
    }
}
