//! What an image must have to be offered by `image-digest check`: platforms, age, a signature.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};
use serde_json::{Value, json};

use crate::support::registry::{Fault, Registry, digest};
use crate::support::toolkit::{Outcome, Toolkit};

const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn check(registry: &Registry, keys: &Value, cursor: Option<&Value>) -> Outcome {
    let mut source = json!({"repository": registry.repository("app")});
    source.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let mut request = json!({"source": source});
    if let Some(cursor) = cursor {
        request["version"] = cursor.clone();
    }
    Toolkit::new().step("image-digest", "check", None, &request.to_string())
}

fn versions(outcome: &Outcome) -> Value {
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome.json()
}

fn signer() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn verify(signer: &KeyPair) -> Value {
    json!({"tag": "latest", "verify": {"cosign": {"keys": [signer.public_key_pem()]}}})
}

fn payload(digest: &str) -> Vec<u8> {
    let image = json!({"docker-manifest-digest": digest});
    let critical = json!({"identity": {"docker-reference": ""}, "image": image, "type": "cosign container image signature"});
    json!({"critical": critical, "optional": null}).to_string().into_bytes()
}

/// Signs `signed` and puts the signature where that of `image` belongs.
fn sign(registry: &Registry, signer: &KeyPair, image: &str, signed: &str) {
    let manifest = simple(registry, signer, signed);
    registry.manifest("app", &format!("{}.sig", image.replace(':', "-")), MANIFEST, &manifest.to_string());
}

fn simple(registry: &Registry, signer: &KeyPair, signed: &str) -> Value {
    let payload = payload(signed);
    let signature = STANDARD.encode(signer.sign(&payload).unwrap());
    let blob = registry.blob("app", payload);
    let config = registry.blob("app", b"{}".to_vec());
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": SIMPLE, "digest": blob, "size": 1,
            "annotations": {"dev.cosignproject.cosign/signature": signature}}],
    })
}

fn bundle(registry: &Registry, signer: &KeyPair, image: &str, predicate: &str) -> Value {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "predicate": {},
        "subject": [{"name": "", "digest": {"sha256": image.trim_start_matches("sha256:")}}],
    })
    .to_string();
    let kind = "application/vnd.in-toto+json";
    let message = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
    let envelope = json!({
        "payload": STANDARD.encode(&statement), "payloadType": kind,
        "signatures": [{"sig": STANDARD.encode(signer.sign(message.as_bytes()).unwrap())}],
    });
    let bundle = json!({"mediaType": BUNDLE, "verificationMaterial": {}, "dsseEnvelope": envelope});
    let blob = registry.blob("app", bundle.to_string().into_bytes());
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2},
        "layers": [{"mediaType": BUNDLE, "digest": blob, "size": 1}],
    })
}

/// Lists a manifest where registries without an API for referrers have them.
fn refer(registry: &Registry, image: &str, kind: &str, manifest: &Value) {
    refer_all(registry, image, kind, &[manifest]);
}

fn refer_all(registry: &Registry, image: &str, kind: &str, manifests: &[&Value]) {
    let listed: Vec<Value> = manifests
        .iter()
        .map(|manifest| {
            let referrer = registry.manifest("app", "referrer", MANIFEST, &manifest.to_string());
            registry.forget("app", "referrer");
            json!({"mediaType": MANIFEST, "digest": referrer, "size": 1, "artifactType": kind})
        })
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": listed});
    let tag = image.replace(':', "-");
    registry.manifest("app", &tag, "application/vnd.oci.image.index.v1+json", &index.to_string());
}

