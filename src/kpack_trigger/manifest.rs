//! The Image that `create` holds, checked before anything is written: it must be this Image, in the
//! API version that is spoken, and must not make kpack build without end.

use serde_json::{Map, Value};

use super::Wrong;
use crate::concourse::request::kind;
use crate::kpack::Dialect;
use crate::yaml;

/// An Image as somebody wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The file, for people.
    pub path: String,
    /// The namespace that it names.
    pub namespace: Option<String>,
    /// Its labels, annotations and spec, and nothing else.
    pub object: Value,
}

impl Manifest {
    /// Reads the manifest of the Image `name`.
    ///
    /// # Errors
    ///
    /// When it is no Image, or another one.
    pub fn read(path: &str, text: &str, name: &str) -> Result<Self, Wrong> {
        let wrong = |why: String, remedy: &str| Wrong::Manifest {
            path: path.to_owned(),
            why,
            remedy: remedy.to_owned(),
        };
        let document: Value = serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location();
            let line = place.map(|place| format!("line {}: ", place.line())).unwrap_or_default();
            wrong(format!("{line}{}", yaml::words(&error)), "it must be one YAML document: one Image")
        })?;
        let word = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if word("/kind") != "Image" {
            return Err(wrong(
                format!("its kind is `{}`, not `Image`", word("/kind")),
                "put one Image into it",
            ));
        }
        let named = word("/metadata/name");
        if named != name {
            return Err(wrong(
                format!("it is the Image `{named}`, and `source.image` is `{name}`"),
                "give each Image a resource of its own",
            ));
        }
        if !document["spec"].is_object() {
            return Err(wrong("it has no `spec`".to_owned(), "an Image has `tag`, `builder` and `source`"));
        }
        let mut metadata = Map::new();
        for key in ["labels", "annotations"] {
            let map = texts(key, &document["metadata"][key]).map_err(|why| {
                wrong(why, "write each as `NAME: VALUE`, and a number or a switch in quotes")
            })?;
            metadata.extend(map.map(|map| (key.to_owned(), Value::Object(map))));
        }
        let looping = metadata.get("annotations").and_then(Value::as_object);
        if looping.is_some_and(|all| all.keys().any(|key| key.ends_with("/additionalBuildNeeded"))) {
            return Err(wrong(
                "it has the annotation `additionalBuildNeeded`, which on an Image makes kpack build without end"
                    .to_owned(),
                "remove it, and set `trigger: true` to build",
            ));
        }
        let mut object = Map::new();
        object.insert("apiVersion".to_owned(), document["apiVersion"].clone());
        object.insert("kind".to_owned(), document["kind"].clone());
        object.insert("metadata".to_owned(), Value::Object(metadata));
        object.insert("spec".to_owned(), document["spec"].clone());
        let namespace = Some(word("/metadata/namespace").to_owned()).filter(|name| !name.is_empty());
        Ok(Self { path: path.to_owned(), namespace, object: Value::Object(object) })
    }

    /// Refuses a manifest of another namespace, and one in another API version than the one that is
    /// spoken: field names differ.
    ///
    /// # Errors
    ///
    /// When the namespaces or the versions differ.
    pub fn inspect(&self, dialect: Dialect, namespace: &str) -> Result<(), Wrong> {
        if let Some(named) = self.namespace.as_ref().filter(|named| *named != namespace) {
            return Err(Wrong::Manifest {
                path: self.path.clone(),
                why: format!("its namespace is `{named}`, and the Image's is `{namespace}`"),
                remedy: format!("remove it from the file, or set `source.namespace` to `{named}`"),
            });
        }
        let version = self.object["apiVersion"].as_str().unwrap_or_default();
        if version == dialect.to_string() {
            return Ok(());
        }
        // Where the stored version is served, nothing is written in the one before.
        let is_former = dialect == Dialect::V1Alpha2 && version == Dialect::V1Alpha1.to_string();
        let or = if is_former { "" } else { ", or set `source.api_version`" };
        Err(Wrong::Manifest {
            path: self.path.clone(),
            why: format!(
                "its apiVersion is `{version}`, and kpack in `{namespace}` is spoken to in `{dialect}`"
            ),
            remedy: format!("write it for `{dialect}`{or}"),
        })
    }
}

/// Reads labels or annotations. The API server answers a value that is no text with the whole Image.
fn texts(key: &str, value: &Value) -> Result<Option<Map<String, Value>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Object(map) => match map.iter().find(|(_, value)| !value.is_string() && !value.is_null()) {
            Some((name, value)) => {
                Err(format!("`{name}` of its {key} is {}, and {key} are text", kind(value)))
            }
            None => Ok(Some(map.clone())),
        },
        other => Err(format!("its {key} are {}, not names with text each", kind(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: kpack.io/v1alpha2\nkind: Image\nmetadata:\n  name: app\n  labels: {team: a}\n\
                        spec:\n  tag: r.example/app\n  source: {git: {url: u, revision: main}}\n";

    #[test]
    fn an_image_is_taken_without_what_the_cluster_decides() {
        let text = GOOD.replace("  name: app\n", "  name: app\n  uid: x\n  resourceVersion: '1'\n")
            + "status: {a: 1}\n";
        let manifest = Manifest::read("f", &text, "app").unwrap();
        assert_eq!(manifest.object["metadata"], serde_json::json!({"labels": {"team": "a"}}));
        assert!(manifest.object.get("status").is_none());
        assert!(manifest.inspect(Dialect::V1Alpha2, "n").is_ok());
        let error = manifest.inspect(Dialect::V1Alpha1, "n").unwrap_err().to_string();
        let text = GOOD.replace("  name: app\n", "  name: app\n  namespace: other\n");
        let elsewhere = Manifest::read("f", &text, "app").unwrap();
        assert!(elsewhere.inspect(Dialect::V1Alpha2, "other").is_ok());
        let refused = elsewhere.inspect(Dialect::V1Alpha2, "n").unwrap_err().to_string();
        assert!(refused.contains("its namespace is `other`, and the Image's is `n`"), "{refused}");
        assert!(error.contains("its apiVersion is `kpack.io/v1alpha2`"), "{error}");
    }

    #[test]
    fn anything_else_is_refused_with_what_it_is() {
        let looping =
            GOOD.replace("labels: {team: a}", "annotations: {image.kpack.io/additionalBuildNeeded: x}");
        for (text, words) in [
            ("a: [", "line"),
            (&format!("{GOOD}---\n{GOOD}"), "line 10: only single YAML document expected but multiple found"),
            (&format!("{GOOD}kind: Image\n"), "duplicate mapping key"),
            ("kind: Deployment", "its kind is `Deployment`, not `Image`"),
            ("[]", "its kind is ``"),
            (
                &GOOD.replace("name: app", "name: other"),
                "it is the Image `other`, and `source.image` is `app`",
            ),
            ("kind: Image\nmetadata: {name: app}", "it has no `spec`"),
            (&looping, "makes kpack build without end"),
            (&GOOD.replace("team: a", "team: 7"), "`team` of its labels is a number, and labels are text"),
            (&GOOD.replace("{team: a}", "[a]"), "its labels are a list, not names with text each"),
            (
                &GOOD.replace("labels: {team: a}", "annotations: x"),
                "its annotations are a string, not names with text each",
            ),
        ] {
            let error = Manifest::read("m/image.yml", text, "app").unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("`m/image.yml`"), "{text}: {error}");
            assert!(!error.contains("from_str") && !error.contains("Options"), "{error}");
        }
    }
}
