//! What the folder of a resource type says about it, held against the types that read a request:
//! schemas, README, examples. `UPDATE_SCHEMAS=1 cargo test schema` writes the schemas anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The parts of a README in which the keys of a schema have their rows.
const PARTS: [(&str, &[&str]); 4] = [
    ("source", &["source", "Authentication"]),
    ("get-params", &["in"]),
    ("put-params", &["out"]),
    ("version", &["version"]),
];

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

    /// Asserts that README.md has a row for every key, and for nothing else, in a table of the key's
    /// own part; with the type that the schema has, the default, and an example.
    pub(crate) fn assert_readme(&self) {
        let readme = self.readme();
        for ((name, schema), (part, headings)) in self.schemas.iter().zip(PARTS) {
            assert_eq!(*name, part);
            let rows = rows(&readme, headings);
            for (key, about) in properties(schema) {
                let row = rows.get(key);
                let row = row.unwrap_or_else(|| panic!("README.md has no row for `{key}` of {name}"));
                if *name != "version" {
                    assert_row(&format!("`{key}` of {name}"), row, about);
                }
            }
            let extra: Vec<_> = rows.keys().filter(|key| !has(schema, key)).collect();
            assert!(extra.is_empty(), "{name} has none of the keys {extra:?} of README.md");
        }
    }

    /// Asserts that the row of every key that holds an object names all keys of that.
    pub(crate) fn assert_readme_of_objects(&self) {
        let readme = self.readme();
        let ways_in = rows(&readme, &["Authentication"])
            .into_iter()
            .map(|(key, row)| format!("{key} {}", row.join(" ")));
        let ways_in = words(&ways_in.collect::<Vec<_>>().join(" "));
        for ((name, schema), (_, headings)) in self.schemas.iter().zip(PARTS) {
            let rows = rows(&readme, headings);
            for (key, about) in properties(schema) {
                let words = words(&rows[key].join(" "));
                for key_within in inner(schema, about) {
                    let is_told =
                        words.contains(&key_within) || (key == "from" && ways_in.contains(&key_within));
                    assert!(
                        is_told,
                        "the row of `{key}` of {name} in README.md does not name `{key_within}`"
                    );
                }
            }
        }
    }

    /// Asserts that every key is in some example.
    pub(crate) fn assert_examples_have_every_key(&self) {
        let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for entry in fs::read_dir(self.examples()).unwrap() {
            let path = entry.unwrap().path();
            let request: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let is_put = path.file_stem().unwrap().to_str().unwrap().starts_with("out");
            let params = if is_put { "put-params" } else { "get-params" };
            for (part, name) in [("source", "source"), ("params", params), ("version", "version")] {
                let keys = request[part].as_object().into_iter().flatten().map(|(key, _)| key.clone());
                used.entry(name).or_default().extend(keys);
            }
        }
        for (name, schema) in &self.schemas {
            let keys = properties(schema).map(|(key, _)| key);
            let missing: Vec<_> = keys.filter(|key| !used[name].contains(*key)).collect();
            assert!(missing.is_empty(), "no example has the keys {missing:?} of {name}");
        }
    }

    fn readme(&self) -> String {
        fs::read_to_string(self.folder.join("README.md")).unwrap()
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

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn has(schema: &Value, key: &str) -> bool {
    !schema["properties"][key].is_null()
}

/// Returns the cells of the tables of keys below these headings, by their keys.
fn rows(readme: &str, headings: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let (mut is_inside, mut is_keys) = (false, None);
    for line in readme.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            is_inside = headings.contains(&heading);
        }
        if !line.starts_with('|') {
            is_keys = None;
        } else if is_inside {
            let is_first = is_keys.is_none();
            let heads = ["| key | type | default | example |", "| key | what |"];
            if *is_keys.get_or_insert(heads.contains(&line)) && !is_first && !line.starts_with("|--") {
                let line = line.replace("\\|", "\u{1}");
                let cells: Vec<_> =
                    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
                for key in cells[0].split(", ") {
                    found.insert(key.trim_matches('`').to_owned(), cells[1..].to_vec());
                }
            }
        }
    }
    found
}

fn assert_row(key: &str, row: &[String], about: &Value) {
    let [kind, default, example] = row else { panic!("the row of {key} has not four cells: {row:?}") };
    assert!(!kind.is_empty() && !example.is_empty(), "the row of {key} lacks a type or an example");
    let types = about["type"].as_array().cloned().unwrap_or_else(|| vec![about["type"].clone()]);
    let word = match types.iter().find_map(|it| it.as_str().filter(|it| *it != "null")) {
        Some("boolean") => "true or false",
        Some("integer") => "number",
        Some("array") => "list",
        _ => "",
    };
    assert!(kind.contains(word), "{key} is {word}, and README.md says {kind}");
    let usual = &about["default"];
    if usual.is_boolean() || usual.is_number() || usual.as_str().is_some_and(|text| !text.is_empty()) {
        let text = usual.as_str().map_or_else(|| usual.to_string(), str::to_owned);
        assert!(default.contains(&format!("`{text}`")), "the default of {key} is {text}, not {default}");
    }
}

/// Returns the keys of the objects that a key may hold.
fn inner(schema: &Value, about: &Value) -> BTreeSet<String> {
    match about {
        Value::Object(map) => {
            let mut found = BTreeSet::new();
            for (name, value) in map {
                if name == "$ref" {
                    let target = value.as_str().unwrap().trim_start_matches("#/$defs/");
                    found.extend(inner(schema, &schema["$defs"][target]));
                } else if name == "properties" {
                    found.extend(value.as_object().into_iter().flatten().map(|(key, _)| key.clone()));
                    found.extend(
                        value.as_object().into_iter().flatten().flat_map(|(_, it)| inner(schema, it)),
                    );
                } else {
                    found.extend(inner(schema, value));
                }
            }
            found
        }
        Value::Array(list) => list.iter().flat_map(|value| inner(schema, value)).collect(),
        _ => BTreeSet::new(),
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_').map(str::to_owned).collect()
}

fn assert_reads<T: DeserializeOwned>(name: &str, value: &Value) {
    if let Err(error) = serde_json::from_value::<T>(value.clone()) {
        panic!("{name}: {error}");
    }
}
