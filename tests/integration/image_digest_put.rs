//! `image-digest out` of an image on disk: what is sent, in which order, and what is answered.

use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::images::{self, Layout, archive, directory, gzipped, packed, saved};
use crate::support::registry::{Fault, INDEX, Login, MANIFEST, Registry, Rules, digest};
use crate::support::toolkit::{Outcome, Toolkit};

/// A put of `image` to the repository `app`, with the tag `latest`.
fn request(registry: &Registry, params: Value) -> Value {
    let mut request = json!({"source": {"repository": registry.repository("app"), "tag": "latest"}});
    request["params"] = params;
    request
}

fn out(toolkit: &Toolkit, request: &Value) -> Outcome {
    toolkit.step("image-digest", "out", Some(toolkit.directory()), &request.to_string())
}

/// A toolkit with a saved image of one compressed layer in `image/image.tar`.
fn prepared(registry: &Registry) -> Toolkit {
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    archive(&toolkit.directory().join("image/image.tar"), &saved(&[], &[b"layer"]));
    toolkit
}

fn put(registry: &Registry) -> Outcome {
    out(&prepared(registry), &request(registry, json!({"image": "image/image.tar"})))
}

/// Returns what looks like a compressed layer of so many bytes.
fn layer_of(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    [0x1f, 0x8b].into_iter().chain(std::iter::repeat_with(next).flatten()).take(length).collect()
}

/// Returns the lines that push, without what is different each time.
fn pushes(registry: &Registry) -> Vec<String> {
    let lines = registry.requests();
    let line = |line: String| {
        let line = line.split("sha256:").next().unwrap().to_owned();
        let number = line.rsplit_once("/uploads/").filter(|(_, number)| !number.is_empty());
        number.map_or(line.clone(), |(start, _)| format!("{start}/uploads/N"))
    };
    lines.into_iter().map(line).collect()
}

#[test]
fn saved_image_is_pushed_with_few_requests_and_its_tag_last() {
    let registry = Registry::plain();
    let outcome = put(&registry);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let digest = registry.tagged("app", "latest").unwrap();
    let repository = "[HOST]/app";
    let wanted = json!({
        "version": {"tag": "latest", "digest": digest},
        "metadata": [{"name": "repository", "value": repository}, {"name": "tags", "value": "latest"}],
    });
    assert_eq!(outcome.json(), wanted);
    let blob = ["HEAD /v2/app/blobs/", "POST /v2/app/blobs/uploads/", "PUT /v2/app/blobs/uploads/N"];
    let mut sent = pushes(&registry);
    let rest = sent.split_off(7);
    assert_eq!(sent.remove(0), "GET /v2/");
    sent.sort_unstable();
    let mut both = [blob, blob].concat();
    both.sort_unstable();
    assert_eq!(sent, both);
    let mut shown = rest[1..].to_vec();
    shown.sort_unstable();
    assert_eq!(rest[..1], ["PUT /v2/app/manifests/latest"]);
    assert_eq!(shown, ["HEAD /v2/app/manifests/", "HEAD /v2/app/manifests/latest"]);
}

