//! `image-digest out` of an image that is in a registry already: what is copied and what is not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::images::{Layout, directory};
use crate::support::registry::{Fault, INDEX, Login, MANIFEST, Registry, Rules, digest};
use crate::support::toolkit::{Outcome, Toolkit};

fn out(toolkit: &Toolkit, request: &Value) -> Outcome {
    toolkit.step("image-digest", "out", Some(toolkit.directory()), &request.to_string())
}

/// Puts an index of two images into `staging/app` and returns its digest.
fn staged(registry: &Registry) -> String {
    let toolkit = Toolkit::new();
    let mut layout = Layout::default();
    let children = [layout.image("amd64", b"amd"), layout.image("arm64", b"arm")];
    let index = layout.index(&children);
    directory(&toolkit.directory().join("oci"), &layout.files(&[index]));
    let source = json!({"repository": registry.repository("staging/app"), "tag": "rc"});
    let outcome = out(&toolkit, &json!({"source": source, "params": {"image": "oci"}}));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    registry.requests();
    outcome.json()["version"]["digest"].as_str().unwrap().to_owned()
}

fn promotion(from: &Registry, to: &Registry, digest: &str) -> Value {
    json!({
        "source": {"repository": to.repository("prod/app"), "tag": "live"},
        "params": {"from": {"repository": from.repository("staging/app"), "digest": digest}},
    })
}

fn is_whole(registry: &Registry, repository: &str, tag: &str) -> bool {
    let (_, bytes) = registry.stored(repository, tag).unwrap();
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    index["manifests"].as_array().unwrap().iter().all(|child| {
        let (_, bytes) = registry.stored(repository, child["digest"].as_str().unwrap()).unwrap();
        let image: Value = serde_json::from_slice(&bytes).unwrap();
        let blobs = image["layers"].as_array().unwrap().iter().chain([&image["config"]]);
        blobs.map(|blob| blob["digest"].as_str().unwrap()).all(|blob| registry.has_blob(repository, blob))
    })
}

#[test]
fn within_a_registry_blobs_are_mounted_and_no_layer_is_read() {
    let registry = Registry::plain();
    let digest = staged(&registry);
    let outcome = out(&Toolkit::new(), &promotion(&registry, &registry, &digest));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(outcome.json()["version"], json!({"tag": "live", "digest": digest}));
    assert!(is_whole(&registry, "prod/app", "live"));
    assert!(outcome.stderr.contains("4 blobs: 0 there already, 4 mounted, 0 sent (0 B)"), "{outcome}");
    let lines = registry.requests();
    assert!(!lines.iter().any(|line| line.starts_with("GET /v2/staging/app/blobs/")), "{lines:#?}");
}

#[test]
fn registry_that_does_not_mount_gets_the_bytes() {
    for rules in [
        Rules { mounts_nothing: true, ..Rules::default() },
        Rules { refuses_mounts: Some(403), ..Rules::default() },
        Rules { refuses_mounts: Some(404), ..Rules::default() },
        Rules { refuses_mounts: Some(405), ..Rules::default() },
    ] {
        let registry = Registry::plain().with_rules(rules.clone());
        let digest = staged(&registry);
        let outcome = out(&Toolkit::new(), &promotion(&registry, &registry, &digest));
        assert_eq!(outcome.code, Some(0), "{rules:?} {outcome}");
        assert!(
            outcome.stderr.contains("4 blobs: 0 there already, 0 mounted, 4 sent"),
            "{rules:?} {outcome}"
        );
        assert!(is_whole(&registry, "prod/app", "live"));
    }
}

#[test]
fn from_registry_to_registry_bytes_go_through_memory() {
    let (from, to) = (Registry::plain(), Registry::plain());
    let digest = staged(&from);
    let toolkit = Toolkit::new();
    let outcome = out(&toolkit, &promotion(&from, &to, &digest));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(is_whole(&to, "prod/app", "live"));
    assert_eq!(to.tagged("prod/app", "live"), Some(digest));
    assert_eq!(std::fs::read_dir(toolkit.directory()).unwrap().count(), 0);
}

#[test]
fn source_that_breaks_off_is_read_again() {
    let (from, to) = (Registry::plain(), Registry::plain());
    let digest = staged(&from);
    from.fault("GET /v2/staging/app/blobs/", Fault::Close);
    from.fault("GET /v2/staging/app/blobs/", Fault::status(503));
    let outcome = out(&Toolkit::new(), &promotion(&from, &to, &digest));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(is_whole(&to, "prod/app", "live"));
}

#[test]
fn source_that_serves_something_else_ends_it_before_a_tag_is_written() {
    let (from, to) = (Registry::plain(), Registry::plain());
    let digest = staged(&from);
    from.fault("GET /v2/staging/app/blobs/", Fault::Body("something else".to_owned()));
    let outcome = out(&Toolkit::new(), &promotion(&from, &to, &digest));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("failed to read the bytes of `sha256:"), "{outcome}");
    assert_eq!(to.tagged("prod/app", "live"), None);
}

