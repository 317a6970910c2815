use serde_json::json;

use super::*;
use crate::kpack::fixtures::{mk_build, mk_image};
use crate::kpack_trigger::order::Builder;

fn written(changes: &Changes) -> Option<Value> {
    image(&mk_image(), Dialect::V1Alpha2, None, changes).unwrap()
}

fn environment_of(json: Value) -> Environment {
    serde_json::from_value(json).unwrap()
}

#[test]
fn a_trigger_names_the_very_build_and_nothing_else_of_it() {
    let patch = trigger(&mk_build(3), Dialect::V1Alpha2, "me");
    let wanted = json!({"metadata": {"uid": "uid-3",
        "annotations": {"image.kpack.io/additionalBuildNeeded": "me"}}});
    assert_eq!(patch, wanted);
    let old = trigger(&mk_build(3), Dialect::Pivotal, "me");
    assert_eq!(old["metadata"]["annotations"]["image.build.pivotal.io/additionalBuildNeeded"], "me");
}

#[test]
fn only_what_differs_is_written_and_for_the_state_it_was_read_from() {
    let changes = Changes { revision: Some("v2".to_owned()), ..Changes::default() };
    assert_eq!(
        written(&changes).unwrap(),
        json!({"metadata": {"uid": "uid-image", "resourceVersion": "7"},
               "spec": {"source": {"git": {"revision": "v2"}}}})
    );
    let same = Changes {
        revision: Some("main".to_owned()),
        service_account: Some("builder".to_owned()),
        builder: Some(Builder { kind: None, name: "java".to_owned() }),
        env: environment_of(json!({"A": 1, "C": null})),
        ..Changes::default()
    };
    assert_eq!(written(&same), None);
}

#[test]
fn variables_are_set_and_taken_away_and_others_stay_as_they_are() {
    let env = environment_of(json!({"A": "2", "C": true}));
    let patch = written(&Changes { env, ..Changes::default() }).unwrap();
    assert_eq!(
        patch["spec"],
        json!({"build": {"env": [{"name": "A", "value": "2"}, {"name": "B", "valueFrom": {"x": "y"}},
                                 {"name": "C", "value": "true"}]}})
    );
    let env = environment_of(json!({"A": null}));
    let patch = written(&Changes { env, ..Changes::default() }).unwrap();
    assert_eq!(patch["spec"]["build"]["env"], json!([{"name": "B", "valueFrom": {"x": "y"}}]));
}

#[test]
fn fields_are_named_as_the_api_version_names_them() {
    let changes = Changes { service_account: Some("other".to_owned()), ..Changes::default() };
    let of = |dialect| image(&mk_image(), dialect, None, &changes).unwrap().unwrap()["spec"].clone();
    assert_eq!(of(Dialect::V1Alpha2), json!({"serviceAccountName": "other"}));
    assert_eq!(of(Dialect::Pivotal), json!({"serviceAccount": "other"}));
    let tags = Changes { additional_tags: Some(vec!["r.example/app:v1".to_owned()]), ..Changes::default() };
    assert_eq!(written(&tags).unwrap()["spec"], json!({"additionalTags": ["r.example/app:v1"]}));
    let refused = image(&mk_image(), Dialect::V1Alpha1, None, &tags);
    assert!(matches!(refused, Err(Wrong::NotInDialect { key: "additional_tags", .. })));
}

#[test]
fn a_source_of_another_kind_is_refused() {
    for changes in [
        Changes { blob_url: Some("https://x/a.zip".to_owned()), ..Changes::default() },
        Changes { registry_image: Some("r/a".to_owned()), ..Changes::default() },
    ] {
        let error = image(&mk_image(), Dialect::V1Alpha2, None, &changes).unwrap_err().to_string();
        assert!(error.ends_with("and the Image `app` is built from git"), "{error}");
    }
}

fn manifest_of(spec: &str) -> Manifest {
    let text = format!(
        "apiVersion: kpack.io/v1alpha2\nkind: Image\nmetadata: {{name: app, labels: {{team: a}}}}\nspec: {spec}"
    );
    Manifest::read("f", &text, "app").unwrap()
}

