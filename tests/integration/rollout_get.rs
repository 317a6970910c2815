//! get: the files of a version, from what the cluster still knows.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, TOKEN};
use crate::support::shop;
use crate::support::toolkit::{Outcome, Toolkit};

fn get(server: &ApiServer, toolkit: &Toolkit, version: &Value) -> Outcome {
    let request = json!({"source": {"server": server.url(), "token": TOKEN, "namespace": "shop",
        "deployment": "app"}, "version": version});
    toolkit.step("rollout", "in", Some(&toolkit.folder("out")), &request.to_string())
}

fn version(letter: char, revision: &str) -> Value {
    json!({"digest": shop::digest(letter), "revision": revision, "uid": shop::UID})
}

fn read(toolkit: &Toolkit, name: &str) -> String {
    fs::read_to_string(toolkit.directory().join("out").join(name)).unwrap()
}

#[test]
fn current_version_is_told_in_full() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &version('a', "4"));
    assert_eq!(outcome.json()["version"], version('a', "4"), "{outcome}");
    assert_eq!(read(&toolkit, "image"), format!("{}@{}", shop::REPOSITORY, shop::digest('a')));
    assert_eq!(read(&toolkit, "tag"), "latest");
    let record: Value = serde_json::from_str(&read(&toolkit, "rollout.json")).unwrap();
    assert_eq!(record["build"], json!("https://ci.example/builds/7"));
    assert_eq!(record["finished"], json!("2026-01-02T03:04:30Z"));
    assert_eq!(record["pods"]["app-7c9-2"], json!(shop::digest('a')));
    assert!(server.writes().is_empty());
}

#[test]
fn version_whose_replica_set_is_gone_still_has_its_image() {
    let server = ApiServer::start();
    shop::fill(&server, 'b');
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &version('a', "2"));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("revision 2 is gone from the cluster"), "{outcome}");
    assert_eq!(read(&toolkit, "digest"), shop::digest('a'));
    assert_eq!(read(&toolkit, "repository"), shop::REPOSITORY);
    assert!(!toolkit.directory().join("out/tag").exists());
    let record: Value = serde_json::from_str(&read(&toolkit, "rollout.json")).unwrap();
    assert_eq!((&record["current"], &record["pods"]), (&json!(false), &json!({})));
}

#[test]
fn annotations_of_another_digest_are_not_believed() {
    let server = ApiServer::start();
    shop::fill(&server, 'b');
    let mut deployment = shop::deployment('b');
    deployment["metadata"]["annotations"]["rollway.dev/digest"] = json!(shop::digest('a'));
    server.put(shop::DEPLOYMENT, deployment);
    let toolkit = Toolkit::new();
    let outcome = get(&server, &toolkit, &version('b', "4"));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let record: Value = serde_json::from_str(&read(&toolkit, "rollout.json")).unwrap();
    assert_eq!((record.get("build"), record.get("tag")), (None, None));
}

#[test]
fn files_are_what_another_put_takes_as_its_image() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let toolkit = Toolkit::new();
    get(&server, &toolkit, &version('a', "4"));
    let request = json!({"source": {"server": server.url(), "token": TOKEN, "namespace": "shop",
        "deployment": "app"}, "params": {"image": "out", "drain": "none"}});
    let outcome = toolkit.step("rollout", "out", Some(toolkit.directory()), &request.to_string());
    assert_eq!(outcome.json()["version"], version('a', "4"), "{outcome}");
    assert!(outcome.stderr.contains("already there"), "{outcome}");
    assert!(server.writes().is_empty());
}

#[test]
fn unwritable_directory_is_named() {
    let server = ApiServer::start();
    shop::fill(&server, 'a');
    let toolkit = Toolkit::new();
    // A folder in the file's place fails for root too.
    toolkit.folder("out/digest");
    let outcome = get(&server, &toolkit, &version('a', "4"));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains("error: failed to write `[DIR]/out/digest`"), "{outcome}");
    assert!(Path::new(&toolkit.directory().join("out/digest")).is_dir());
}
