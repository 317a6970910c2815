//! The signature gate: an image counts when one of the given keys signed its digest. cosign keeps
//! signatures in three places, which are looked at in turn: a tag named after the digest, manifests
//! that refer to it, and bundles among those. What they mean is decided in `verify/`.
//!
//! Only keys are trusted: no certificates, no transparency log, nothing is fetched from elsewhere.

use crate::failure::chain;
use crate::image::Digest;
use crate::registry::{Client, Error, Referrer};

mod bundle;
mod key;
mod layers;
mod pem;
mod simple;

pub(super) use key::{PublicKey, Unusable};

use layers::{Kind, Layer};

/// So many signatures of one image are looked at: whoever may push can add any number.
const MOST_SIGNATURES: usize = 32;

/// So many things that refer to an image are looked at for signatures among them: attestations look
/// the same from outside, and every scan may add one.
const MOST_REFERRERS: usize = 256;

/// The artifact types of signatures that refer to an image.
const SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// What registries list that do not look into a manifest for its type, or only at its config.
const UNTOLD: [&str; 3] =
    ["", "application/vnd.oci.empty.v1+json", "application/vnd.oci.image.config.v1+json"];

/// Looks for a signature of `digest` by one of `keys`; the inner error says why none counts.
pub(super) async fn signature(
    client: &Client,
    digest: &Digest,
    keys: &[PublicKey],
) -> Result<Result<(), String>, Error> {
    let mut search = Search { client, digest, keys, findings: Findings::default() };
    let tag = format!("{}.sig", digest.as_str().replace(':', "-"));
    if search.look(&tag).await? {
        return Ok(Ok(()));
    }
    for referrer in candidates(client.referrers(digest).await?) {
        if search.look(referrer.as_str()).await? {
            return Ok(Ok(()));
        }
    }
    Ok(Err(search.findings.verdict()))
}

/// Returns the referrers that may be signatures, first those that are listed as such.
fn candidates(referrers: Vec<Referrer>) -> impl Iterator<Item = Digest> {
    let is_told = |it: &Referrer| it.artifact_type == SIGNATURE || it.artifact_type.starts_with(BUNDLE);
    let (told, others): (Vec<_>, Vec<_>) = referrers.into_iter().partition(is_told);
    let untold = others.into_iter().filter(|it| UNTOLD.contains(&it.artifact_type.as_str()));
    told.into_iter().chain(untold).map(|it| it.digest).take(MOST_REFERRERS)
}

/// A search for one signature that counts.
struct Search<'a> {
    client: &'a Client,
    digest: &'a Digest,
    keys: &'a [PublicKey],
    findings: Findings,
}

impl Search<'_> {
    /// Returns whether a signature that counts is in this manifest.
    async fn look(&mut self, manifest: &str) -> Result<bool, Error> {
        let manifest = self.client.manifest(manifest).await;
        let Some(manifest) = self.served(manifest)? else { return Ok(false) };
        let layers = match layers::read(&manifest.bytes) {
            Ok(layers) => layers,
            Err(refusal) => {
                self.findings.add(refusal);
                return Ok(false);
            }
        };
        for layer in &layers {
            if self.findings.seen == MOST_SIGNATURES {
                return Ok(false);
            }
            self.findings.seen += 1;
            let blob = self.client.small_blob(&layer.blob).await;
            let Some(blob) = self.served(blob)? else { continue };
            match self.judge(layer, &blob) {
                Ok(()) => return Ok(true),
                Err(refusal) => self.findings.add(refusal),
            }
        }
        Ok(false)
    }

    /// What is served wrong, or is too big to be a signature, must not hide those beside it.
    fn served<T>(&mut self, answer: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
        match answer {
            Err(error @ (Error::Malformed { .. } | Error::Mismatch { .. })) => {
                self.findings.add(Refusal::Malformed(chain(&error)));
                Ok(None)
            }
            answer => answer,
        }
    }

    fn judge(&self, layer: &Layer, blob: &[u8]) -> Result<(), Refusal> {
        match &layer.kind {
            Kind::Simple { signature } => simple::judge(blob, signature, self.digest, self.keys),
            Kind::Bundle => bundle::judge(blob, self.digest, self.keys),
        }
    }
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
    Attestation(String),
    Malformed(String),
    OtherKey,
    /// It may be by one of the keys, in a way that cannot be verified.
    Prehashed,
    OtherKind(String),
    OtherImage(String),
}

impl Findings {
    fn add(&mut self, refusal: Refusal) {
        self.reason = self.reason.take().max(Some(refusal));
    }

    fn verdict(self) -> String {
        let shown = |text: &str| text.escape_debug().to_string();
        let reason = match (&self.reason, self.seen) {
            (None, 0) => "it has no signature".to_owned(),
            (None, _) => "its signatures are gone from the registry".to_owned(),
            (Some(Refusal::Attestation(kind)), _) => {
                format!("it has no signature, only an attestation, `{}`", shown(kind))
            }
            (Some(Refusal::Malformed(problem)), _) => format!("its signature cannot be read: {problem}"),
            (Some(Refusal::OtherKey), 1) => "its signature is not by any of the keys".to_owned(),
            (Some(Refusal::OtherKey), seen) => format!("none of its {seen} signatures is by any of the keys"),
            (Some(Refusal::Prehashed), _) => {
                "its signature is by another Ed25519 key, or it is Ed25519ph, which cosign 3 makes and \
                 `cosign verify` does not take either: sign with a key of ECDSA on P-256"
                    .to_owned()
            }
            (Some(Refusal::OtherKind(kind)), _) => format!("a key signed `{}` and not an image", shown(kind)),
            (Some(Refusal::OtherImage(image)), _) => {
                format!("its signature is of another image, `{}`", shown(image))
            }
        };
        match self.seen {
            MOST_SIGNATURES => format!("{reason} (no more than {MOST_SIGNATURES} are looked at)"),
            _ => reason,
        }
    }
}

/// Returns why none of the signatures is by one of the keys.
fn by_any(keys: &[PublicKey], message: &[u8], signatures: &[impl AsRef<[u8]>]) -> Result<(), Refusal> {
    let any = |judge: fn(&PublicKey, &[u8], &[u8]) -> bool| {
        signatures.iter().any(|it| keys.iter().any(|key| judge(key, message, it.as_ref())))
    };
    if any(PublicKey::verifies) {
        Ok(())
    } else if any(|key, _, signature| key.may_have_prehashed(signature)) {
        Err(Refusal::Prehashed)
    } else {
        Err(Refusal::OtherKey)
    }
}

#[cfg(test)]
mod tests;
