//! What resource/image-digest says about the type is what the type reads: schemas, examples, README.
//! `UPDATE_SCHEMAS=1 cargo test image_digest_schema` writes the schemas anew.

use std::fs;
use std::path::{Path, PathBuf};

use rollway::concourse::Request;
use rollway::image_digest::{GetParams, PutParams, Source, Version};
use schemars::schema_for;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("resource/image-digest")
}

fn schemas() -> [(&'static str, Value); 4] {
    [
        ("source", schema_for!(Source).to_value()),
        ("get-params", schema_for!(GetParams).to_value()),
        ("put-params", schema_for!(PutParams).to_value()),
        ("version", schema_for!(Version).to_value()),
    ]
}

#[test]
fn schemas_are_those_of_the_types() {
    for (name, schema) in schemas() {
        let path = folder().join(format!("schema/{name}.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let remedy = "UPDATE_SCHEMAS=1 cargo test image_digest_schema";
        assert!(kept == text, "{} is old: run {remedy}", path.display());
    }
}

#[test]
fn readme_explains_every_key() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    for (name, schema) in schemas() {
        for key in schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(readme.contains(&format!("| `{key}` |")), "README.md has no row for `{key}` of {name}");
        }
    }
}

#[test]
fn examples_are_requests_that_the_type_reads() {
    let examples = ["check", "check-first", "check-versions", "check-builds", "in", "out", "out-promote"];
    for name in examples {
        let text = fs::read(folder().join(format!("examples/{name}.json"))).unwrap();
        let request = Request::parse(&text).unwrap();
        request.source::<Source>().unwrap_or_else(|error| panic!("{name}: {error}"));
        if name.starts_with("out") {
            request.params::<PutParams>().unwrap_or_else(|error| panic!("{name}: {error}"));
        } else {
            request.params::<GetParams>().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let version = request.cursor::<Version>().unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_without = matches!(name, "check-first" | "check-builds" | "out" | "out-promote");
        assert_eq!(version.is_none(), is_without, "{name}");
    }
    assert_eq!(fs::read_dir(folder().join("examples")).unwrap().count(), examples.len());
}
