//! `image-digest` and a registry that is not ours, in its three faces.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::faces::Face;
use crate::world::{Ended, IMAGE_DIGEST, Put};

async fn run(step: &str, request: Value) -> Ended {
    Put::start(IMAGE_DIGEST, step, request).await.end().await
}

async fn check(source: &Value) -> Ended {
    run("check", json!({ "source": source })).await
}

/// Returns the versions of a check that has to work.
async fn versions(source: &Value, cursor: Option<&str>) -> Vec<String> {
    let mut request = json!({ "source": source });
    if let Some(digest) = cursor {
        request["version"] = json!({ "tag": "latest", "digest": digest });
    }
    let ended = run("check", request).await;
    assert!(ended.success, "{}", ended.stderr);
    let versions: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    versions.iter().map(|version| version["digest"].as_str().unwrap().to_owned()).collect()
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

/// What works in every face: check finds the digest, in names it and fetches the image in each format.
async fn assert_served(face: &Face) {
    let digest = face.push("one").await;
    assert_eq!(versions(&face.source, None).await, [digest.as_str()]);
    let version = json!({ "tag": "latest", "digest": digest });
    let params = json!({ "skip_download": true });
    let ended = run("in", json!({ "source": face.source, "version": version, "params": params })).await;
    assert_eq!(ended.version(), version);
    let wanted = [
        ("tag", "latest".to_owned()),
        ("digest", digest.clone()),
        ("repository", face.repository.clone()),
        ("image", format!("{}@{digest}", face.repository)),
    ];
    let wanted = wanted.map(|(name, text)| (name.to_owned(), text));
    let mut found = files(ended.directory.path());
    assert!(found.remove("image.json").is_some());
    assert_eq!(found, wanted.into());
    for format in FORMATS {
        let params = json!({ "format": format });
        let ended = run("in", json!({ "source": face.source, "version": version, "params": params })).await;
        assert_eq!(ended.version(), version, "{format}");
        assert_fetched(ended.directory.path(), format, &digest);
    }
}

const FORMATS: [&str; 3] = ["rootfs", "oci", "oci-layout"];

/// What `Face::push` pushed is there.
fn assert_fetched(directory: &Path, format: &str, digest: &str) {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    match format {
        "rootfs" => assert_eq!(read("rootfs/content"), "one"),
        "oci" => {
            let mut archive = tar::Archive::new(std::fs::File::open(directory.join("image.tar")).unwrap());
            let entries = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
            let names: Vec<_> = entries.collect();
            assert!(names.contains(&"manifest.json".into()) && names.len() == 3, "{names:?}");
        }
        _ => {
            assert_eq!(read("oci/single-image-digest"), digest);
            assert!(directory.join("oci/blobs/sha256").join(&digest[7..]).exists());
        }
    }
}

/// A file system with little room, mounted on a directory.
struct Small(std::path::PathBuf);

impl Small {
    fn mounted_on(directory: &Path) -> Self {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128k", "none"]).arg(directory);
        assert!(mount.status().unwrap().success());
        Self(directory.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Returns a text that no compression makes small.
fn noise(length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    let mut text = String::new();
    while text.len() < length {
        text.push_str(&next());
    }
    text
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn disk_that_is_full_is_said_and_nothing_is_left_on_it() {
    let face = Face::plain("registries/full-disk");
    let version = json!({ "tag": "latest", "digest": face.push(&noise(1 << 20)).await });
    for format in FORMATS {
        let directory = tempfile::tempdir().unwrap();
        let _small = Small::mounted_on(directory.path());
        let params = json!({ "format": format });
        let request = json!({ "source": face.source, "version": version, "params": params });
        let ended = Put::start_in(directory, IMAGE_DIGEST, "in", request).await.end().await;
        ended.assert_refused(&["No space left on device", "hint: the disk is full"]);
        assert_eq!(std::fs::read_dir(ended.directory.path()).unwrap().count(), 0, "{format}");
    }
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn plain_http_on_loopback_needs_no_word_in_the_source() {
    assert_served(&Face::plain("registries/plain")).await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn private_authority_is_trusted_when_the_source_has_it_and_named_when_not() {
    let face = Face::tls("registries/tls");
    assert_served(&face).await;
    let ended = check(&face.source_without("ca_certs")).await;
    ended.assert_refused(&["certificate", "UnknownIssuer", "hint: give", "`ca_certs`"]);
    let mut insecure = face.source_without("ca_certs");
    insecure["insecure"] = true.into();
    check(&insecure).await.assert_refused(&["certificate"]);
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn password_is_asked_for_used_and_never_shown() {
    let face = Face::auth("registries/auth");
    assert_served(&face).await;
    let words = ["401 Unauthorized", "hint: check `username` and `password`"];
    check(&face.source_without("password")).await.assert_refused(&words);
    let mut wrong = face.source.clone();
    wrong["password"] = "canary".into();
    let ended = check(&wrong).await;
    ended.assert_refused(&words);
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn moved_tag_gives_the_cursor_and_the_new_digest_while_the_old_one_is_served() {
    let face = Face::plain("registries/moved");
    let old = face.push("old").await;
    assert_eq!(versions(&face.source, Some(&old)).await, [old.as_str()]);
    let new = face.push("new").await;
    assert_eq!(versions(&face.source, Some(&old)).await, [old.as_str(), new.as_str()]);
    face.delete(&old).await;
    assert_eq!(versions(&face.source, Some(&old)).await, [new.as_str()]);
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn deleted_tag_has_no_versions_and_a_warning() {
    let face = Face::plain("registries/deleted");
    let digest = face.push("soon gone").await;
    face.delete(&digest).await;
    let ended = check(&face.source).await;
    assert!(ended.success, "{}", ended.stderr);
    assert_eq!(ended.stdout.trim(), "[]");
    let warning = format!("warning: `{}:latest` is not in the registry", face.repository);
    assert!(ended.stderr.starts_with(&warning), "{}", ended.stderr);
    let version = json!({ "tag": "latest", "digest": digest });
    let ended = run("in", json!({ "source": face.source, "version": version })).await;
    ended.assert_refused(&[&digest, "is not in the registry"]);
    assert!(files(ended.directory.path()).is_empty());
}
