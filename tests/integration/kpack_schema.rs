//! What resource/kpack-trigger says about the type is what the type reads: schemas, examples, README.
//! `UPDATE_SCHEMAS=1 cargo test kpack_schema` writes the schemas anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rollway::kpack_trigger::{GetParams, PutParams, Source, Version};
use schemars::schema_for;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("resource/kpack-trigger")
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
        assert!(kept == text, "{} is old: run UPDATE_SCHEMAS=1 cargo test kpack_schema", path.display());
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
    let mut steps = BTreeSet::new();
    for entry in fs::read_dir(folder().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let request: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let step = name.split('-').next().unwrap().to_owned();
        serde_json::from_value::<Source>(request["source"].clone())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        if step == "in" || !request["version"].is_null() {
            serde_json::from_value::<Version>(request["version"].clone())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        if step == "out" {
            serde_json::from_value::<PutParams>(request["params"].clone())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        steps.insert(step);
    }
    assert_eq!(steps.into_iter().collect::<Vec<_>>(), ["check", "in", "out"]);
}
