//! What an assembled image has to be, byte for byte and file by file.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use super::*;

fn program() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sample-app");
    std::fs::write(&path, b"a program").unwrap();
    (directory, path)
}

fn unpacked(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    });
    files.collect()
}

#[test]
fn the_same_parts_give_the_same_digest_in_any_order_and_at_any_time() {
    let one = BTreeMap::from([("b/two".to_owned(), Entry::text("2")), ("a".to_owned(), Entry::text("1"))]);
    let other = BTreeMap::from([("a".to_owned(), Entry::text("1")), ("b/two".to_owned(), Entry::text("2"))]);
    let first = Layer::new("x", &one).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = Layer::new("x", &other).unwrap();
    assert_eq!(first.blob().digest, second.blob().digest);
    assert_eq!(first.diff_id(), second.diff_id());
}

#[test]
fn a_layer_holds_the_directories_above_its_files() {
    let layer =
        Layer::new("x", &BTreeMap::from([("layers/runtime/version".to_owned(), Entry::text("1"))])).unwrap();
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(layer.blob().bytes.as_slice()).read_to_end(&mut tar).unwrap();
    let paths: Vec<String> = unpacked(&tar).into_keys().collect();
    assert_eq!(paths, ["layers", "layers/runtime", "layers/runtime/version"]);
    assert_eq!(layer.diff_id(), sha256(&tar));
}

#[test]
fn a_jvm_update_is_one_new_layer() {
    let (_directory, program) = program();
    let old = sample_app(&SampleApp::new("foo", &program)).unwrap();
    let new = sample_app(&SampleApp::new("foo", &program).runtime("11.0.6")).unwrap();
    let same: Vec<bool> =
        old.layers().iter().zip(new.layers()).map(|(a, b)| a.diff_id() == b.diff_id()).collect();
    assert_eq!(same, [true, false, true]);
    assert_ne!(old.digest(), new.digest());
}

#[test]
fn the_config_names_the_entrypoint_and_what_buildpacks_write() {
    let (_directory, program) = program();
    let config = sample_app(&SampleApp::new("foo", &program)).unwrap().config().unwrap();
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/app/sample-app"]));
    assert_eq!(config["config"]["Env"], serde_json::json!(["APP_NAME=app-foo"]));
    assert_eq!(config["config"]["Labels"]["io.buildpacks.stack.id"], "org.cloudfoundry.stacks.cflinuxfs3");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
}

#[test]
fn an_archive_is_an_oci_layout_whose_every_blob_is_named_by_its_digest() {
    let (directory, program) = program();
    let image = sample_app(&SampleApp::new("foo", &program)).unwrap().indexed();
    let path = directory.path().join("image.tar");
    image.oci_archive(&path, "127.0.0.1:5000/app-foo:latest").unwrap();
    let files = unpacked(&std::fs::read(&path).unwrap());
    let index: serde_json::Value = serde_json::from_slice(&files["index.json"]).unwrap();
    assert_eq!(index["manifests"][0]["digest"], image.digest());
    assert_eq!(
        index["manifests"][0]["annotations"]["io.containerd.image.name"],
        "127.0.0.1:5000/app-foo:latest"
    );
    let blobs =
        files.iter().filter_map(|(path, content)| Some((path.strip_prefix("blobs/sha256/")?, content)));
    let named: Vec<bool> = blobs.map(|(hex, content)| sha256(content) == format!("sha256:{hex}")).collect();
    // Index, manifest, config and three layers.
    assert_eq!(named, [true; 6]);
}

#[test]
fn an_indexed_image_is_named_by_its_index() {
    let (_directory, program) = program();
    let plain = sample_app(&SampleApp::new("foo", &program)).unwrap();
    let indexed = plain.clone().indexed();
    assert_ne!(plain.digest(), indexed.digest());
    assert_eq!(plain.digest(), indexed.manifest_digest());
}

#[test]
fn a_layer_that_is_kept_is_the_same_when_it_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.layer");
    let layer = Layer::new("one", &BTreeMap::from([("a/b".to_owned(), Entry::text("c"))])).unwrap();
    layer.save(&path).unwrap();
    let read = Layer::load("one", &path).unwrap();
    assert_eq!((read.diff_id(), &read.blob().digest), (layer.diff_id(), &layer.blob().digest));
    assert!(Layer::load("one", &directory.path().join("none")).is_err());
}
