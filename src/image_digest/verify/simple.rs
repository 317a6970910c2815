//! cosign's simple signing: the layer is a small JSON that names the digest, and an annotation of the
//! layer has the signature of these bytes. Pure.

use serde::Deserialize;

use super::{PublicKey, Refusal, by_any};
use crate::image::Digest;

/// The media type of the layer.
pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const SIGNED: &str = "cosign container image signature";

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

    by_any(keys, payload, &[signature])?;
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