#[test]
fn a_manifest_changes_what_it_names_and_takes_the_source_of_another_kind_away() {
    let given = manifest_of("{tag: r.example/app, source: {blob: {url: 'https://x/a.zip'}}}");
    assert_eq!(
        image(&mk_image(), Dialect::V1Alpha2, Some(&given), &Changes::default()).unwrap().unwrap(),
        json!({"metadata": {"labels": {"team": "a"}, "uid": "uid-image", "resourceVersion": "7"},
               "spec": {"source": {"blob": {"url": "https://x/a.zip"}, "git": null}}})
    );
    let moved = manifest_of("{tag: r.example/other}");
    let refused = image(&mk_image(), Dialect::V1Alpha2, Some(&moved), &Changes::default());
    assert!(matches!(refused, Err(Wrong::TagMoves { .. })));
}

#[test]
fn what_is_written_is_named_without_values() {
    let env = environment_of(json!({"A": "canary"}));
    let changes = Changes { env, revision: Some("v2".to_owned()), ..Changes::default() };
    assert_eq!(words(&written(&changes).unwrap()), "source, build");
}

#[test]
fn a_manifest_and_changes_are_one_patch_and_the_changes_are_on_top() {
    let given = manifest_of(
        "{tag: r.example/app, builder: {kind: Builder, name: go}, source: {git: {url: u, revision: main}}, \
         build: {env: [{name: C, value: '1'}]}}",
    );
    let changes = Changes {
        revision: Some("v2".to_owned()),
        builder: Some(Builder { kind: None, name: "rust".to_owned() }),
        env: environment_of(json!({"D": 2})),
        ..Changes::default()
    };
    let patch = image(&mk_image(), Dialect::V1Alpha2, Some(&given), &changes).unwrap().unwrap();
    let env = json!([{"name": "C", "value": "1"}, {"name": "D", "value": "2"}]);
    assert_eq!(
        patch["spec"],
        json!({"builder": {"kind": "Builder", "name": "rust"},
               "source": {"git": {"url": "u", "revision": "v2"}}, "build": {"env": env}})
    );
    // What is so already is not written: the same order again finds nothing to change.
    let mut so = mk_image();
    let mut spec = Value::Object(so.spec.clone());
    overlay(&mut spec, patch["spec"].clone());
    so.spec = spec.as_object().unwrap().clone();
    so.metadata = json!({"labels": {"team": "a"}});
    assert_eq!(image(&so, Dialect::V1Alpha2, Some(&given), &changes).unwrap(), None);
}

#[test]
fn the_source_of_the_manifest_is_the_one_that_a_change_must_fit() {
    let given = manifest_of("{tag: r.example/app, source: {blob: {url: 'https://x/a.zip'}}}");
    let blob = Changes { blob_url: Some("https://x/b.zip".to_owned()), ..Changes::default() };
    let patch = image(&mk_image(), Dialect::V1Alpha2, Some(&given), &blob).unwrap().unwrap();
    assert_eq!(patch["spec"]["source"], json!({"blob": {"url": "https://x/b.zip"}, "git": null}));
    let git = Changes { revision: Some("v2".to_owned()), ..Changes::default() };
    let refused = image(&mk_image(), Dialect::V1Alpha2, Some(&given), &git);
    assert!(matches!(refused, Err(Wrong::OtherSource { key: "revision", .. })));
}

#[test]
fn an_image_that_is_made_has_the_changes_in_it() {
    let given = manifest_of("{tag: r.example/app, source: {git: {url: u, revision: main}}}");
    let changes = Changes {
        revision: Some("v2".to_owned()),
        service_account: Some("builder".to_owned()),
        env: environment_of(json!({"A": 1, "B": null})),
        ..Changes::default()
    };
    let object = made("app", Dialect::V1Alpha2, &given, &changes).unwrap();
    assert_eq!(
        (object["kind"].as_str(), object["metadata"]["name"].as_str(), &object["spec"]),
        (
            Some("Image"),
            Some("app"),
            &json!({"tag": "r.example/app", "source": {"git": {"url": "u", "revision": "v2"}},
                    "serviceAccountName": "builder", "build": {"env": [{"name": "A", "value": "1"}]}})
        )
    );
}
