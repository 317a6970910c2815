//! What `docker save` writes, and what many builders write after it: a config and layers, for which
//! the manifest is made here, to the byte as registry-image makes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Error;
use super::content::{Blob, Content, Layer, as_it_is, in_memory, to_compress};
use super::files::{Extent, Files, GZIP, ZSTD};
use super::graph::Node;
use crate::image::Digest;

/// The list of the images in a tarball.
pub(super) const LIST: &str = "manifest.json";

/// One image of the list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
    /// Layers that are not in the tarball, by the digest of what is in them.
    layer_sources: Option<BTreeMap<String, Box<RawValue>>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

/// The kinds that a manifest is made of. Docker's know no zstd.
struct Kinds {
    manifest: &'static str,
    config: &'static str,
    gzip: &'static str,
    zstd: &'static str,
}

const DOCKER: Kinds = Kinds {
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    zstd: "",
};

const OCI: Kinds = Kinds {
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Entry<'a>,
    layers: Vec<Reference<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Reference<'a> {
    Pushed(Entry<'a>),
    Elsewhere(&'a RawValue),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a Digest,
}

impl<'a> Entry<'a> {
    fn of(blob: &'a Blob, media_type: &'a str) -> Self {
        Self { media_type, size: blob.size, digest: &blob.digest }
    }
}

/// An image before its layers are looked at.
pub(super) struct Tarball {
    config: Blob,
    parts: Vec<Part>,
}

/// One layer as the list has it.
enum Part {
    Here { name: String, extent: Extent, diff: Digest },
    Elsewhere(Box<RawValue>),
}

/// One layer as the manifest has it.
pub(super) enum Seen {
    Here { blob: Blob, is_zstd: bool },
    Elsewhere(Box<RawValue>),
}

/// The work of looking at one layer: it reads all of it.
pub(super) type Look = Box<dyn FnOnce() -> Result<Seen, String> + Send>;

impl Tarball {
    /// Reads the list and the config.
    pub(super) fn open(files: &Files) -> Result<Self, Error> {
        let list: Vec<Saved> = json(files, LIST, &files.needed(LIST)?)?;
        let count = list.len();
        let mut saved = list.into_iter();
        let (Some(saved), None) = (saved.next(), saved.next()) else {
            return Err(files.bad(format!("it holds {count} images, and one is pushed")));
        };
        let config = files.needed(&saved.config)?;
        let known: Config = json(files, &saved.config, &config)?;
        let (layers, diffs) = (saved.layers.unwrap_or_default(), known.rootfs.diff_ids.unwrap_or_default());
        if layers.len() != diffs.len() {
            let (layers, diffs) = (layers.len(), diffs.len());
            let name = saved.repo_tags.unwrap_or_default().join(", ");
            let name = if name.is_empty() { String::new() } else { format!(" of `{name}`") };
            return Err(files.bad(format!("`{LIST}` has {layers} layers{name}, and its config has {diffs}")));
        }
        let mut sources = saved.layer_sources.unwrap_or_default();
        let part = |(name, diff): (String, Digest)| match sources.remove(diff.as_str()) {
            Some(elsewhere) => Ok(Part::Elsewhere(elsewhere)),
            None => match files.find(&name)? {
                Some(extent) => Ok(Part::Here { name, extent, diff }),
                None => Err(files.missing(&name)),
            },
        };
        let parts = layers.into_iter().zip(diffs).map(part).collect::<Result<_, Error>>()?;
        Ok(Self { config: in_memory(config), parts })
    }

    /// Returns its config, and what is left to be done for its layers.
    pub(super) fn looks(self) -> (Blob, Vec<Look>) {
        let look = |part| -> Look {
            match part {
                Part::Elsewhere(elsewhere) => Box::new(|| Ok(Seen::Elsewhere(elsewhere))),
                Part::Here { name, extent, diff } => {
                    Box::new(move || seen(&name, extent, &diff).map_err(|error| format!("`{name}`: {error}")))
                }
            }
        };
        (self.config, self.parts.into_iter().map(look).collect())
    }
}

fn seen(name: &str, extent: Extent, diff: &Digest) -> Result<Seen, String> {
    let words = |error: std::io::Error| error.to_string();
    let is_zstd = extent.starts_with(&ZSTD).map_err(words)?;
    if is_zstd || extent.starts_with(&GZIP).map_err(words)? {
        return Ok(Seen::Here { blob: as_it_is(extent).map_err(words)?, is_zstd });
    }
    let Layer { diff: found, blob } = to_compress(extent).map_err(words)?;
    if found != *diff {
        return Err(format!("the config says that the digest of `{name}` is `{diff}`, and it is `{found}`"));
    }
    Ok(Seen::Here { blob, is_zstd })
}

/// Makes the manifest.
pub(super) fn assembled(files: &Files, config: Blob, layers: &[Seen]) -> Result<Content, Error> {
    let is_oci = layers.iter().any(|layer| matches!(layer, Seen::Here { is_zstd: true, .. }));
    let kinds = if is_oci { OCI } else { DOCKER };
    let reference = |layer| match layer {
        &Seen::Here { ref blob, is_zstd } => {
            Reference::Pushed(Entry::of(blob, if is_zstd { kinds.zstd } else { kinds.gzip }))
        }
        Seen::Elsewhere(elsewhere) => Reference::Elsewhere(elsewhere),
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: kinds.manifest,
        config: Entry::of(&config, kinds.config),
        layers: layers.iter().map(reference).collect(),
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|error| files.bad(error.to_string()))?;
    let manifest = Node::read(bytes, kinds.manifest).map_err(|problem| files.bad(problem))?;
    let layers = layers.iter().filter_map(|layer| match layer {
        Seen::Here { blob, .. } => Some(blob.clone()),
        Seen::Elsewhere(_) => None,
    });
    let mut blobs: Vec<Blob> = Vec::new();
    for blob in std::iter::once(config.clone()).chain(layers) {
        if blobs.iter().all(|known| known.digest != blob.digest) {
            blobs.push(blob);
        }
    }
    Ok(Content { manifests: vec![manifest], blobs })
}

fn json<'a, T: Deserialize<'a>>(files: &Files, name: &str, text: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(text)
        .map_err(|error| files.bad(format!("`{name}` is not what it should be: {error}")))
}
