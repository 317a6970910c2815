//! Signatures made here, by keys made here, as cosign writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SigningKey};
use serde_json::{Value, json};

use super::*;

fn digest(character: char) -> Digest {
    format!("sha256:{}", character.to_string().repeat(64)).parse().unwrap()
}

/// A key on P-256, cosign's own choice.
fn signer() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn public(signer: &KeyPair) -> Vec<PublicKey> {
    vec![PublicKey::from_pem(&signer.public_key_pem()).unwrap()]
}

fn payload(digest: &Digest) -> Vec<u8> {
    json!({
        "critical": {
            "identity": {"docker-reference": "registry.example.com/app"},
            "image": {"docker-manifest-digest": digest.as_str()},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string()
    .into_bytes()
}

fn bundle(signer: &KeyPair, kind: &str, statement: &Value) -> Vec<u8> {
    let statement = statement.to_string().into_bytes();
    let signature = signer.sign(&bundle::encoded(kind, &statement)).unwrap();
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "x"}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(&statement),
            "payloadType": kind,
            "signatures": [{"sig": STANDARD.encode(signature), "keyid": ""}],
        },
    })
    .to_string()
    .into_bytes()
}

fn statement(digest: &Digest, predicate: &str) -> Value {
    let hex = digest.as_str().trim_start_matches("sha256:");
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "", "digest": {"sha256": hex}}],
        "predicateType": predicate,
        "predicate": {},
    })
}

const IN_TOTO: &str = "application/vnd.in-toto+json";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

#[test]
fn signature_counts_for_the_signed_image_and_its_key_alone() {
    let (signer, other) = (signer(), signer());
    let payload = payload(&digest('a'));
    let signature = signer.sign(&payload).unwrap();
    let judge = |keys: &[PublicKey], image: char, payload: &[u8], signature: &[u8]| {
        simple::judge(payload, signature, &digest(image), keys)
    };
    assert_eq!(judge(&public(&signer), 'a', &payload, &signature), Ok(()));
    let both = [public(&other), public(&signer)].concat();
    assert_eq!(judge(&both, 'a', &payload, &signature), Ok(()));
    assert_eq!(judge(&public(&other), 'a', &payload, &signature), Err(Refusal::OtherKey));
    assert_eq!(
        judge(&public(&signer), 'b', &payload, &signature),
        Err(Refusal::OtherImage(digest('a').to_string()))
    );
    let mut changed = payload.clone();
    changed[20] ^= 1;
    assert_eq!(judge(&public(&signer), 'a', &changed, &signature), Err(Refusal::OtherKey));
    assert_eq!(judge(&public(&signer), 'a', &payload, &[]), Err(Refusal::OtherKey));
}

#[test]
fn other_kinds_of_keys_verify_too() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
        let signer = KeyPair::generate_for(algorithm).unwrap();
        let payload = payload(&digest('a'));
        let signature = signer.sign(&payload).unwrap();
        assert_eq!(simple::judge(&payload, &signature, &digest('a'), &public(&signer)), Ok(()));
    }
    // cosign hashes with SHA-256 whatever the curve, which this signer does not.
    assert_eq!(public(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()).len(), 1);
}

#[test]
fn signed_text_that_is_no_signature_of_an_image_does_not_count() {
    let signer = signer();
    let keys = public(&signer);
    for (text, refusal) in [
        (r#"{"critical": {"image": {"docker-manifest-digest": "x"}, "type": "receipt"}}"#, "receipt"),
        ("hello", "expected value"),
        ("{}", "missing field `critical`"),
    ] {
        let signature = signer.sign(text.as_bytes()).unwrap();
        let error = simple::judge(text.as_bytes(), &signature, &digest('a'), &keys).unwrap_err();
        assert!(format!("{error:?}").contains(refusal), "{text}: {error:?}");
    }
}

#[test]
fn bundle_counts_when_its_statement_is_a_signature_of_the_image() {
    let signer = signer();
    let keys = public(&signer);
    let judge = |kind: &str, statement: &Value, image: char| {
        bundle::judge(&bundle(&signer, kind, statement), &digest(image), &keys)
    };
    let signed = statement(&digest('a'), SIGN);
    assert_eq!(judge(IN_TOTO, &signed, 'a'), Ok(()));
    assert_eq!(judge(IN_TOTO, &signed, 'b'), Err(Refusal::OtherImage(digest('a').to_string())));
    let attested = statement(&digest('a'), "https://spdx.dev/Document");
    assert_eq!(
        judge(IN_TOTO, &attested, 'a'),
        Err(Refusal::OtherKind("https://spdx.dev/Document".to_owned()))
    );
    assert_eq!(judge("text/plain", &signed, 'a'), Err(Refusal::OtherKind("text/plain".to_owned())));
    let others = bundle::judge(&bundle(&super::tests::signer(), IN_TOTO, &signed), &digest('a'), &keys);
    assert_eq!(others, Err(Refusal::OtherKey));
    assert!(matches!(bundle::judge(b"{}", &digest('a'), &keys), Err(Refusal::Malformed(_))));
}

#[test]
fn signatures_are_found_in_manifests_and_other_layers_are_not() {
    let layer = |media_type: &str, annotations: Value| json!({"mediaType": media_type, "digest": digest('c').as_str(), "size": 1, "annotations": annotations});
    let simple = "application/vnd.dev.cosign.simplesigning.v1+json";
    let manifest = json!({"layers": [
        layer(simple, json!({"dev.cosignproject.cosign/signature": "AAEC"})),
        layer(simple, json!({"dev.cosignproject.cosign/signature": "not base64"})),
        layer(simple, json!({})),
        layer("text/plain", json!({"dev.cosignproject.cosign/signature": "AAEC"})),
    ]});
    let kind = Kind::Simple { signature: vec![0, 1, 2] };
    assert_eq!(simple::layers(manifest.to_string().as_bytes()), [Layer { blob: digest('c'), kind }]);
    let manifest = json!({"layers": [layer("application/vnd.dev.sigstore.bundle.v0.3+json", json!({}))]});
    assert_eq!(bundle::layers(manifest.to_string().as_bytes()).len(), 1);
    assert!(simple::layers(b"x").is_empty() && bundle::layers(b"{\"layers\": 1}").is_empty());
}

#[test]
fn nearest_miss_is_the_one_that_is_told() {
    let told = |reasons: &[Refusal]| {
        let mut findings = Findings { seen: reasons.len(), reason: None };
        for reason in reasons {
            findings.reason = findings.reason.take().max(Some(reason.clone()));
        }
        findings.verdict()
    };
    let other = Refusal::OtherImage("sha256:x".to_owned());
    assert_eq!(told(&[]), "it has no signature");
    assert_eq!(told(&[Refusal::OtherKey]), "its signature is not by any of the keys");
    assert_eq!(
        told(&[Refusal::OtherKey, Refusal::OtherKey]),
        "none of its 2 signatures is by any of the keys"
    );
    assert_eq!(told(&[other, Refusal::OtherKey]), "its signature is of another image, `sha256:x`");
}
