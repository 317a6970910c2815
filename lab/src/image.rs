//! OCI images without a daemon: layers, config and manifest from values, byte for byte the same each time.
//! Writing them to an archive is in `archive`, pushing them in `push`, the sample application in `sample`.

mod archive;
pub mod cli;
mod layer;
mod push;
mod sample;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use self::layer::{Entry, Layer};
pub use self::push::{Credentials, Registry};
pub use self::sample::{SampleApp, sample_app};

/// The media type of the manifests written here.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of the indexes written here.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Reproducible builds have no clock; this is the time that Cloud Native Buildpacks write.
const CREATED: &str = "1980-01-01T00:00:01Z";

/// What an image is made of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// The command that the container runs.
    pub entrypoint: Vec<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Labels of the config.
    pub labels: BTreeMap<String, String>,
    /// `UID` or `UID:GID`; root where empty.
    pub user: String,
    /// The processor that it is for, as Go calls it; amd64 where empty.
    pub architecture: String,
}

/// An assembled image.
#[derive(Clone, Debug)]
pub struct Image {
    architecture: String,
    layers: Vec<Layer>,
    config: Blob,
    manifest: Blob,
    index: Option<Blob>,
}

/// Bytes with their digest and media type.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What the bytes are.
    pub media_type: &'static str,
    /// `sha256:…` of the bytes.
    pub digest: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { media_type, digest: sha256(&bytes), bytes }
    }

    fn json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, value.to_string().into_bytes())
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

impl Image {
    /// Assembles an image for linux.
    pub fn new(parts: Parts) -> Self {
        let architecture = if parts.architecture.is_empty() { "amd64" } else { &parts.architecture };
        let history: Vec<Value> = parts
            .layers
            .iter()
            .map(|layer| json!({ "created": CREATED, "created_by": layer.name() }))
            .collect();
        let diff_ids: Vec<&str> = parts.layers.iter().map(Layer::diff_id).collect();
        let environment: Vec<String> =
            parts.environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let config = Blob::json(
            CONFIG,
            &json!({
                "created": CREATED,
                "architecture": architecture,
                "os": "linux",
                "config": {
                    "User": parts.user,
                    "Env": environment,
                    "Entrypoint": parts.entrypoint,
                    "Labels": parts.labels,
                    "WorkingDir": "/",
                },
                "rootfs": { "type": "layers", "diff_ids": diff_ids },
                "history": history,
            }),
        );
        let layers: Vec<Value> = parts.layers.iter().map(|layer| layer.blob().descriptor()).collect();
        let manifest = Blob::json(
            MANIFEST,
            &json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": layers }),
        );
        let architecture = architecture.to_owned();
        Self { architecture, layers: parts.layers, config, manifest, index: None }
    }

    /// Wraps the image in an index, as multi-platform builds publish; the digest is then the index's.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        let mut descriptor = self.manifest.descriptor();
        descriptor["platform"] = json!({ "architecture": self.architecture, "os": "linux" });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
        self.index = Some(Blob::json(INDEX, &index));
        self
    }

    /// Returns the digest that names the image: the index's where there is one, else the manifest's.
    pub fn digest(&self) -> &str {
        &self.top().digest
    }

    /// Returns the manifest's digest.
    pub fn manifest_digest(&self) -> &str {
        &self.manifest.digest
    }

    /// Returns the digest of the config, which some runtimes report as the image's id.
    pub fn config_digest(&self) -> &str {
        &self.config.digest
    }

    /// Returns the layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the config as it is stored.
    ///
    /// # Errors
    /// Never for an image made here; the config is JSON.
    pub fn config(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.config.bytes).context("the image's config is not JSON")
    }

    fn top(&self) -> &Blob {
        self.index.as_ref().unwrap_or(&self.manifest)
    }

    /// Returns the config and the layers, each once.
    fn content(&self) -> Vec<&Blob> {
        let mut blobs: BTreeMap<&str, &Blob> = BTreeMap::new();
        blobs.insert(&self.config.digest, &self.config);
        blobs.extend(self.layers.iter().map(|layer| (layer.blob().digest.as_str(), layer.blob())));
        blobs.into_values().collect()
    }
}

/// Returns `sha256:…` of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
