//! `image-digest in` with the image: its files, a tarball, an OCI layout. What registry-image writes
//! is held to it byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::registry::{INDEX, Registry, digest};
use crate::support::toolkit::{Outcome, Toolkit};

fn get(toolkit: &Toolkit, directory: &Path, request: &Value) -> Outcome {
    toolkit.step("image-digest", "in", Some(directory), &request.to_string())
}

fn request(registry: &Registry, digest: &str, params: &Value) -> Value {
    json!({
        "source": {"repository": registry.repository("app"), "tag": "1"},
        "version": {"tag": "1", "digest": digest},
        "params": params,
    })
}

/// Returns a plain layer of these files; a name that ends with a slash is a directory.
pub(crate) fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_ustar();
        let is_folder = path.ends_with('/');
        header.set_entry_type(if is_folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_mode(if is_folder { 0o755 } else { 0o644 });
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Returns the same, compressed as most layers are.
pub(crate) fn gzipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &layer(files)).unwrap();
    encoder.finish().unwrap()
}

fn config() -> Value {
    json!({
        "os": "linux", "architecture": "amd64",
        "config": {"Env": ["PATH=/bin", "NOTE=<&>"], "Entrypoint": ["/app"], "User": "1000:50",
            "Labels": {"b": "2", "a": "<1>"}},
        "rootfs": {"type": "layers", "diff_ids": []},
    })
}

/// Returns all files below a directory with their contents.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(directory, "", &mut found);
    found
}

fn text(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn without_params_the_files_of_the_image_are_unpacked() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let layers = [
        gzipped(&[("etc/", ""), ("etc/kept", "lower"), ("etc/changed", "lower"), ("etc/gone", "lower")]),
        zstd::encode_all(&layer(&[("etc/changed", "upper"), ("etc/.wh.gone", "")])[..], 3).unwrap(),
        layer(&[("last", "plain")]),
    ];
    let image = registry.layered("app", "1", &config(), &layers);
    let directory = toolkit.folder("get");
    let mut request = request(&registry, &image, &Value::Null);
    request.as_object_mut().unwrap().remove("params");
    let outcome = get(&toolkit, &directory, &request);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let found = files(&directory);
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "digest",
            "image",
            "image.json",
            "labels.json",
            "metadata.json",
            "repository",
            "rootfs/etc/changed",
            "rootfs/etc/kept",
            "rootfs/last",
            "tag",
        ]
    );
    assert_eq!(text(&directory, "rootfs/etc/changed"), "upper");
    assert_eq!(
        text(&directory, "metadata.json"),
        "{\"cmd\":null,\"entrypoint\":[\"/app\"],\"env\":[\"PATH=/bin\",\"NOTE=\\u003c\\u0026\\u003e\"],\"user\":\"1000:50\"}\n"
    );
    assert_eq!(text(&directory, "labels.json"), "{\"a\":\"\\u003c1\\u003e\",\"b\":\"2\"}\n");
}

#[test]
fn each_thing_is_asked_for_once_and_layers_come_last() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let layers = [gzipped(&[("a", "1")]), gzipped(&[("b", "2")])];
    let image = registry.layered("app", "amd", &config(), &layers);
    let index = registry.index("app", "1", &[("linux/amd64", &image)]);
    get(
        &toolkit,
        &toolkit.folder("get"),
        &request(&registry, &index, &json!({"platform": {"architecture": "amd64"}})),
    );
    let requests = registry.requests();
    let blob = |bytes: &[u8]| format!("GET /v2/app/blobs/{}", digest(bytes));
    let manifest = |digest: &str| format!("GET /v2/app/manifests/{digest}");
    let first =
        ["GET /v2/".to_owned(), manifest(&index), manifest(&image), blob(config().to_string().as_bytes())];
    assert_eq!(requests[..4], first);
    let mut last = requests[4..].to_vec();
    let mut wanted = layers.map(|layer| blob(&layer));
    last.sort();
    wanted.sort();
    assert_eq!(last, wanted);
}

#[test]
fn nothing_is_asked_for_twice_in_any_format() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let layers = [gzipped(&[("a", "1")]), gzipped(&[("b", "2")])];
    let image = registry.layered("app", "amd", &config(), &layers);
    let index = registry.index("app", "1", &[("linux/amd64", &image)]);
    for format in ["rootfs", "oci", "oci-layout"] {
        let params = json!({"format": format, "platform": {"architecture": "amd64"}});
        get(&toolkit, &toolkit.folder(format), &request(&registry, &index, &params));
        let mut requests = registry.requests();
        assert_eq!(requests.len(), 6, "{requests:?}");
        requests.sort();
        requests.dedup();
        assert_eq!(requests.len(), 6, "{requests:?}");
    }
}