#[test]
fn tag_within_a_repository_costs_no_blob() {
    let registry = Registry::plain();
    let wanted = staged(&registry);
    let source = json!({"repository": registry.repository("staging/app")});
    let params = json!({"from": {"tag": "rc"}, "version": "1.2"});
    let outcome = out(&Toolkit::new(), &json!({"source": source, "params": params}));
    assert_eq!(outcome.json()["version"], json!({"tag": "1.2.0", "digest": wanted}), "{outcome}");
    let put = "PUT /v2/staging/app/manifests/1.2.0";
    let lines = registry.requests();
    let asked: Vec<_> = lines.iter().map(String::as_str).filter(|line| *line != "GET /v2/").collect();
    assert_eq!(asked[..2], ["GET /v2/staging/app/manifests/rc", put]);
    // The proof asks for the tag and for the digest side by side, in either order.
    let proof = BTreeSet::from([
        "HEAD /v2/staging/app/manifests/1.2.0".to_owned(),
        format!("HEAD /v2/staging/app/manifests/{wanted}"),
    ]);
    assert_eq!(asked[2..].iter().map(|line| (*line).to_owned()).collect::<BTreeSet<_>>(), proof);
    assert_eq!(asked.len(), 4);
}

#[test]
fn file_of_an_earlier_get_names_the_image() {
    let registry = Registry::plain();
    let wanted = staged(&registry);
    let toolkit = Toolkit::new();
    let staging = registry.repository("staging/app");
    toolkit.file("app/digest", &wanted);
    toolkit.file("app/image", &format!("{staging}@{wanted}"));
    let source = json!({"repository": registry.repository("prod/app"), "tag": "live"});
    for params in [
        json!({"digest_file": "app/image"}),
        json!({"digest_file": "app/digest", "from": {"repository": staging}}),
    ] {
        let outcome = out(&toolkit, &json!({"source": source, "params": params}));
        assert_eq!(outcome.json()["version"]["digest"], wanted, "{outcome}");
        registry.forget("prod/app", "live");
    }
    let outcome = out(&toolkit, &json!({"source": source, "params": {"digest_file": "app/nowhere"}}));
    assert!(
        outcome.stderr.starts_with(
            "error: failed to read `[DIR]/app/nowhere`, which `params.digest_file` names: No such file"
        ),
        "{outcome}"
    );
}

#[test]
fn each_registry_gets_its_own_login() {
    let from = Registry::plain();
    let digest = staged(&from);
    let from = from.with_login(Login::Basic("reader", "canary-one"));
    let to = Registry::plain().with_login(Login::Bearer("writer", "canary-two"));
    let mut request = promotion(&from, &to, &digest);
    request["source"]["username"] = json!("writer");
    request["source"]["password"] = json!("canary-two");
    request["params"]["from"]["username"] = json!("reader");
    request["params"]["from"]["password"] = json!("canary-one");
    let outcome = out(&Toolkit::new(), &request);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!outcome.to_string().contains("canary"), "{outcome}");
    let sent = |registry: &Registry| {
        let seen = registry.seen().into_iter().filter(|seen| !seen.line.starts_with("GET /token"));
        seen.filter_map(|seen| seen.authorization).collect::<std::collections::BTreeSet<_>>()
    };
    assert!(sent(&from).iter().all(|it| it.starts_with("Basic ")), "each gets what is for it");
    assert!(sent(&to).iter().all(|it| it.starts_with("Bearer ")), "each gets what is for it");
}

#[test]
fn password_of_the_source_does_not_go_to_another_registry() {
    let from = Registry::plain();
    let wanted = staged(&from);
    let from = from.with_login(Login::Basic("bob", "canary"));
    let to = Registry::plain().with_login(Login::Basic("bob", "canary"));
    let mut request = promotion(&from, &to, &wanted);
    request["source"]["username"] = json!("bob");
    request["source"]["password"] = json!("canary");
    let outcome = out(&Toolkit::new(), &request);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(from.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn what_is_not_there_is_said() {
    let registry = Registry::plain();
    let wanted = staged(&registry);
    let absent = digest(b"absent");
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    let outcome = out(&toolkit, &promotion(&registry, &registry, &absent));
    assert!(
        outcome.stderr.starts_with(&format!("error: `[HOST]/staging/app@{absent}` is not in the registry")),
        "{outcome}"
    );
    let mut by_tag = promotion(&registry, &registry, &wanted);
    by_tag["params"]["from"] = json!({"repository": registry.repository("staging/app"), "tag": "nope"});
    let outcome = out(&toolkit, &by_tag);
    assert!(
        outcome.stderr.starts_with("error: `[HOST]/staging/app:nope` is not in the registry"),
        "{outcome}"
    );
    let (_, index) = registry.stored("staging/app", &wanted).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    registry.forget("staging/app", index["manifests"][1]["digest"].as_str().unwrap());
    let outcome = out(&toolkit, &promotion(&registry, &registry, &wanted));
    assert!(outcome.stderr.contains(", a part of `[HOST]/staging/app@sha256:"), "{outcome}");
    let odd = registry.manifest("staging/app", "odd", "application/json", "{\"schemaVersion\": 1}");
    let outcome = out(&toolkit, &promotion(&registry, &registry, &odd));
    assert!(outcome.stderr.contains("cannot be promoted: it is neither an image nor an index"), "{outcome}");
    assert_eq!(registry.tagged("prod/app", "live"), None);
}

/// Signs the image as cosign does, and lets a statement refer to it; returns both digests.
fn signed(registry: &Registry, wanted: &str) -> (String, String) {
    let stem = wanted.replace(':', "-");
    let signature = registry.image("staging/app", &format!("{stem}.sig"), &[("kind", "signature")]);
    let config = registry.blob("staging/app", b"{}".to_vec());
    let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2});
    let statement = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "x/statement", "layers": [],
        "config": config, "subject": {"mediaType": INDEX, "digest": wanted, "size": 1}});
    let statement = registry.manifest("staging/app", "statement", MANIFEST, &statement.to_string());
    registry.index("staging/app", &stem, &[("linux/amd64", &statement)]);
    (signature, statement)
}

