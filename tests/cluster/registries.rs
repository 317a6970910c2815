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

/// What works in every face: check finds the digest, in names it.
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
