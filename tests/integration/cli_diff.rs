//! `rollway diff`.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::registry::{MANIFEST, Registry};
use crate::support::toolkit::Toolkit;

/// Stores an image whose layers are told by letters, with these labels.
fn image(registry: &Registry, tag: &str, layers: &str, labels: &Value) -> String {
    let config =
        json!({"os": "linux", "architecture": "amd64", "config": {"Labels": labels, "User": "1000"}});
    let config = registry.blob("app", config.to_string().into_bytes());
    let layer = |letter: char| {
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 1_200_000,
            "digest": format!("sha256:{}", letter.to_string().repeat(64))})
    };
    let layers: Vec<Value> = layers.chars().map(layer).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1}});
    registry.manifest("app", tag, MANIFEST, &manifest.to_string())
}

fn built(run: &str) -> Value {
    json!({
        "io.buildpacks.build.metadata": json!({"buildpacks": [{"id": "acme/java", "version": "9.1"}]}).to_string(),
        "io.buildpacks.lifecycle.metadata": json!({
            "app": [{"sha": "sha256:a"}],
            "runImage": {"topLayer": "x", "reference": format!("lab/run@sha256:{}", run.repeat(64))},
            "stack": {"runImage": {"image": format!("lab/run:0.2.3{run}")}},
            "buildpacks": [{"key": "acme/java", "layers": {"jre": {"data": {"version": "21.0.4"}}}}],
        }).to_string(),
    })
}

#[test]
fn rebase_is_told_in_one_line() {
    let registry = Registry::plain();
    image(&registry, "1", "abc", &built("1"));
    image(&registry, "2", "dbc", &built("2"));
    let outcome = Toolkit::new().binary("rollway").args(["diff", &registry.repository("app:1"), ":2"]).run();
    assert_snapshot!(outcome, @r"
    exit 0
    --- stdout
    only the run image moved: run image lab/run 0.2.31 → 0.2.32, java 21.0.4 unchanged; 1.2 MB to pull, 1 of 3 layers
    ");
}

#[test]
fn json_is_one_object_that_names_both_images() {
    let registry = Registry::plain();
    let old = image(&registry, "1", "abc", &built("1"));
    let new = image(&registry, "2", "abd", &json!({"org.opencontainers.image.version": "2"}));
    let (from, to) = (registry.repository("app:1"), format!("{}@{new}", registry.repository("app")));
    let outcome = Toolkit::new().binary("rollway").args(["diff", &from, &to, "--output", "json"]).run();
    let document = outcome.json();
    assert_eq!(document["from"], json!(format!("{}@{old}", registry.repository("app"))), "{outcome}");
    assert_eq!(document["to"], json!(to));
    assert_eq!(document["diff"]["kind"], json!("app changed"));
    assert_eq!(document["diff"]["pull"], json!({"layers": 1, "of": 3, "bytes": 1_200_000}));
}

#[test]
fn image_that_is_not_there_and_thing_that_is_no_image_are_errors() {
    let registry = Registry::plain();
    let known = image(&registry, "1", "abc", &json!({}));
    registry.manifest("app", "chart", MANIFEST, "{}");
    let toolkit = Toolkit::new().filter(&registry.host(), "[HOST]").filter(&known, "[DIGEST]");
    let outcome = toolkit.binary("rollway").args(["diff", &registry.repository("app:1"), ":3"]).run();
    assert_snapshot!(outcome, @r"
    exit 1
    --- stderr
    error: `[HOST]/app:3` is not in the registry
    hint: the nearest tags there are `1`, `chart`
    ");
    let outcome = toolkit.binary("rollway").args(["diff", &registry.repository("app:1"), ":chart"]).run();
    assert!(
        outcome.code == Some(1) && outcome.stderr.contains("is not an image: it has no config"),
        "{outcome}"
    );
}