#[test]
fn progress_is_one_line_for_each_layer() {
    let registry = Registry::plain();
    let bytes = gzipped(&[("a", "1")]);
    let image = registry.layered("app", "1", &config(), std::slice::from_ref(&bytes));
    let toolkit = Toolkit::new()
        .filter(&registry.host(), "[HOST]")
        .filter(&image, "[DIGEST]")
        .filter(&digest(&bytes)[.."sha256:".len() + 12], "[LAYER]")
        .filter(&format!("{} B in", bytes.len()), "[SIZE] in");
    let outcome = get(&toolkit, &toolkit.folder("get"), &request(&registry, &image, &json!({})));
    let seconds = regex::Regex::new(r"\d+\.\d s").unwrap();
    assert_snapshot!(seconds.replace_all(&outcome.stderr, "[SECONDS]"), @r"
    layer 1/1 [LAYER]: [SIZE] in [SECONDS] (1 files, 1 B)
    [HOST]/app@[DIGEST] is in rootfs
    ");
}

#[test]
fn image_tar_is_what_docker_load_reads() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    // The same layer twice is stored once and named twice.
    let (one, two) = (gzipped(&[("a", "1")]), gzipped(&[("b", "2")]));
    let image = registry.layered("app", "1", &config(), &[one.clone(), two.clone(), one.clone()]);
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({"format": "oci"})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let names: Vec<_> = files(&directory).into_keys().collect();
    assert_eq!(names, ["digest", "image", "image.json", "image.tar", "labels.json", "repository", "tag"]);
    let bytes = fs::read(directory.join("image.tar")).unwrap();
    assert_eq!(bytes.len() % 512, 0);
    assert!(bytes.ends_with(&[0; 1024]));
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries: Vec<(String, Vec<u8>)> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            assert_eq!((entry.header().mode().unwrap(), entry.header().mtime().unwrap()), (0o644, 0));
            (entry.path().unwrap().display().to_string(), content)
        })
        .collect();
    let config_digest = digest(config().to_string().as_bytes());
    let file = |bytes: &[u8]| format!("{}.tar.gz", &digest(bytes)["sha256:".len()..]);
    let manifest = format!(
        "[{{\"Config\":\"{config_digest}\",\"RepoTags\":[\"{}:1\"],\"Layers\":[\"{}\",\"{}\",\"{}\"]}}]",
        registry.repository("app"),
        file(&one),
        file(&two),
        file(&one),
    );
    let wanted = [
        (config_digest, config().to_string().into_bytes()),
        (file(&one), one.clone()),
        (file(&two), two),
        ("manifest.json".to_owned(), manifest.into_bytes()),
    ];
    assert_eq!(entries, wanted);
}

#[test]
fn layout_of_an_image_says_that_it_is_one() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let bytes = gzipped(&[("a", "1")]);
    let image = registry.layered("app", "1", &config(), std::slice::from_ref(&bytes));
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({"format": "oci-layout"})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let found = files(&directory);
    let manifest = found[&format!("oci/blobs/sha256/{}", &image[7..])].clone();
    assert_eq!(digest(&manifest), image);
    let index = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{{\"mediaType\":\"{}\",\"size\":{},\"digest\":\"{image}\"}}]}}",
        crate::support::registry::MANIFEST,
        manifest.len(),
    );
    assert_eq!(text(&directory, "oci/index.json"), index);
    assert_eq!(text(&directory, "oci/oci-layout"), "{\n    \"imageLayoutVersion\": \"1.0.0\"\n}");
    assert_eq!(text(&directory, "oci/single-image-digest"), image);
    let mode = fs::metadata(directory.join("oci/single-image-digest")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    assert_eq!(found[&format!("oci/blobs/sha256/{}", &digest(&bytes)[7..])], bytes);
    assert!(!found.contains_key("labels.json") && !found.contains_key("metadata.json"));
    assert_eq!(found.keys().filter(|name| name.starts_with("oci/blobs/")).count(), 3);
}

#[test]
fn layout_of_an_index_is_the_index_byte_for_byte_with_all_its_images() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let amd = registry.layered("app", "amd", &config(), &[gzipped(&[("a", "amd")])]);
    let arm = registry.layered(
        "app",
        "arm",
        &json!({"os": "linux", "architecture": "arm64"}),
        &[gzipped(&[("a", "arm")])],
    );
    let inner = registry.index("app", "inner", &[("linux/arm64", &arm)]);
    let note = registry.blob("app", b"a note".to_vec());
    let media = crate::support::registry::MANIFEST;
    let index = format!(
        "{{\n  \"manifests\": [\n{{\"mediaType\": \"{media}\", \"size\": 1, \"digest\": \"{amd}\"}},\
         {{\"mediaType\": \"{INDEX}\", \"size\": 1, \"digest\": \"{inner}\"}},\
         {{\"mediaType\": \"text/plain\", \"size\": 6, \"digest\": \"{note}\"}}], \"schemaVersion\":   2 }}"
    );
    let top = registry.manifest("app", "1", INDEX, &index);
    let directory = toolkit.folder("get");
    let outcome = get(&toolkit, &directory, &request(&registry, &top, &json!({"format": "oci-layout"})));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let found = files(&directory);
    assert_eq!(text(&directory, "oci/index.json"), index);
    assert!(!found.contains_key("oci/single-image-digest"));
    let blobs: Vec<_> = found.iter().filter(|(name, _)| name.starts_with("oci/blobs/sha256/")).collect();
    // Two images of three blobs each, the inner index, the note.
    assert_eq!(blobs.len(), 8);
    for (name, bytes) in blobs {
        assert_eq!(digest(bytes)[7..], name["oci/blobs/sha256/".len()..]);
    }
}

