//! `image-digest in` with `skip_download`: small files that name the image, and what people see beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::registry::{Fault, Registry};
use crate::support::toolkit::{Outcome, Toolkit};

fn get(toolkit: &Toolkit, directory: &Path, request: &Value) -> Outcome {
    toolkit.step("image-digest", "in", Some(directory), &request.to_string())
}

fn request(registry: &Registry, digest: &str) -> Value {
    json!({
        "source": {"repository": registry.repository("app")},
        "version": {"tag": "latest", "digest": digest},
        "params": {"skip_download": true},
    })
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| (name(&entry), fs::read_to_string(entry.path()).unwrap())).collect()
}

#[test]
fn files_name_the_image_without_a_newline() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let digest = registry.image("app", "latest", &[]);
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request(&registry, &digest));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let repository = registry.repository("app");
    let wanted = [
        ("digest", digest.clone()),
        ("image", format!("{repository}@{digest}")),
        ("repository", repository),
        ("tag", "latest".to_owned()),
    ];
    let mut found = files(&directory);
    assert!(found.remove("image.json").is_some());
    assert_eq!(found, wanted.map(|(name, text)| (name.to_owned(), text)).into());
    assert_eq!(outcome.json()["version"], json!({"tag": "latest", "digest": digest}));
}

#[test]
fn nothing_but_manifest_and_config_is_asked_for() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let digest = registry.image("app", "latest", &[]);
    get(&toolkit, &toolkit.folder("get"), &request(&registry, &digest));
    let requests = registry.requests();
    assert_eq!(requests[..2], ["GET /v2/".to_owned(), format!("GET /v2/app/manifests/{digest}")]);
    assert!(requests.len() == 3 && requests[2].starts_with("GET /v2/app/blobs/sha256:"), "{requests:?}");
}

#[test]
fn metadata_comes_from_the_images_own_labels() {
    let registry = Registry::plain();
    let labels = [
        ("org.opencontainers.image.revision", "f00ba4"),
        ("org.opencontainers.image.source", "https://git.example.com/app"),
        ("io.buildpacks.build.metadata", r#"{"buildpacks": [{"id": "paketo/java", "version": "9.1"}]}"#),
    ];
    let digest = registry.image("app", "latest", &labels);
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&digest, "[DIGEST]");
    let outcome = get(&toolkit, &toolkit.folder("get"), &request(&registry, &digest));
    let metadata = outcome.json()["metadata"].as_array().unwrap().clone();
    let lines = metadata.iter().map(|field| format!("{}: {}", field["name"], field["value"]));
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    "repository": "[HOST]/app"
    "tag": "latest"
    "digest": "[DIGEST]"
    "image": "[HOST]/app@[DIGEST]"
    "created": "2026-07-01T10:00:00Z"
    "platform": "linux/amd64"
    "revision": "f00ba4"
    "source": "https://git.example.com/app"
    "buildpacks": "paketo/java 9.1"
    "#);
}

#[test]
fn metadata_of_an_index_is_that_of_the_wanted_platform() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let amd = registry.image("app", "amd", &[("org.opencontainers.image.revision", "amd")]);
    let arm = registry.image("app", "arm", &[("org.opencontainers.image.revision", "arm")]);
    let digest = registry.index("app", "latest", &[("linux/amd64", &amd), ("linux/arm64", &arm)]);
    for (architecture, wanted) in [("amd64", "amd"), ("arm64", "arm")] {
        let mut request = request(&registry, &digest);
        request["source"]["platform"] = json!({"os": "linux", "architecture": architecture});
        let outcome = get(&toolkit, &toolkit.folder(architecture), &request);
        let metadata = outcome.json()["metadata"].as_array().unwrap().clone();
        let revision = metadata.iter().find(|field| field["name"] == "revision").unwrap();
        assert_eq!(revision["value"], wanted, "{outcome}");
        assert_eq!(fs::read_to_string(toolkit.folder(architecture).join("digest")).unwrap(), digest);
    }
}