#[test]
fn signed_image_is_offered_and_an_unsigned_one_is_not() {
    let registry = Registry::plain();
    let signer = signer();
    let image = registry.image("app", "latest", &[]);
    let outcome = check(&registry, &verify(&signer), None);
    assert_eq!(versions(&outcome), json!([]));
    assert!(
        outcome.stderr.contains(":latest` (sha256:")
            && outcome.stderr.contains("it is not verified: it has no signature"),
        "{outcome}"
    );
    sign(&registry, &signer, &image, &image);
    assert_eq!(
        versions(&check(&registry, &verify(&signer), None)),
        json!([{"tag": "latest", "digest": image}])
    );
}

#[test]
fn signature_by_another_key_or_of_another_image_does_not_count() {
    let registry = Registry::plain();
    let (signer, stranger) = (signer(), signer());
    let image = registry.image("app", "latest", &[]);
    let other = registry.image("app", "other", &[("x", "y")]);
    sign(&registry, &stranger, &image, &image);
    let outcome = check(&registry, &verify(&signer), None);
    assert!(
        versions(&outcome) == json!([]) && outcome.stderr.contains("its signature is not by any of the keys"),
        "{outcome}"
    );
    sign(&registry, &signer, &image, &other);
    let outcome = check(&registry, &verify(&signer), None);
    assert!(
        versions(&outcome) == json!([]) && outcome.stderr.contains(&format!("of another image, `{other}`")),
        "{outcome}"
    );
}

#[test]
fn signatures_among_the_referrers_count_and_attestations_do_not() {
    let sign = "https://sigstore.dev/cosign/sign/v1";
    let signer = signer();
    for (kind, predicate, is_signed) in [
        ("application/vnd.dev.cosign.artifact.sig.v1+json", None, true),
        (BUNDLE, Some(sign), true),
        (BUNDLE, Some("https://spdx.dev/Document"), false),
        ("application/spdx+json", Some(sign), false),
    ] {
        let registry = Registry::plain();
        let image = registry.image("app", "latest", &[]);
        let manifest = match predicate {
            Some(predicate) => bundle(&registry, &signer, &image, predicate),
            None => simple(&registry, &signer, &image),
        };
        refer(&registry, &image, kind, &manifest);
        let outcome = check(&registry, &verify(&signer), None);
        let offered = versions(&outcome).as_array().unwrap().len();
        assert_eq!(offered, usize::from(is_signed), "{kind} {predicate:?}: {outcome}");
    }
}

#[test]
fn signature_is_found_where_the_registry_does_not_tell_its_kind() {
    let signer = signer();
    for kind in ["", "application/vnd.oci.empty.v1+json"] {
        let registry = Registry::plain();
        let image = registry.image("app", "latest", &[]);
        let manifest = bundle(&registry, &signer, &image, "https://sigstore.dev/cosign/sign/v1");
        refer(&registry, &image, kind, &manifest);
        let offered = versions(&check(&registry, &verify(&signer), None));
        assert_eq!(offered, json!([{"tag": "latest", "digest": image}]), "{kind}");
    }
}

#[test]
fn signature_on_a_later_page_of_the_referrers_is_found() {
    let registry = Registry::plain();
    let signer = signer();
    let image = registry.image("app", "latest", &[]);
    let manifest = bundle(&registry, &signer, &image, "https://sigstore.dev/cosign/sign/v1");
    let signature = registry.manifest("app", "referrer", MANIFEST, &manifest.to_string());
    registry.forget("app", "referrer");
    let page = |manifests: Value| json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    let more = ("link", "</v2/app/more-referrers>; rel=\"next\"".to_owned());
    let first = Fault::Answer(200, vec![more], page(json!([])));
    registry.fault(&format!("GET /v2/app/referrers/{image}"), first);
    let entry = json!({"mediaType": MANIFEST, "digest": signature, "size": 1, "artifactType": BUNDLE});
    registry.fault("GET /v2/app/more-referrers", Fault::Answer(200, Vec::new(), page(json!([entry]))));
    let outcome = check(&registry, &verify(&signer), None);
    assert_eq!(versions(&outcome), json!([{"tag": "latest", "digest": image}]), "{outcome}");
}

