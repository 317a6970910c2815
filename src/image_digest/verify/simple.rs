//! cosign's simple signing: the layer is a small JSON that names the digest, and an annotation of the
//! layer has the signature of these bytes. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Kind, Layer, PublicKey, Refusal, is_by_any};
use crate::image::Digest;

const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const SIGNED: &str = "cosign container image signature";

/// Returns the signatures in a manifest.
pub(super) fn layers(manifest: &[u8]) -> Vec<Layer> {
    #[derive(Deserialize)]
    struct Manifest {
        layers: Vec<Descriptor>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Descriptor {
        media_type: String,
        digest: Digest,
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }

    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else { return Vec::new() };
    let signed = manifest.layers.into_iter().filter(|layer| layer.media_type == MEDIA_TYPE);
    signed
        .filter_map(|layer| {
            let signature = STANDARD.decode(layer.annotations.get(SIGNATURE)?.trim()).ok()?;
            Some(Layer { blob: layer.digest, kind: Kind::Simple { signature } })
        })
        .collect()
}

/// Judges one signature. What it says is read only after it is known who said it.
pub(super) fn judge(
    payload: &[u8],
    signature: &[u8],
    digest: &Digest,
    keys: &[PublicKey],
) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Payload {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: Image,
        r#type: String,
    }
    #[derive(Deserialize)]
    struct Image {
        #[serde(rename = "docker-manifest-digest")]
        digest: String,
    }

    if !is_by_any(keys, payload, signature) {
        return Err(Refusal::OtherKey);
    }
    let Payload { critical } =
        serde_json::from_slice(payload).map_err(|error| Refusal::Malformed(error.to_string()))?;
    if critical.r#type != SIGNED {
        return Err(Refusal::OtherKind(critical.r#type));
    }
    if critical.image.digest != digest.as_str() {
        return Err(Refusal::OtherImage(critical.image.digest));
    }
    Ok(())
}
