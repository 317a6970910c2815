//! What in a manifest may be a signature: which blobs, and what they are. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::{BUNDLE, Refusal, bundle, simple};
use crate::image::Digest;

/// The annotation in which cosign says what is in a bundle.
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";

/// A layer that may be a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) blob: Digest,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The signed text is the layer, the signature beside it.
    Simple { signature: Vec<u8> },
    /// Both are in the layer.
    Bundle,
}

type Annotations = Option<BTreeMap<String, String>>;

#[derive(Deserialize)]
struct Manifest {
    /// One that is malformed does not hide the others.
    layers: Vec<Value>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    #[serde(default)]
    annotations: Annotations,
}

/// Returns what may be signatures in a manifest, the newest first: cosign appends. A manifest that
/// says of itself that it is an attestation is none, which is believed, as it can only cost it the trust.
pub(super) fn read(manifest: &[u8]) -> Result<Vec<Layer>, Refusal> {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else { return Ok(Vec::new()) };
    match manifest.annotations.and_then(|mut annotations| annotations.remove(PREDICATE)) {
        Some(predicate) if predicate != bundle::SIGNED => return Err(Refusal::Attestation(predicate)),
        _ => {}
    }
    let layers = manifest.layers.iter().rev().filter_map(|layer| Descriptor::deserialize(layer).ok());
    Ok(layers.filter_map(layer).collect())
}

fn layer(descriptor: Descriptor) -> Option<Layer> {
    let kind = if descriptor.media_type.starts_with(BUNDLE) {
        Kind::Bundle
    } else if descriptor.media_type == simple::MEDIA_TYPE {
        let annotations = descriptor.annotations?;
        Kind::Simple { signature: STANDARD.decode(annotations.get(simple::SIGNATURE)?.trim()).ok()? }
    } else {
        return None;
    };
    Some(Layer { blob: descriptor.digest, kind })
}
