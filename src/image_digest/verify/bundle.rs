//! Sigstore bundles: the layer is a JSON with a DSSE envelope around an in-toto statement, whose
//! subject is the digest. Only statements that are signatures count: an SBOM that the same key
//! attested to does not make an image signed. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{PublicKey, Refusal, by_any};
use crate::image::Digest;

const STATEMENT: &str = "application/vnd.in-toto+json";
/// The predicate of a statement that is a signature.
pub(super) const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// Judges one bundle. What it says is read only after it is known who said it.
pub(super) fn judge(bundle: &[u8], digest: &Digest, keys: &[PublicKey]) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bundle {
        dsse_envelope: Envelope,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Envelope {
        payload: String,
        payload_type: String,
        signatures: Vec<Signature>,
    }
    #[derive(Deserialize)]
    struct Signature {
        sig: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Statement {
        subject: Vec<Subject>,
        predicate_type: String,
    }
    #[derive(Deserialize)]
    struct Subject {
        digest: BTreeMap<String, String>,
    }

    let malformed = |error: &dyn std::fmt::Display| Refusal::Malformed(error.to_string());
    let Bundle { dsse_envelope: envelope } =
        serde_json::from_slice(bundle).map_err(|error| malformed(&error))?;
    let payload = STANDARD.decode(&envelope.payload).map_err(|error| malformed(&error))?;
    let message = encoded(&envelope.payload_type, &payload);
    let decoded = envelope.signatures.iter().filter_map(|signature| STANDARD.decode(&signature.sig).ok());
    by_any(keys, &message, &decoded.collect::<Vec<_>>())?;
    if envelope.payload_type != STATEMENT {
        return Err(Refusal::OtherKind(envelope.payload_type));
    }
    let statement: Statement = serde_json::from_slice(&payload).map_err(|error| malformed(&error))?;
    if statement.predicate_type != SIGNED {
        return Err(Refusal::OtherKind(statement.predicate_type));
    }
    let wanted = digest.as_str().trim_start_matches("sha256:");
    let named = |subject: &Subject| subject.digest.get("sha256").cloned();
    let subjects: Vec<String> = statement.subject.iter().filter_map(named).collect();
    if subjects.iter().any(|subject| subject == wanted) {
        return Ok(());
    }
    let other = subjects.first().map_or_else(|| "nothing".to_owned(), |hex| format!("sha256:{hex}"));
    Err(Refusal::OtherImage(other))
}

/// What DSSE signs: type and payload with their lengths, so that neither can pass for the other.
pub(super) fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}