#[test]
fn signatures_and_referrers_go_along() {
    let registry = Registry::plain();
    let wanted = staged(&registry);
    let (signature, statement) = signed(&registry, &wanted);
    let stem = wanted.replace(':', "-");
    let outcome = out(&Toolkit::new(), &promotion(&registry, &registry, &wanted));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(registry.tagged("prod/app", &format!("{stem}.sig")), Some(signature));
    assert!(registry.stored("prod/app", &statement).is_some(), "{outcome}");
    let (_, list) = registry.stored("prod/app", &stem).unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["manifests"][0]["digest"], json!(statement));
    assert_eq!(list["manifests"][0]["artifactType"], "x/statement");
    let lines = registry.requests();
    let put = |name: &str| {
        lines.iter().position(|line| line.starts_with(&format!("PUT /v2/prod/app/manifests/{name}")))
    };
    assert!(put(&format!("{stem}.sig")) < put("live"), "{lines:#?}");
    let again = out(&Toolkit::new(), &promotion(&registry, &registry, &wanted));
    assert_eq!(again.code, Some(0), "{again}");
}

#[test]
fn signatures_can_stay_behind() {
    let registry = Registry::plain();
    let wanted = staged(&registry);
    let (_, statement) = signed(&registry, &wanted);
    let mut request = promotion(&registry, &registry, &wanted);
    request["params"]["with_signatures"] = json!(false);
    let outcome = out(&Toolkit::new(), &request);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(registry.tagged("prod/app", &format!("{}.sig", wanted.replace(':', "-"))), None);
    assert!(registry.stored("prod/app", &statement).is_none());
}

#[test]
fn signature_that_was_made_in_the_target_stays() {
    let registry = Registry::plain();
    let wanted = staged(&registry);
    signed(&registry, &wanted);
    let tag = format!("{}.sig", wanted.replace(':', "-"));
    let own = registry.image("prod/app", &tag, &[("kind", "another")]);
    let outcome = out(&Toolkit::new(), &promotion(&registry, &registry, &wanted));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains(&format!("warning: the target has another `{tag}`")), "{outcome}");
    assert_eq!(registry.tagged("prod/app", &tag), Some(own));
}

#[test]
fn registry_that_does_not_tell_of_signatures_still_promotes() {
    let registry = Registry::plain();
    let wanted = staged(&registry);
    let hidden = format!("GET /v2/staging/app/manifests/{}.sig", wanted.replace(':', "-"));
    registry.fault(&hidden, Fault::refusal(403, "DENIED", "not for you"));
    let outcome = out(&Toolkit::new(), &promotion(&registry, &registry, &wanted));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("warning: signatures and referrers stay behind: "), "{outcome}");
    assert_eq!(registry.tagged("prod/app", "live"), Some(wanted));
}

#[test]
fn image_that_the_source_wants_signed_is_not_promoted_unsigned() {
    let registry = Registry::plain();
    let wanted = staged(&registry);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().public_key_pem();
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    for repository in ["prod/app", "staging/app"] {
        let mut request = promotion(&registry, &registry, &wanted);
        request["source"]["repository"] = json!(registry.repository(repository));
        request["source"]["verify"] = json!({"cosign": {"keys": [key]}});
        let outcome = out(&toolkit, &request);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        let error = format!(
            "error: `[HOST]/staging/app@{wanted}` is not promoted, because it is not verified: it has no signature\nhint: "
        );
        assert!(outcome.stderr.starts_with(&error), "{outcome}");
        let writes = |line: &String| ["POST", "PUT", "PATCH"].iter().any(|method| line.starts_with(method));
        assert!(!registry.requests().iter().any(writes));
    }
}
