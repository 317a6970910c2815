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
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let signer = KeyPair::generate_for(algorithm).unwrap();
        let payload = payload(&digest('a'));
        let signature = signer.sign(&payload).unwrap();
        assert_eq!(simple::judge(&payload, &signature, &digest('a'), &public(&signer)), Ok(()));
    }
}

#[test]
fn signature_that_may_be_an_ed25519_keys_in_another_way_is_told_apart() {
    let signer = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let judge = |signature: &[u8], keys: &[PublicKey]| {
        simple::judge(&payload(&digest('a')), signature, &digest('a'), keys)
    };
    assert_eq!(judge(&[7; 64], &public(&signer)), Err(Refusal::Prehashed));
    assert_eq!(judge(&[7; 63], &public(&signer)), Err(Refusal::OtherKey));
    assert_eq!(judge(&[7; 64], &public(&super::tests::signer())), Err(Refusal::OtherKey));
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
fn signatures_are_found_in_manifests_the_newest_first_and_other_layers_are_not() {
    let layer = |media_type: &str, digest: Digest, annotations: Value| json!({"mediaType": media_type, "digest": digest.as_str(), "size": 1, "annotations": annotations});
    let simple = "application/vnd.dev.cosign.simplesigning.v1+json";
    let signature = |text: &str| json!({"dev.cosignproject.cosign/signature": text});
    let manifest = json!({"layers": [
        layer(simple, digest('c'), signature("AAEC")),
        layer(simple, digest('c'), signature("not base64")),
        layer(simple, digest('c'), json!(null)),
        layer("text/plain", digest('c'), signature("AAEC")),
        {"mediaType": simple, "digest": "md5:1"},
        1,
        layer("application/vnd.dev.sigstore.bundle.v0.3+json", digest('d'), json!({})),
    ], "annotations": null});
    let kind = Kind::Simple { signature: vec![0, 1, 2] };
    let bundle = Layer { blob: digest('d'), kind: Kind::Bundle };
    let found = [bundle, Layer { blob: digest('c'), kind }];
    assert_eq!(layers::read(manifest.to_string().as_bytes()), Ok(found.to_vec()));
    for other in [&b"x"[..], b"{}", b"{\"layers\": 1}", b"{\"layers\": []}"] {
        assert_eq!(layers::read(other), Ok(Vec::new()));
    }
}

#[test]
fn manifest_that_says_that_it_is_an_attestation_has_no_signature() {
    let says = |predicate: &str| {
        let annotations = json!({"dev.sigstore.bundle.predicateType": predicate});
        layers::read(json!({"layers": [], "annotations": annotations}).to_string().as_bytes())
    };
    assert_eq!(says(SIGN), Ok(Vec::new()));
    assert_eq!(
        says("https://slsa.dev/provenance/v1"),
        Err(Refusal::Attestation("https://slsa.dev/provenance/v1".to_owned()))
    );
}

#[test]
fn referrers_listed_as_signatures_are_looked_at_before_those_of_no_kind_and_others_never() {
    let referrer =
        |character: char, kind: &str| Referrer { digest: digest(character), artifact_type: kind.to_owned() };
    let listed = vec![
        referrer('a', ""),
        referrer('b', "application/spdx+json"),
        referrer('c', "application/vnd.oci.empty.v1+json"),
        referrer('d', "application/vnd.dev.sigstore.bundle.v0.3+json"),
        referrer('e', "application/vnd.dev.cosign.artifact.sig.v1+json"),
    ];
    let looked: Vec<Digest> = candidates(listed).collect();
    assert_eq!(looked, ['d', 'e', 'a', 'c'].map(digest));
    let many = vec![referrer('a', ""); 1_000];
    assert_eq!(candidates(many).count(), MOST_REFERRERS);
}

#[test]
fn nearest_miss_is_the_one_that_is_told() {
    let told = |reasons: &[Refusal]| {
        let mut findings = Findings { seen: reasons.len(), reason: None };
        for reason in reasons {
            findings.add(reason.clone());
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
    let attestation = Refusal::Attestation("a\u{1b}b".to_owned());
    assert_eq!(told(&[attestation]), "it has no signature, only an attestation, `a\\u{1b}b`");
    assert!(told(&[Refusal::OtherKey, Refusal::Prehashed]).contains("Ed25519ph"));
    assert_eq!(
        told(&[const { Refusal::OtherKey }; MOST_SIGNATURES]),
        "none of its 32 signatures is by any of the keys (no more than 32 are looked at)"
    );
}