#[test]
fn image_without_a_config_is_fetched_without_metadata_of_it() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let digest = registry.manifest("app", "latest", "application/vnd.example", "{\"schemaVersion\": 2}");
    let outcome = get(&toolkit, &toolkit.folder("get"), &request(&registry, &digest));
    assert_eq!(outcome.json()["metadata"].as_array().unwrap().len(), 4, "{outcome}");
}

#[test]
fn config_that_cannot_be_read_is_a_warning() {
    let registry = Registry::plain();
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]");
    let digest = registry.image("app", "latest", &[]);
    registry.fault("GET /v2/app/blobs/", Fault::refusal(403, "DENIED", "no blobs for you"));
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request(&registry, &digest));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("warning: no metadata from the image's config: GET http://[HOST]/v2/app/blobs/"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("403 DENIED: no blobs for you"), "{outcome}");
    assert_eq!(files(&directory).len(), 5);
}

#[test]
fn version_that_is_gone_leaves_no_file() {
    let registry = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    registry.forget("app", &digest);
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&digest, "[DIGEST]");
    let directory = toolkit.folder("get");
    assert_snapshot!(get(&toolkit, &directory, &request(&registry, &digest)), @r"
    exit 1
    --- stderr
    error: `[HOST]/app@[DIGEST]` is not in the registry
    hint: it was deleted there; check again for a newer version, and unpin this one
    ");
    assert!(files(&directory).is_empty());
}

#[test]
fn content_that_is_not_what_was_asked_for_leaves_no_file() {
    let registry = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    registry.fault("GET /v2/app/manifests/", Fault::Body("{}".to_owned()));
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&digest, "[DIGEST]");
    let directory = toolkit.folder("get");
    assert_snapshot!(get(&toolkit, &directory, &request(&registry, &digest)), @r"
    exit 1
    --- stderr
    error: GET http://[HOST]/v2/app/manifests/[DIGEST]: the registry answers with the digest `sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a` instead of `[DIGEST]`
    ");
    assert!(files(&directory).is_empty());
}

#[test]
fn file_that_cannot_be_written_leaves_none_of_the_others() {
    let registry = Registry::plain();
    let digest = registry.image("app", "latest", &[]);
    let toolkit = Toolkit::new();
    toolkit.folder("get/repository");
    let directory = toolkit.folder("get");
    assert_snapshot!(get(&toolkit, &directory, &request(&registry, &digest)), @r"
    exit 1
    --- stderr
    error: failed to write `[DIR]/get/repository`: Is a directory (os error 21)
    ");
    let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["repository"]);
}

#[test]
fn version_without_a_tag_means_the_sources() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let digest = registry.image("app", "1", &[]);
    let mut request = request(&registry, &digest);
    request["source"]["tag"] = json!("1");
    request["version"] = json!({"digest": digest});
    let outcome = get(&toolkit, &toolkit.folder("get"), &request);
    assert_eq!(outcome.json()["version"], json!({"tag": "1", "digest": digest}));
}

#[test]
fn params_that_make_no_sense_are_refused_before_anything_is_asked() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let digest = registry.image("app", "latest", &[]);
    registry.requests();
    for (params, wanted) in [
        (
            json!({"format": "docker"}),
            "`params.format`: expected one of `rootfs`, `oci`, `oci-layout`, found the string `docker`",
        ),
        (json!({"skip_download": "yes"}), "`params.skip_download`: "),
        (json!({"platform": {"arch": "amd64"}}), "`params.platform.arch`: unknown key"),
    ] {
        let mut request = request(&registry, &digest);
        request["params"] = params;
        let outcome = get(&toolkit, &toolkit.folder("get"), &request);
        assert_eq!(outcome.code, Some(1), "{request}: {outcome}");
        assert!(outcome.stderr.contains(wanted), "{outcome}");
    }
    assert!(registry.requests().is_empty());
}

