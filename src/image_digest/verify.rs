//! The signature gate: an image is offered when one of the given keys signed its digest. cosign
//! keeps signatures in three places, which are looked at in turn: a tag named after the digest,
//! manifests that refer to it, and bundles among those. What they mean is decided in `verify/`.
//!
//! Only keys are trusted: no certificates, no transparency log, nothing is fetched from elsewhere.

use crate::image::Digest;
use crate::registry::{Client, Error};

mod bundle;
mod key;
mod simple;

pub(super) use key::PublicKey;

/// So many signatures of one image are looked at: whoever may push can add any number.
const MOST_SIGNATURES: usize = 32;

/// The artifact types of signatures that refer to an image.
const SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// Looks for a signature of `digest` by one of `keys`; the inner error says why none counts.
pub(super) async fn signature(
    client: &Client,
    digest: &Digest,
    keys: &[PublicKey],
) -> Result<Result<(), String>, Error> {
    let mut findings = Findings::default();
    let tag = format!("{}.sig", digest.as_str().replace(':', "-"));
    if let Some(manifest) = client.manifest(&tag).await? {
        let layers = simple::layers(&manifest.bytes);
        if findings.look(client, digest, keys, &layers).await? {
            return Ok(Ok(()));
        }
    }
    let counts = |kind: &str| kind == SIGNATURE || kind.starts_with(BUNDLE);
    let referrers = client.referrers(digest).await?.into_iter().filter(|it| counts(&it.artifact_type));
    for referrer in referrers.take(MOST_SIGNATURES) {
        let is_bundle = referrer.artifact_type.starts_with(BUNDLE);
        let Some(manifest) = client.manifest(referrer.digest.as_str()).await? else { continue };
        let layers =
            if is_bundle { bundle::layers(&manifest.bytes) } else { simple::layers(&manifest.bytes) };
        if findings.look(client, digest, keys, &layers).await? {
            return Ok(Ok(()));
        }
    }
    Ok(Err(findings.verdict()))
}

/// A layer that may be a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layer {
    blob: Digest,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The signed text is the layer, the signature beside it.
    Simple { signature: Vec<u8> },
    /// Both are in the layer.
    Bundle,
}

/// What was seen on the way, for the words when nothing counted.
#[derive(Default)]
struct Findings {
    seen: usize,
    /// The most telling reason so far.
    reason: Option<Refusal>,
}

/// Why a signature does not count; the later, the nearer it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    Malformed(String),
    OtherKey,
    OtherKind(String),
    OtherImage(String),
}

impl Findings {
    /// Returns whether one of the layers is a signature that counts.
    async fn look(
        &mut self,
        client: &Client,
        digest: &Digest,
        keys: &[PublicKey],
        layers: &[Layer],
    ) -> Result<bool, Error> {
        for layer in layers {
            if self.seen == MOST_SIGNATURES {
                return Ok(false);
            }
            self.seen += 1;
            let Some(blob) = client.small_blob(&layer.blob).await? else { continue };
            let judged = match &layer.kind {
                Kind::Simple { signature } => simple::judge(&blob, signature, digest, keys),
                Kind::Bundle => bundle::judge(&blob, digest, keys),
            };
            match judged {
                Ok(()) => return Ok(true),
                Err(refusal) => self.reason = self.reason.take().max(Some(refusal)),
            }
        }
        Ok(false)
    }

    fn verdict(self) -> String {
        match (self.reason, self.seen) {
            (None, 0) => "it has no signature".to_owned(),
            (None, _) => "its signatures are gone from the registry".to_owned(),
            (Some(Refusal::Malformed(problem)), _) => format!("its signature cannot be read: {problem}"),
            (Some(Refusal::OtherKey), 1) => "its signature is not by any of the keys".to_owned(),
            (Some(Refusal::OtherKey), seen) => format!("none of its {seen} signatures is by any of the keys"),
            (Some(Refusal::OtherKind(kind)), _) => format!("a key signed `{kind}` and not an image"),
            (Some(Refusal::OtherImage(image)), _) => format!("its signature is of another image, `{image}`"),
        }
    }
}

fn is_by_any(keys: &[PublicKey], message: &[u8], signature: &[u8]) -> bool {
    keys.iter().any(|key| key.verifies(message, signature))
}

#[cfg(test)]
mod tests;