#[test]
fn attestations_that_say_so_are_not_read_and_told() {
    let registry = Registry::plain();
    let signer = signer();
    let image = registry.image("app", "latest", &[]);
    let mut manifest = bundle(&registry, &signer, &image, "https://spdx.dev/Document");
    manifest["annotations"] = json!({"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document"});
    refer(&registry, &image, BUNDLE, &manifest);
    let outcome = check(&registry, &verify(&signer), None);
    assert_eq!(versions(&outcome), json!([]));
    let reason = "it has no signature, only an attestation, `https://spdx.dev/Document`";
    assert!(outcome.stderr.contains(reason), "{outcome}");
    assert!(!registry.requests().iter().any(|line| line.contains("/blobs/")));
}

#[test]
fn what_is_too_big_or_damaged_does_not_hide_the_signature_beside_it() {
    let registry = Registry::plain();
    let signer = signer();
    let image = registry.image("app", "latest", &[]);
    let with_blob = |blob: &str| {
        let mut manifest = bundle(&registry, &signer, &image, "https://spdx.dev/Document");
        manifest["layers"][0]["digest"] = json!(blob);
        manifest
    };
    let damaged = registry.blob("app", b"{}".to_vec());
    let big = with_blob(&registry.blob("app", vec![b' '; 5 << 20]));
    let signed = bundle(&registry, &signer, &image, "https://sigstore.dev/cosign/sign/v1");
    let gone = json!({"mediaType": MANIFEST, "layers": [{"mediaType": BUNDLE, "digest": digest(b"gone")}]});
    refer_all(&registry, &image, BUNDLE, &[&big, &gone, &with_blob(&damaged)]);
    let outcome = check(&registry, &verify(&signer), None);
    assert_eq!(versions(&outcome), json!([]));
    assert!(outcome.stderr.contains("its signature cannot be read: "), "{outcome}");
    refer_all(&registry, &image, BUNDLE, &[&big, &gone, &with_blob(&damaged), &signed]);
    let offered = versions(&check(&registry, &verify(&signer), None));
    assert_eq!(offered, json!([{"tag": "latest", "digest": image}]));
}

fn get(registry: &Registry, signer: &KeyPair, digest: &str) -> Outcome {
    let mut source = verify(signer);
    source["repository"] = json!(registry.repository("app"));
    let request = json!({"source": source, "version": {"tag": "latest", "digest": digest}});
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    let outcome = toolkit.step("image-digest", "in", Some(toolkit.directory()), &request.to_string());
    let left = std::fs::read_dir(toolkit.directory()).unwrap().count();
    assert_eq!(left == 0, outcome.code != Some(0), "{outcome}");
    outcome
}

#[test]
fn pinned_version_that_is_not_signed_is_refused_before_anything_is_downloaded() {
    let registry = Registry::plain();
    let signer = signer();
    let image = registry.image("app", "latest", &[]);
    let outcome = get(&registry, &signer, &image);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let error = format!("error: `[HOST]/app@{image}` is not verified: it has no signature\nhint: ");
    assert!(outcome.stderr.starts_with(&error) && outcome.stderr.lines().count() == 2, "{outcome}");
    assert!(!registry.requests().iter().any(|line| line.contains("/blobs/")));
    sign(&registry, &signer, &image, &image);
    let outcome = get(&registry, &signer, &image);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome.stderr.contains(&format!("[HOST]/app@{image} is signed by one of the keys\n")),
        "{outcome}"
    );
    let gone = get(&registry, &signer, &format!("sha256:{}", "a".repeat(64)));
    assert!(gone.code == Some(1) && gone.stderr.contains("` is not in the registry"), "{gone}");
}