#[test]
fn platform_chooses_from_an_index() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let image = |name: &str| registry.layered("app", name, &config(), &[gzipped(&[("name", name)])]);
    let entry = |digest: &str, platform: Value| json!({"mediaType": crate::support::registry::MANIFEST, "size": 1, "digest": digest, "platform": platform});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        entry(&image("v7"), json!({"os": "linux", "architecture": "arm", "variant": "v7"})),
        entry(&image("v6"), json!({"os": "linux", "architecture": "arm", "variant": "v6"})),
        entry(&image("v8"), json!({"os": "linux", "architecture": "arm64", "variant": "v8"})),
        entry(&image("old"), json!({"os": "linux", "architecture": "ppc64le"})),
    ]});
    let index = registry.manifest("app", "1", INDEX, &index.to_string());
    let cases = [
        (json!({"architecture": "arm64/v8"}), "v8"),
        (json!({"os": "linux", "architecture": "arm64", "variant": "v8"}), "v8"),
        (json!({"architecture": "arm64"}), "v8"),
        (json!({"architecture": "arm"}), "v7"),
        (json!({"architecture": "arm", "variant": "v6"}), "v6"),
        (json!({"architecture": "ppc64le"}), "old"),
    ];
    for (at, (platform, wanted)) in cases.into_iter().enumerate() {
        let directory = toolkit.folder(&at.to_string());
        let outcome = get(&toolkit, &directory, &request(&registry, &index, &json!({"platform": platform})));
        assert_eq!(outcome.code, Some(0), "{platform}: {outcome}");
        assert_eq!(text(&directory, "rootfs/name"), wanted, "{platform}");
    }
}

#[test]
fn platform_that_an_index_lacks_is_named_with_those_it_has() {
    let registry = Registry::plain();
    let image = registry.layered("app", "amd", &config(), &[]);
    let index = registry.index("app", "1", &[("linux/amd64", &image), ("linux/arm64", &image)]);
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&index, "[DIGEST]");
    let directory = toolkit.folder("get");
    let params = json!({"platform": {"architecture": "s390x"}});
    assert_snapshot!(get(&toolkit, &directory, &request(&registry, &index, &params)), @r"
    exit 1
    --- stderr
    error: `[HOST]/app@[DIGEST]` has no image for `linux/s390x`: it has linux/amd64, linux/arm64
    hint: name one of them in `platform`, in the params or in the source
    ");
    assert!(files(&directory).is_empty());
}