#[test]
fn platform_that_is_named_and_not_there_fails_the_get() {
    let registry = Registry::plain();
    let image = registry.image("app", "arm", &[]);
    let digest = registry.index("app", "latest", &[("linux/arm64", &image), ("linux/ppc64le", &image)]);
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&digest, "[DIGEST]");
    let directory = toolkit.folder("get");
    for part in ["source", "params"] {
        let mut request = request(&registry, &digest);
        request[part]["platform"] = json!("linux/s390x");
        let outcome = get(&toolkit, &directory, &request);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        let words = "error: `[HOST]/app@[DIGEST]` has no image for `linux/s390x`: it has linux/arm64, linux/ppc64le\n";
        assert!(outcome.stderr.starts_with(words), "{outcome}");
        assert!(files(&directory).is_empty());
        // All images of the index are fetched, and none is chosen.
        request["params"]["skip_download"] = json!(false);
        request["params"]["format"] = json!("oci-layout");
        let outcome = get(&toolkit, &toolkit.folder(part), &request);
        assert_eq!(outcome.code, Some(0), "{outcome}");
    }
}

#[test]
fn index_of_other_platforms_than_where_the_step_runs_is_a_warning() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let image = registry.image("app", "arm", &[]);
    let digest = registry.index("app", "latest", &[("linux/s390x", &image)]);
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request(&registry, &digest));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("warning: no metadata from the image's config: "), "{outcome}");
    assert!(outcome.stderr.contains("it has linux/s390x"), "{outcome}");
    assert_eq!(files(&directory).len(), 5);
}

#[test]
fn index_without_images_is_called_that() {
    let registry = Registry::plain();
    let digest = registry.index("app", "latest", &[]);
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&digest, "[DIGEST]");
    let mut request = request(&registry, &digest);
    request["params"] = json!({"platform": "linux/amd64"});
    assert_snapshot!(get(&toolkit, &toolkit.folder("get"), &request), @r"
    exit 1
    --- stderr
    error: `[HOST]/app@[DIGEST]` has no image for `linux/amd64`: it has none at all
    hint: it is an index without images: build and push them again
    ");
}

#[test]
fn odd_or_broken_tag_among_all_tags_is_named_and_left_out() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let digest = registry.image("app", "latest", &[]);
    registry.image("app", "1.0", &[]);
    let list = json!({"tags": ["1.0", "../../x", "broken", "latest", "\u{1b}[31m"]}).to_string();
    registry.fault("GET /v2/app/tags/list", Fault::Body(list));
    registry.fault("HEAD /v2/app/manifests/broken", Fault::status(422));
    let mut request = request(&registry, &digest);
    request["params"]["all_tags"] = json!(true);
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let about: Value = serde_json::from_str(&files(&directory)["image.json"]).unwrap();
    assert_eq!(about["tags"], json!(["1.0", "latest"]));
    assert!(outcome.stderr.contains("warning: the registry lists `../../x` among the tags"), "{outcome}");
    assert!(outcome.stderr.contains("warning: the tag `broken` is left out: HEAD"), "{outcome}");
    assert!(!outcome.stderr.contains('\u{1b}'), "{outcome}");
}

#[test]
fn registry_that_denies_tags_is_no_broken_tag() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let digest = registry.image("app", "latest", &[]);
    registry.image("app", "1.0", &[]);
    registry.fault("HEAD /v2/app/manifests/1.0", Fault::status(403));
    let mut request = request(&registry, &digest);
    request["params"]["all_tags"] = json!(true);
    assert_eq!(get(&toolkit, &toolkit.folder("get"), &request).code, Some(1));
}

#[test]
fn layer_of_a_size_that_nothing_has_is_refused_for_every_format() {
    let registry = Registry::plain();
    let config = registry.blob("app", br#"{"os": "linux", "architecture": "amd64"}"#.to_vec());
    let layer = registry.blob("app", b"x".to_vec());
    let manifest = json!({"schemaVersion": 2, "config": {"digest": config, "size": 40},
        "layers": [{"digest": layer, "size": u64::MAX}]});
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let digest = registry.manifest("app", "latest", kind, &manifest.to_string());
    let toolkit = Toolkit::new();
    for format in ["rootfs", "oci"] {
        let mut request = request(&registry, &digest);
        request["params"] = json!({ "format": format });
        let directory = toolkit.folder(format);
        let outcome = get(&toolkit, &directory, &request);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains("is not an image"), "{outcome}");
        assert!(files(&directory).is_empty());
    }
}