#[test]
fn version_that_concourse_has_is_not_verified_again_and_the_new_one_is() {
    let registry = Registry::plain();
    let signer = signer();
    let old = registry.image("app", "latest", &[("v", "1")]);
    let cursor = json!({"tag": "latest", "digest": old});
    assert_eq!(versions(&check(&registry, &verify(&signer), Some(&cursor))), json!([cursor]));
    assert_eq!(registry.requests().len(), 2);
    registry.image("app", "latest", &[("v", "2")]);
    assert_eq!(versions(&check(&registry, &verify(&signer), Some(&cursor))), json!([cursor]));
}

#[test]
fn unsigned_version_is_left_out_of_many() {
    let registry = Registry::plain();
    let signer = signer();
    let signed = registry.image("app", "1.0", &[("v", "1")]);
    registry.image("app", "1.1", &[("v", "2")]);
    sign(&registry, &signer, &signed, &signed);
    let keys = json!({"verify": {"cosign": {"keys": [signer.public_key_pem()]}}});
    let outcome = check(&registry, &keys, None);
    assert_eq!(versions(&outcome), json!([{"tag": "1.0", "digest": signed}]));
    assert!(outcome.stderr.contains("app:1.1` (sha256:"), "{outcome}");
}

#[test]
fn image_without_a_wanted_platform_is_not_offered() {
    let registry = Registry::plain();
    let child = registry.image("app", "child", &[]);
    registry.index("app", "1.0", &[("linux/amd64", &child)]);
    let both = registry.index("app", "1.1", &[("linux/amd64", &child), ("linux/arm64", &child)]);
    registry.image("app", "1.2", &[("v", "3")]);
    let keys = json!({"platforms": ["linux/amd64", {"architecture": "arm64/v8"}]});
    let outcome = check(&registry, &keys, None);
    assert_eq!(versions(&outcome), json!([{"tag": "1.1", "digest": both}]), "{outcome}");
    assert_eq!(outcome.stderr.matches("it has no image for linux/arm64/v8").count(), 2, "{outcome}");
}

#[test]
fn index_whose_other_platforms_changed_is_no_new_version() {
    let registry = Registry::plain();
    let (one, two) = (registry.image("app", "a", &[("v", "1")]), registry.image("app", "b", &[("v", "2")]));
    let old = registry.index("app", "1.0", &[("linux/amd64", &one), ("linux/arm64", &one)]);
    for tag in [json!({"tag": "1.0"}), json!({})] {
        let new = registry.index("app", "1.0", &[("linux/amd64", &one), ("linux/arm64", &two)]);
        let cursor = json!({"tag": "1.0", "digest": old});
        let mut keys = tag.clone();
        keys["platform"] = json!("linux/amd64");
        assert_eq!(
            versions(&check(&registry, &keys, Some(&cursor)))[0]["digest"] == json!(new),
            tag == json!({}),
            "{keys}"
        );
        keys["only_platform_changes"] = json!(true);
        assert_eq!(versions(&check(&registry, &keys, Some(&cursor))), json!([cursor]), "{keys}");
        keys["platform"] = json!("linux/arm64");
        let answer = versions(&check(&registry, &keys, Some(&cursor)));
        assert_eq!(answer.as_array().unwrap().last().unwrap()["digest"], json!(new), "{keys}");
    }
}

#[test]
fn young_image_waits_and_one_of_unknown_age_is_not_offered() {
    let registry = Registry::plain();
    registry.dated("app", "latest", "2020-01-01T00:00:00Z");
    let keys = |age: &str| json!({"tag": "latest", "minimum_age": age});
    assert_eq!(versions(&check(&registry, &keys("24h"), None)).as_array().unwrap().len(), 1);
    let outcome = check(&registry, &keys("100000d"), None);
    assert_eq!(versions(&outcome), json!([]));
    assert!(
        outcome.stderr.contains("it was built at 2020-01-01T00:00:00Z, and minimum_age is reached at 2293-"),
        "{outcome}"
    );
    registry.dated("app", "latest", "1980-01-01T00:00:01Z");
    let outcome = check(&registry, &keys("1h"), None);
    assert!(
        versions(&outcome) == json!([]) && outcome.stderr.contains("as reproducible builds do"),
        "{outcome}"
    );
    registry.image("app", "b7.20200101.000000", &[]);
    let kpack = json!({"order": "kpack", "minimum_age": "1h"});
    assert_eq!(versions(&check(&registry, &kpack, None)).as_array().unwrap().len(), 1);
}

