//! What the folder of a resource type says about it, held against the types that read a request:
//! schemas, README, examples. `UPDATE_SCHEMAS=1 cargo test schema` writes the schemas anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The papers of one resource type.
pub(crate) struct Papers {
    folder: PathBuf,
    schemas: [(&'static str, Value); 4],
}

impl Papers {
    /// Those of `resource/NAME`, whose source, get params, put params and version have these types.
    pub(crate) fn of<S: JsonSchema, G: JsonSchema, P: JsonSchema, V: JsonSchema>(name: &str) -> Self {
        Self {
            folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("resource").join(name),
            schemas: [
                ("source", schema_for!(S).to_value()),
                ("get-params", schema_for!(G).to_value()),
                ("put-params", schema_for!(P).to_value()),
                ("version", schema_for!(V).to_value()),
            ],
        }
    }

    pub(crate) fn examples(&self) -> PathBuf {
        self.folder.join("examples")
    }

    /// Asserts that the schemas are those of the types, or writes them.
    pub(crate) fn assert_schemas(&self) {
        for (name, schema) in &self.schemas {
            let path = self.folder.join(format!("schema/{name}.json"));
            let text = format!("{}\n", serde_json::to_string_pretty(schema).unwrap());
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                fs::write(&path, &text).unwrap();
            }
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == text, "{} is old: run UPDATE_SCHEMAS=1 cargo test schema", path.display());
        }
    }

    /// Asserts that README.md has a row for every key.
    pub(crate) fn assert_readme(&self) {
        let readme = fs::read_to_string(self.folder.join("README.md")).unwrap();
        for (name, schema) in &self.schemas {
            for key in schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
                assert!(
                    readme.contains(&format!("| `{key}` |")),
                    "README.md has no row for `{key}` of {name}"
                );
            }
        }
    }

    /// Asserts that every example is a request that the types read, and that each step has one.
    pub(crate) fn assert_examples<S: DeserializeOwned, P: DeserializeOwned, V: DeserializeOwned>(&self) {
        let mut steps = BTreeSet::new();
        for entry in fs::read_dir(self.examples()).unwrap() {
            let path = entry.unwrap().path();
            let request: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let step = name.split('-').next().unwrap().to_owned();
            assert_reads::<S>(&name, &request["source"]);
            if step == "in" || !request["version"].is_null() {
                assert_reads::<V>(&name, &request["version"]);
            }
            if step == "out" {
                assert_reads::<P>(&name, &request["params"]);
            }
            steps.insert(step);
        }
        assert_eq!(steps.into_iter().collect::<Vec<_>>(), ["check", "in", "out"]);
    }
}

fn assert_reads<T: DeserializeOwned>(name: &str, value: &Value) {
    if let Err(error) = serde_json::from_value::<T>(value.clone()) {
        panic!("{name}: {error}");
    }
}