#[test]
fn compressed_layer_is_kept_as_it_is_and_uncompressed_one_is_compressed() {
    let registry = Registry::plain();
    let toolkit = Toolkit::new();
    archive(&toolkit.directory().join("i/image.tar"), &saved(&[b"plain layer"], &[b"packed layer"]));
    let outcome = out(&toolkit, &request(&registry, json!({"image": "i/*.tar"})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let (kind, bytes) = registry.stored("app", "latest").unwrap();
    assert_eq!(kind, "application/vnd.docker.distribution.manifest.v2+json");
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let layers: Vec<_> =
        manifest["layers"].as_array().unwrap().iter().map(|it| it["digest"].clone()).collect();
    assert_eq!(layers[1], json!(digest(&gzipped(b"packed layer"))));
    assert!(registry.has_blob("app", layers[0].as_str().unwrap()));
    assert_ne!(layers[0], json!(digest(b"plain layer")), "it is not compressed");
}

#[test]
fn forms_of_the_same_image_are_the_same_image() {
    let registry = Registry::plain();
    let toolkit = Toolkit::new();
    let (tar, packed_tar) =
        (toolkit.directory().join("a/image.tar"), toolkit.directory().join("b/image.tgz"));
    let files = saved(&[b"one", b"two"], &[b"three"]);
    archive(&tar, &files);
    std::fs::create_dir_all(packed_tar.parent().unwrap()).unwrap();
    std::fs::write(&packed_tar, gzipped(&packed(&files))).unwrap();
    let digests = ["a/image.tar", "b/image.tgz"].map(|image| {
        let outcome = out(&toolkit, &request(&registry, json!({ "image": image })));
        assert_eq!(outcome.code, Some(0), "{outcome}");
        outcome.json()["version"]["digest"].clone()
    });
    assert_eq!(digests[0], digests[1]);
    let left = std::fs::read_dir(toolkit.directory()).unwrap().count();
    assert_eq!(left, 2, "what was unpacked is gone");
}

#[test]
fn layout_is_pushed_byte_for_byte_with_its_children_first() {
    let registry = Registry::plain();
    let toolkit = Toolkit::new();
    let mut layout = Layout::default();
    let children = [layout.image("amd64", b"amd"), layout.image("arm64", b"arm")];
    let inner = layout.index(&children);
    directory(&toolkit.directory().join("image"), &layout.files(std::slice::from_ref(&inner)));
    archive(&toolkit.directory().join("archive/oci.tar"), &layout.files(&[inner]));
    for image in ["image", "archive/oci.tar"] {
        let outcome = out(&toolkit, &request(&registry, json!({ "image": image })));
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_eq!(registry.stored("app", "latest").unwrap(), (INDEX.to_owned(), images::index(&children)));
        for child in &children {
            assert_eq!(registry.stored("app", child["digest"].as_str().unwrap()).unwrap().0, MANIFEST);
        }
    }
}

#[test]
fn single_image_of_a_layout_is_pushed_without_its_wrapper() {
    let registry = Registry::plain();
    let toolkit = Toolkit::new();
    let mut layout = Layout::default();
    let image = layout.image("amd64", b"amd");
    let mut files = layout.files(std::slice::from_ref(&image));
    files.push(("single-image-digest".to_owned(), image["digest"].as_str().unwrap().as_bytes().to_vec()));
    directory(&toolkit.directory().join("oci"), &files);
    let outcome = out(&toolkit, &request(&registry, json!({"image": "oci"})));
    assert_eq!(outcome.json()["version"]["digest"], image["digest"], "{outcome}");
}

#[test]
fn what_is_there_is_not_sent_again() {
    let registry = Registry::plain();
    assert_eq!(put(&registry).code, Some(0));
    registry.requests();
    let outcome = put(&registry);
    assert!(outcome.stderr.contains("2 blobs: 2 there already, 0 mounted, 0 sent (0 B)"), "{outcome}");
    assert!(!registry.requests().iter().any(|line| line.starts_with("POST")), "{outcome}");
}

#[test]
fn tags_are_written_from_the_one_that_stays_to_the_one_that_moves() {
    let registry = Registry::plain();
    for tag in ["1.2.0", "0.9.0", "2.0.0-rc.1"] {
        registry.image("app", tag, &[]);
    }
    let toolkit = prepared(&registry);
    toolkit.file("tags/list", "f00ba4\n b7 ");
    let params = json!({"image": "image/*", "version": "v1.2.3", "bump_aliases": true,
        "additional_tags": "tags/list", "tag_prefix": "ci-"});
    let mut request = request(&registry, params);
    request["source"]["tag"] = json!("stable");
    let outcome = out(&toolkit, &request);
    assert_eq!(outcome.json()["version"]["tag"], "stable", "{outcome}");
    let told = "stable 1.2.3 latest 1 1.2 ci-f00ba4 ci-b7";
    assert_eq!(outcome.json()["metadata"][1], json!({"name": "tags", "value": told}));
    let lines = registry.requests();
    let written: Vec<_> =
        lines.iter().filter_map(|line| line.strip_prefix("PUT /v2/app/manifests/")).collect();
    assert_eq!(written, ["1.2.3", "ci-f00ba4", "ci-b7", "1.2", "1", "latest", "stable"]);
}

#[test]
fn aliases_of_a_new_repository_are_all_of_them() {
    let registry = Registry::plain();
    registry.fault("GET /v2/app/tags/list", Fault::refusal(404, "NAME_UNKNOWN", "no such repository"));
    let toolkit = prepared(&registry);
    let params = json!({"image": "image/*", "version": "1.2.3", "bump_aliases": true});
    let mut request = request(&registry, params);
    request["source"] = json!({"repository": registry.repository("app"), "variant": "slim"});
    let outcome = out(&toolkit, &request);
    assert_eq!(outcome.json()["version"]["tag"], "1.2.3-slim", "{outcome}");
    assert_eq!(outcome.json()["metadata"][1]["value"], "1.2.3-slim slim 1-slim 1.2-slim");
}

#[test]
fn pre_release_has_no_aliases_and_asks_for_no_list() {
    let registry = Registry::plain();
    let mut request =
        request(&registry, json!({"image": "image/*", "version": "1.2.3-rc.1", "bump_aliases": true}));
    request["source"] = json!({"repository": registry.repository("app")});
    let outcome = out(&prepared(&registry), &request);
    assert_eq!(outcome.json()["metadata"][1]["value"], "1.2.3-rc.1", "{outcome}");
    assert!(!registry.requests().iter().any(|line| line.contains("/tags/list")));
}

#[test]
fn registry_that_takes_no_whole_blob_gets_it_in_parts() {
    let rules =
        Rules { at_most: Some(10 << 20), at_least: Some(9 << 20), is_absolute: true, ..Rules::default() };
    let registry = Registry::plain().with_rules(rules);
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    archive(&toolkit.directory().join("image.tar"), &saved(&[&layer_of(12 << 20)], &[]));
    let outcome = out(&toolkit, &request(&registry, json!({"image": "image.tar"})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let parts = registry.requests().iter().filter(|line| line.starts_with("PATCH")).count();
    assert_eq!(parts, 2, "the layer takes two parts, the config none");
}

#[test]
fn uploads_follow_the_registrys_address_and_keep_the_login_at_home() {
    let registry = Registry::plain().with_login(Login::Basic("bob", "canary"));
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let registry = registry
        .with_rules(Rules { elsewhere: Some(format!("http://localhost:{port}")), ..Rules::default() });
    let mut request = request(&registry, json!({"image": "image/*"}));
    request["source"]["username"] = json!("bob");
    request["source"]["password"] = json!("canary");
    let outcome = out(&prepared(&registry), &request);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!outcome.to_string().contains("canary"), "{outcome}");
    for seen in registry.seen() {
        let is_upload = seen.line.starts_with("PUT /v2/app/blobs/uploads/");
        let is_ping = seen.line == "GET /v2/";
        assert_eq!(seen.authorization.is_none(), is_upload || is_ping, "{seen:?}");
    }
}

#[test]
fn token_that_runs_out_during_a_push_is_renewed() {
    for line in ["PUT /v2/app/blobs/uploads/", "POST /v2/app/blobs/uploads/", "PUT /v2/app/manifests/latest"]
    {
        let registry = Registry::plain().with_login(Login::Bearer("bob", "canary"));
        registry.fault(line, Fault::Expired);
        let mut request = request(&registry, json!({"image": "image/*"}));
        request["source"]["username"] = json!("bob");
        request["source"]["password"] = json!("canary");
        let outcome = out(&prepared(&registry), &request);
        assert_eq!(outcome.code, Some(0), "{line} {outcome}");
        assert!(!outcome.to_string().contains("canary"), "{outcome}");
        let tokens = registry.requests().into_iter().filter(|line| line == "GET /token").count();
        assert!(tokens >= 2, "{line}");
    }
}

#[test]
fn passing_trouble_costs_one_blob_again_and_each_retry_has_its_cause() {
    for (line, fault, cause) in [
        ("HEAD /v2/app/blobs/", Fault::status(503), "503 Service Unavailable"),
        ("POST /v2/app/blobs/uploads/", Fault::status(500), "500 Internal Server Error"),
        ("POST /v2/app/blobs/uploads/", Fault::wait(429, "1"), "429 Too Many Requests"),
        ("PUT /v2/app/blobs/uploads/", Fault::status(502), "502 Bad Gateway"),
        ("PUT /v2/app/blobs/uploads/", Fault::Close, "connection"),
        (
            "PUT /v2/app/blobs/uploads/",
            Fault::refusal(404, "BLOB_UPLOAD_UNKNOWN", "lost"),
            "404 BLOB_UPLOAD_UNKNOWN",
        ),
        ("PUT /v2/app/manifests/", Fault::status(504), "504 Gateway Timeout"),
        ("PUT /v2/app/manifests/", Fault::Close, "connection"),
    ] {
        let registry = Registry::plain();
        registry.fault(line, fault);
        let outcome = put(&registry);
        assert_eq!(outcome.code, Some(0), "{line}: {outcome}");
        assert!(outcome.stderr.contains("retrying in "), "{line}: {outcome}");
        assert!(outcome.stderr.contains(cause), "{line}: {outcome}");
    }
}

#[test]
fn blob_that_never_gets_through_is_given_up() {
    let registry = Registry::plain();
    for _ in 0..50 {
        registry.fault("PUT /v2/app/blobs/uploads/", Fault::Close);
    }
    let outcome = put(&registry);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("error: gave up after 6 attempts in "), "{outcome}");
    assert_eq!(registry.tagged("app", "latest"), None);
}

#[test]
fn refused_push_is_said_at_once_and_names_the_right_that_is_missing() {
    let registry = Registry::plain();
    registry.fault("POST /v2/app/blobs/uploads/", Fault::refusal(403, "DENIED", "no push for you"));
    registry.fault("POST /v2/app/blobs/uploads/", Fault::refusal(403, "DENIED", "no push for you"));
    let outcome = put(&registry);
    let last: Vec<_> = outcome.stderr.lines().rev().take(2).collect();
    assert_eq!(
        last[1], "error: POST http://[HOST]/v2/app/blobs/uploads/: 403 DENIED: no push for you",
        "{outcome}"
    );
    assert_eq!(
        last[0],
        "hint: these credentials may not push to this repository; check `repository` and the account's rights"
    );
    assert!(outcome.stdout.is_empty());
}

#[test]
fn registry_that_took_something_else_is_caught() {
    for line in ["PUT /v2/app/blobs/uploads/", "PUT /v2/app/manifests/"] {
        let registry = Registry::plain();
        registry.fault(line, Fault::Header("docker-content-digest", Some(digest(b"other"))));
        let outcome = put(&registry);
        assert_eq!(outcome.code, Some(1), "{line} {outcome}");
        assert!(outcome.stderr.contains("the registry answers with the digest"), "{line} {outcome}");
    }
}

#[test]
fn any_success_is_success() {
    let registry = Registry::plain();
    let toolkit = prepared(&registry);
    // A registry that answers 200 where others answer 201.
    registry.fault("PUT /v2/app/manifests/latest", Fault::status(200));
    let outcome = out(&toolkit, &request(&registry, json!({"image": "image/*"})));
    assert!(outcome.stderr.contains("`latest` written"), "{outcome}");
}

#[test]
fn put_that_ends_half_way_says_which_tags_stand() {
    let registry = Registry::plain();
    registry.fault("PUT /v2/app/manifests/latest", Fault::refusal(403, "DENIED", "protected"));
    let mut request = request(&registry, json!({"image": "image/*", "version": "1.2.3"}));
    request["source"]["tag"] = json!("latest");
    assert_snapshot!(out(&prepared(&registry), &request).stderr.lines().rev().take(2).collect::<Vec<_>>().join("\n"), @r"
    hint: these credentials may not push to this repository; check `repository` and the account's rights
    error: written: `1.2.3`; not written: `latest`: PUT http://[HOST]/v2/app/manifests/latest: 403 DENIED: protected
    ");
    assert!(registry.tagged("app", "1.2.3").is_some() && registry.tagged("app", "latest").is_none());
}

#[test]
fn immutable_tag_that_names_the_image_already_is_fine() {
    let registry = Registry::plain().with_rules(Rules { is_immutable: true, ..Rules::default() });
    assert_eq!(put(&registry).code, Some(0));
    let outcome = put(&registry);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    archive(&toolkit.directory().join("image.tar"), &saved(&[], &[b"another"]));
    let outcome = out(&toolkit, &request(&registry, json!({"image": "image.tar"})));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("400 TAG_INVALID: the tag is there, and immutable"), "{outcome}");
}

#[test]
fn registry_that_shows_a_tag_late_is_waited_for() {
    let registry = Registry::plain().with_rules(Rules { shown_after: 1, ..Rules::default() });
    let outcome = put(&registry);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!outcome.stderr.contains("warning"), "{outcome}");
    let heads =
        registry.requests().into_iter().filter(|line| line.starts_with("HEAD /v2/app/manifests/latest"));
    assert_eq!(heads.count(), 2);
}

#[test]
fn account_that_may_not_read_what_it_wrote_gets_a_warning() {
    let registry = Registry::plain();
    registry.fault("HEAD /v2/app/manifests/", Fault::status(403));
    let outcome = put(&registry);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome.stderr.contains("warning: whether the registry shows what was pushed could not be seen"),
        "{outcome}"
    );
}

