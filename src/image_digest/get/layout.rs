//! `oci/`: an OCI layout with the bytes that the registry has. An index keeps all its images, those
//! of other platforms too: a put of the directory makes the same index again.

use std::collections::BTreeMap;
use std::path::Path;

use futures::future::{BoxFuture, FutureExt};
use serde_json::json;

use super::super::Error;
use super::download::{Order, all};
use super::found::Found;
use super::stage::Stage;
use crate::image::{Contents, Descriptor, Digest, Parts, Pinned};
use crate::log::Log;
use crate::registry::{self, Client};

/// The file that makes a directory a layout, in the words of registry-image.
const MARK: &str = "{\n    \"imageLayoutVersion\": \"1.0.0\"\n}";

/// What a media type of an image is where its manifest does not say.
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// An index in an index in an index is one too many.
const DEPTH: usize = 4;

/// Writes `oci` into the stage; `config` is that of the chosen image, where it is here already.
pub(super) async fn fetch(
    client: &Client,
    found: &Found,
    config: Option<&[u8]>,
    stage: &Stage,
    log: &Log,
) -> Result<(), Error> {
    let folder = stage.folder("oci/blobs/sha256")?;
    stage.write("oci/oci-layout", MARK.as_bytes())?;
    let mut blobs = BTreeMap::new();
    match Contents::read(&found.top.bytes) {
        Some(Contents::Index(children)) => {
            stage.write("oci/index.json", &found.top.bytes)?;
            let mut collection = Collection { client, found, stage, blobs: &mut blobs };
            collection.children(children, DEPTH).await?;
        }
        Some(Contents::Image(parts)) => {
            let digest = &found.top.digest;
            stage.write("oci/index.json", index_of(found).as_bytes())?;
            // It tells a put that the image is meant, and not the index around it.
            stage.write_with("oci/single-image-digest", digest.as_str().as_bytes(), 0o777)?;
            stage.write(&place(digest), &found.top.bytes)?;
            add(*parts, &mut blobs);
        }
        None => {
            return Err(Error::NotAnImage(Pinned {
                repository: client.repository().given().to_owned(),
                digest: found.top.digest.clone(),
            }));
        }
    }
    if let (Some(config), Some(image)) = (config, found.image())
        && blobs.remove(&image.parts.config.digest).is_some()
    {
        stage.write(&place(&image.parts.config.digest), config)?;
    }
    let order = |blob| Order { blob, path: path_in(&folder, &blob.digest), start: 0 };
    let orders: Vec<_> = blobs.values().map(order).collect();
    all(client, &orders, log).await
}

/// What is gathered on the way through an index.
struct Collection<'a> {
    client: &'a Client,
    found: &'a Found,
    stage: &'a Stage,
    blobs: &'a mut BTreeMap<Digest, Descriptor>,
}

impl Collection<'_> {
    fn children(&mut self, children: Vec<Descriptor>, depth: usize) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            for child in children {
                self.child(child, depth).await?;
            }
            Ok(())
        }
        .boxed()
    }

    async fn child(&mut self, child: Descriptor, depth: usize) -> Result<(), Error> {
        // An index that does not say what its children are has images.
        if !child.is_manifest() && !child.media_type.is_empty() {
            self.blobs.insert(child.digest.clone(), child);
            return Ok(());
        }
        if depth == 0 || self.stage.path(&place(&child.digest)).exists() {
            return Ok(());
        }
        let chosen = self.found.image().map(|image| &image.manifest);
        let manifest = match chosen.filter(|manifest| manifest.digest == child.digest) {
            Some(manifest) => Some(manifest.clone()),
            None => self.client.manifest(child.digest.as_str()).await?,
        };
        let manifest = manifest.ok_or_else(|| registry::Error::NoBlob { digest: child.digest.clone() })?;
        self.stage.write(&place(&child.digest), &manifest.bytes)?;
        match Contents::read(&manifest.bytes) {
            Some(Contents::Index(children)) => self.children(children, depth - 1).await,
            Some(Contents::Image(parts)) => {
                add(*parts, self.blobs);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn add(parts: Parts, blobs: &mut BTreeMap<Digest, Descriptor>) {
    let all = [parts.config].into_iter().chain(parts.layers);
    blobs.extend(all.map(|blob| (blob.digest.clone(), blob)));
}

/// Returns an index around a single image.
fn index_of(found: &Found) -> String {
    let said = found.image().map(|image| image.parts.media_type.as_str()).filter(|said| !said.is_empty());
    let entry = json!({
        "mediaType": said.unwrap_or(IMAGE),
        "size": found.top.bytes.len(),
        "digest": found.top.digest.as_str(),
    });
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    })
    .to_string()
}

fn place(digest: &Digest) -> String {
    format!("oci/blobs/sha256/{}", hex(digest))
}

fn path_in(folder: &Path, digest: &Digest) -> std::path::PathBuf {
    folder.join(hex(digest))
}

fn hex(digest: &Digest) -> &str {
    digest.as_str().trim_start_matches("sha256:")
}