#[test]
fn what_is_no_image_has_names_and_no_content() {
    let registry = Registry::plain();
    let chart = registry.manifest("app", "1", "application/vnd.example", "{\"schemaVersion\": 1}");
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&chart, "[DIGEST]");
    for format in ["rootfs", "oci", "oci-layout"] {
        let directory = toolkit.folder(format);
        let outcome = get(&toolkit, &directory, &request(&registry, &chart, &json!({"format": format})));
        assert!(outcome.stderr.contains("error: `[HOST]/app@[DIGEST]` is not an image\nhint: "), "{outcome}");
        assert!(files(&directory).is_empty());
    }
    let params = json!({"skip_download": true});
    let outcome = get(&toolkit, &toolkit.folder("names"), &request(&registry, &chart, &params));
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[test]
fn layer_that_is_no_archive_or_hostile_leaves_nothing() {
    let registry = Registry::plain();
    let mut hostile = layer(&[("aa/outside", "hit")]);
    hostile[..10].copy_from_slice(b"../outside");
    let mut header = tar::Header::from_byte_slice(&hostile[..512]).clone();
    header.set_cksum();
    hostile[..512].copy_from_slice(header.as_bytes());
    for (name, bytes, wanted) in [
        ("text", b"{\"a\": 1}".to_vec(), "`: it is not a tar archive\nhint: "),
        ("hostile", hostile, "`: `../outside` leads out of the image\nhint: no honest image"),
    ] {
        let image = registry.layered("app", "1", &config(), &[gzipped(&[("a", "1")]), bytes]);
        let toolkit = Toolkit::new();
        let directory = toolkit.folder(name);
        let outcome = get(&toolkit, &directory, &request(&registry, &image, &json!({})));
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains("error: failed to unpack layer `sha256:"), "{outcome}");
        assert!(outcome.stderr.contains(wanted), "{outcome}");
        assert!(files(&directory).is_empty() && !toolkit.directory().join("outside").exists());
    }
}

#[test]
fn content_that_is_there_is_not_written_over() {
    let registry = Registry::plain();
    let image = registry.layered("app", "1", &config(), &[]);
    let toolkit = Toolkit::new();
    toolkit.file("get/rootfs/mine", "kept");
    let directory = toolkit.folder("get");
    assert_snapshot!(get(&toolkit, &directory, &request(&registry, &image, &json!({}))), @r"
    exit 1
    --- stderr
    error: `[DIR]/get/rootfs` is there already
    hint: give an empty directory
    ");
    assert_eq!(text(&directory, "rootfs/mine"), "kept");
    assert!(registry.requests().is_empty());
}

#[test]
fn image_json_has_what_a_deployment_wants_to_know() {
    let registry = Registry::plain();
    let labels = json!({
        "io.buildpacks.build.metadata": "{\"buildpacks\": [{\"id\": \"java\", \"version\": \"9\"}]}",
        "io.buildpacks.lifecycle.metadata": "{\"runImage\": {\"reference\": \"run@sha256:1\"}}",
        "io.buildpacks.project.metadata": "{\"source\": {\"version\": {\"commit\": \"f00\"}}}",
    });
    let config = json!({"os": "linux", "architecture": "amd64", "created": "2026-07-01T10:00:00Z",
        "config": {"Labels": labels}});
    let image = registry.layered("app", "amd", &config, &[]);
    let index = registry.index("app", "1", &[("linux/amd64", &image)]);
    let toolkit = Toolkit::new();
    let directory = toolkit.folder("get");
    let params = json!({"skip_download": true, "platform": {"architecture": "amd64"}});
    let outcome = get(&toolkit, &directory, &request(&registry, &index, &params));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let repository = registry.repository("app");
    let found: Value = serde_json::from_str(&text(&directory, "image.json")).unwrap();
    let wanted = json!({
        "image": format!("{repository}@{index}"), "repository": repository, "tag": "1", "digest": index,
        "tags": ["1"], "platform": "linux/amd64", "platform_digest": image,
        "platforms": [{"platform": "linux/amd64", "digest": image}], "created": "2026-07-01T10:00:00Z",
        "commit": "f00", "buildpacks": ["java 9"], "run_image": "run@sha256:1", "labels": labels,
        "annotations": {"org.example.note": "of the manifest"}, "config": config,
    });
    assert_eq!(found, wanted);
}

#[test]
fn all_tags_of_the_digest_are_found_when_they_are_asked_for() {
    let (toolkit, registry) = (Toolkit::new(), Registry::plain());
    let image = registry.layered("app", "1", &config(), &[]);
    let bytes = json!({"other": 1});
    registry.layered("app", "other", &bytes, &[]);
    for tag in ["1.2.3", "latest"] {
        registry.layered("app", tag, &config(), &[]);
    }
    let directory = toolkit.folder("get");
    let params = json!({"skip_download": true, "all_tags": true});
    let outcome = get(&toolkit, &directory, &request(&registry, &image, &params));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let found: Value = serde_json::from_str(&text(&directory, "image.json")).unwrap();
    assert_eq!(found["tags"], json!(["1", "1.2.3", "latest"]));
    let requests = registry.requests();
    let count = |start: &str| requests.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("GET /v2/app/tags/list"), count("HEAD ")), (1, 3));
}