#[test]
fn registry_that_throttles_the_look_afterwards_is_not_waited_for() {
    let registry = Registry::plain();
    registry.fault("HEAD /v2/app/manifests/latest", Fault::wait(429, "900"));
    let outcome = put(&registry);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let words = "could not be seen: the registry asks to wait 900 s";
    assert!(outcome.stderr.contains(words) && !outcome.stderr.contains("retrying"), "{outcome}");
}

#[test]
fn blob_that_is_not_what_its_name_says_never_gets_into_the_registry() {
    let registry = Registry::plain();
    let toolkit = Toolkit::new();
    let mut layout = Layout::default();
    let image = layout.image("amd64", b"layer");
    let mut files = layout.files(&[image]);
    let layer = gzipped(b"layer");
    for (_, bytes) in files.iter_mut().filter(|(_, bytes)| *bytes == layer) {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    }
    directory(&toolkit.directory().join("oci"), &files);
    let outcome = out(&toolkit, &request(&registry, json!({"image": "oci"})));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains(&format!("the bytes of `{}` are not what it names", digest(&layer))),
        "{outcome}"
    );
    assert_eq!(registry.tagged("app", "latest"), None);
}

#[test]
fn sigterm_says_what_stands() {
    let registry = Registry::plain();
    registry.fault("PUT /v2/app/manifests/latest", Fault::Late(std::time::Duration::from_secs(3600)));
    let toolkit = prepared(&registry);
    let request = request(&registry, json!({"image": "image/*", "version": "1.2.3"}));
    let run = toolkit.binary("image-digest").arg("out").arg(toolkit.directory());
    let mut child = run.start_without_stdin();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.to_string().as_bytes()).unwrap();
    let is_under_way = || registry.tagged("app", "1.2.3").is_some();
    while !is_under_way() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    terminate(child.id());
    let outcome = crate::support::toolkit::finish(&toolkit, child, b"");
    let words = "error: interrupted: written: `1.2.3`, and whether `latest` was is not known";
    assert!(outcome.stderr.contains(words), "{outcome}");
    assert!(outcome.stdout.is_empty());
}

fn terminate(process: u32) {
    assert!(Command::new("kill").arg(process.to_string()).status().unwrap().success());
}

#[test]
fn large_image_needs_little_memory() {
    let registry = Registry::plain();
    let toolkit = prepared(&registry);
    archive(&toolkit.directory().join("large/image.tar"), &saved(&[&layer_of(52 << 20)], &[b"x"]));
    let request = request(&registry, json!({"image": "large/*"})).to_string();
    let program = crate::support::toolkit::binary("image-digest");
    let command = format!("ulimit -d 50000; {} out {}", program.display(), toolkit.directory().display());
    let outcome = toolkit.program(Path::new("/bin/sh")).args(["-c", &command]).stdin(request).run();
    assert_eq!(outcome.code, Some(0), "{outcome}");
}