/// Stores what is no image, under a tag like an image's: its config is not even a text.
fn artifact(registry: &Registry, tag: &str) {
    let config = registry.blob("app", vec![0xff, 0xfe, 0]);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
        "config": {"mediaType": "application/vnd.example", "digest": config, "size": 3},
    });
    registry.manifest("app", tag, MANIFEST, &manifest.to_string());
}

#[test]
fn tag_that_is_no_image_does_not_stop_the_others_at_a_gate() {
    for (keys, reason) in [
        (json!({"platforms": ["linux/amd64"]}), "it has no image for linux/amd64"),
        (json!({"minimum_age": "1h"}), "its age is not known: it does not say when it was built"),
    ] {
        let registry = Registry::plain();
        registry.dated("app", "1.0.0", "2020-01-01T00:00:00Z");
        artifact(&registry, "1.1.0");
        let outcome = check(&registry, &keys, None);
        assert_eq!(versions(&outcome).as_array().unwrap().len(), 1, "{outcome}");
        assert!(outcome.stderr.contains(":1.1.0` (sha256:") && outcome.stderr.contains(reason), "{outcome}");
    }
}

#[test]
fn image_that_the_registry_cannot_serve_at_a_gate_stays_out_and_the_others_do_not() {
    let gate = json!({"platforms": ["linux/amd64"]});
    let by_age = json!({"tag_regex": "^1", "created_at_sort": true});
    for keys in [&gate, &by_age] {
        let registry = Registry::plain();
        registry.dated("app", "1.0", "2020-01-01T00:00:00Z");
        let broken = registry.dated("app", "1.1", "2021-01-01T00:00:00Z");
        registry.dated("app", "1.2", "2022-01-01T00:00:00Z");
        registry.fault(&format!("GET /v2/app/manifests/{broken}"), Fault::status(422));
        let outcome = check(&registry, keys, None);
        let tags: Vec<_> =
            versions(&outcome).as_array().unwrap().iter().map(|version| version["tag"].clone()).collect();
        assert_eq!(tags, ["1.0", "1.2"], "{keys}: {outcome}");
        let words = "the registry cannot say what it is: GET";
        assert!(outcome.stderr.contains(":1.1` (sha256:") && outcome.stderr.contains(words), "{outcome}");
    }
}

#[test]
fn registry_that_serves_no_image_to_a_gate_is_an_error() {
    let all = json!({"platforms": ["linux/amd64"]});
    let one = json!({"platforms": ["linux/amd64"], "tag": "1.0"});
    let by_age = json!({"tag_regex": "^1", "created_at_sort": true});
    for keys in [&all, &one, &by_age] {
        let registry = Registry::plain();
        for tag in ["1.0", "1.1"] {
            let digest = registry.image("app", tag, &[("tag", tag)]);
            registry.fault(&format!("GET /v2/app/manifests/{digest}"), Fault::status(422));
        }
        let outcome = check(&registry, keys, None);
        assert_eq!(outcome.code, Some(1), "{keys}: {outcome}");
        assert!(outcome.stderr.contains("error: failed to look up `"), "{keys}: {outcome}");
        assert!(outcome.stderr.contains(": 422"), "{keys}: {outcome}");
    }
    // What is not about one image is an error as it was.
    let registry = Registry::plain();
    for tag in ["1.0", "1.1"] {
        registry.image("app", tag, &[("tag", tag)]);
    }
    registry.fault("GET /v2/app/manifests/", Fault::status(403));
    assert_eq!(check(&registry, &all, None).code, Some(1));
}
