//! The manifests in `kpack/`: what kpack v1alpha2 knows, consistent with each other and with what deploys the apps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const NAMESPACE: &str = "kpack-builders";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn objects(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the files that `kubectl apply -f PATH` reads, in its order.
fn applied(path: &str) -> Vec<PathBuf> {
    let path = root().join("kpack").join(path);
    if path.is_file() {
        return vec![path];
    }
    let mut files: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    files
}

/// Returns the objects that `kubectl apply -f PATH` sends, by kind and name.
fn sent(path: &str) -> BTreeMap<(String, String), Value> {
    let all = applied(path).into_iter().flat_map(|file| objects(&file)).filter(|object| !object.is_null());
    all.map(|object| ((text(&object, "/kind"), text(&object, "/metadata/name")), object)).collect()
}

fn text(object: &Value, pointer: &str) -> String {
    let value = object.pointer(pointer).and_then(Value::as_str);
    value.unwrap_or_else(|| panic!("no text at {pointer} of {object}")).to_owned()
}

/// Makes of a template what its own first lines say.
fn filled(template: &str) -> Value {
    let path = root().join("kpack/credentials").join(template);
    let text = fs::read_to_string(path).unwrap();
    let kept: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    serde_saphyr::from_str(&kept.join("\n")).unwrap()
}

#[test]
fn every_object_is_of_a_kind_that_the_cluster_knows_and_where_it_belongs() {
    let known: BTreeMap<&str, (&str, bool)> = BTreeMap::from([
        ("Namespace", ("v1", false)),
        ("ServiceAccount", ("v1", true)),
        ("ClusterStore", ("kpack.io/v1alpha2", false)),
        ("ClusterStack", ("kpack.io/v1alpha2", false)),
        ("Builder", ("kpack.io/v1alpha2", true)),
        ("Image", ("kpack.io/v1alpha2", true)),
        ("Role", ("rbac.authorization.k8s.io/v1", true)),
        ("RoleBinding", ("rbac.authorization.k8s.io/v1", true)),
    ]);
    let paths = [
        "credentials",
        "custom-java-builder.yml",
        "images",
        "jvm-update",
        "stack-update",
        "pipeline-role.yml",
    ];
    for path in paths {
        let sent = sent(path);
        assert!(!sent.is_empty(), "{path}");
        for ((kind, name), object) in sent {
            let (version, is_namespaced) = known[kind.as_str()];
            assert_eq!(text(&object, "/apiVersion"), version, "{kind} {name}");
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
            assert_eq!(namespace, is_namespaced.then_some(NAMESPACE), "{kind} {name}");
        }
    }
}

#[test]
fn the_namespace_is_the_first_that_is_applied() {
    let first = &objects(&applied("credentials")[0])[0];
    assert_eq!((text(first, "/kind"), text(first, "/metadata/name")), ("Namespace".into(), NAMESPACE.into()));
}

#[test]
fn a_template_that_is_applied_by_accident_changes_nothing_and_filled_in_it_is_the_accounts_secret() {
    let account = sent("credentials").remove(&("ServiceAccount".into(), "kpack-service-account".into()));
    let account = account.unwrap();
    let listed: BTreeSet<String> =
        account["secrets"].as_array().unwrap().iter().map(|secret| text(secret, "/name")).collect();
    let mut made = BTreeSet::new();
    for (template, annotation) in [("dockerhub-creds", "kpack.io/docker"), ("github-creds", "kpack.io/git")] {
        let file = format!("{template}.template.yml");
        let read = objects(&root().join("kpack/credentials").join(&file));
        assert!(read.iter().all(Value::is_null), "{file}: {read:?}");
        let secret = filled(&file);
        assert_eq!(text(&secret, "/metadata/namespace"), NAMESPACE);
        assert_eq!(text(&secret, "/type"), "kubernetes.io/basic-auth");
        assert!(secret["metadata"]["annotations"][annotation].is_string(), "{secret}");
        assert!(secret["stringData"]["username"].is_string() && secret["stringData"]["password"].is_string());
        made.insert(text(&secret, "/metadata/name"));
    }
    assert_eq!(made, listed);
}

#[test]
fn what_the_builder_and_the_images_refer_to_is_there() {
    let builder = sent("custom-java-builder.yml");
    let account = sent("credentials");
    let there = |kind: String, name: String| {
        let key = (kind, name);
        assert!(builder.contains_key(&key) || account.contains_key(&key), "{key:?}");
    };
    let of =
        |object: &Value, at: &str| (text(object, &format!("{at}/kind")), text(object, &format!("{at}/name")));
    let it = &builder[&("Builder".to_owned(), "custom-java-builder".to_owned())];
    for at in ["/spec/stack", "/spec/store"] {
        let (kind, name) = of(it, at);
        there(kind, name);
    }
    there("ServiceAccount".to_owned(), text(it, "/spec/serviceAccountName"));
    for image in sent("images").values() {
        let (kind, name) = of(image, "/spec/builder");
        there(kind, name);
        there("ServiceAccount".to_owned(), text(image, "/spec/serviceAccountName"));
    }
}

#[test]
fn an_update_changes_images_of_the_same_object_and_nothing_else() {
    let before = sent("custom-java-builder.yml");
    for (path, kind) in [("jvm-update", "ClusterStore"), ("stack-update", "ClusterStack")] {
        let after = sent(path);
        assert_eq!(after.len(), 1, "{path}");
        let (key, object) = after.into_iter().next().unwrap();
        assert_eq!(key.0, kind);
        let old = &before[&key];
        assert_ne!(images(&old["spec"]), images(&object["spec"]), "{path}");
        assert_eq!(without_images(&old["spec"]), without_images(&object["spec"]), "{path}");
    }
}

/// Returns every image that is named below a value.
fn images(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match value.as_str() {
                Some(image) if key == "image" => vec![image.to_owned()],
                _ => images(value),
            })
            .collect(),
        Value::Array(list) => list.iter().flat_map(images).collect(),
        _ => Vec::new(),
    }
}

fn without_images(value: &Value) -> Value {
    let mut text = value.to_string();
    for image in images(value) {
        text = text.replace(&image, "");
    }
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_image_has_a_tag_that_does_not_move() {
    for path in ["custom-java-builder.yml", "jvm-update", "stack-update"] {
        for object in sent(path).values() {
            for image in images(object) {
                let tag = image.rsplit_once(':').map(|(_, tag)| tag.to_owned()).unwrap_or_default();
                assert!(tag.chars().next().is_some_and(|first| first.is_ascii_digit()), "{path}: {image}");
            }
        }
    }
}

#[test]
fn each_app_is_built_where_its_manifest_and_its_pipeline_look() {
    let images = sent("images");
    assert_eq!(images.len(), 3);
    for app in ["app-foo", "app-bar", "app-baz"] {
        let image = &images[&("Image".to_owned(), app.to_owned())];
        let tag = text(image, "/spec/tag");
        let deployed = objects(&root().join(format!("k8s/{app}.yml")));
        let deployment = deployed.iter().find(|object| object["kind"] == "Deployment").unwrap();
        assert_eq!(text(deployment, "/spec/template/spec/containers/0/image"), tag);
        let variables = &objects(&root().join(format!("ci/{app}.yml")))[0];
        assert_eq!(text(variables, "/container-image"), tag);
        assert_eq!(text(variables, "/kpack-image"), app);
        assert_eq!(text(variables, "/kpack-namespace"), NAMESPACE);
    }
}
