use serde_json::json;

use super::*;
use crate::kpack::fixtures::{mk_build, mk_image};
use crate::kpack_trigger::order::Builder;

fn made(changes: &Changes) -> Option<Value> {
    super::changes(&mk_image(), Dialect::V1Alpha2, changes).unwrap()
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
        made(&changes).unwrap(),
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
    assert_eq!(made(&same), None);
}

#[test]
fn variables_are_set_and_taken_away_and_others_stay_as_they_are() {
    let env = environment_of(json!({"A": "2", "C": true}));
    let patch = made(&Changes { env, ..Changes::default() }).unwrap();
    assert_eq!(
        patch["spec"],
        json!({"build": {"env": [{"name": "A", "value": "2"}, {"name": "B", "valueFrom": {"x": "y"}},
                                 {"name": "C", "value": "true"}]}})
    );
    let env = environment_of(json!({"A": null}));
    let patch = made(&Changes { env, ..Changes::default() }).unwrap();
    assert_eq!(patch["spec"]["build"]["env"], json!([{"name": "B", "valueFrom": {"x": "y"}}]));
}

#[test]
fn fields_are_named_as_the_api_version_names_them() {
    let changes = Changes { service_account: Some("other".to_owned()), ..Changes::default() };
    let of = |dialect| super::changes(&mk_image(), dialect, &changes).unwrap().unwrap()["spec"].clone();
    assert_eq!(of(Dialect::V1Alpha2), json!({"serviceAccountName": "other"}));
    assert_eq!(of(Dialect::Pivotal), json!({"serviceAccount": "other"}));
    let tags = Changes { additional_tags: Some(vec!["r.example/app:v1".to_owned()]), ..Changes::default() };
    assert_eq!(made(&tags).unwrap()["spec"], json!({"additionalTags": ["r.example/app:v1"]}));
    let refused = super::changes(&mk_image(), Dialect::V1Alpha1, &tags);
    assert!(matches!(refused, Err(Wrong::NotInDialect { key: "additional_tags", .. })));
}

#[test]
fn a_source_of_another_kind_is_refused() {
    for changes in [
        Changes { blob_url: Some("https://x/a.zip".to_owned()), ..Changes::default() },
        Changes { registry_image: Some("r/a".to_owned()), ..Changes::default() },
    ] {
        let error = super::changes(&mk_image(), Dialect::V1Alpha2, &changes).unwrap_err().to_string();
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
        manifest(&mk_image(), &given).unwrap().unwrap(),
        json!({"metadata": {"labels": {"team": "a"}, "uid": "uid-image", "resourceVersion": "7"},
               "spec": {"source": {"blob": {"url": "https://x/a.zip"}, "git": null}}})
    );
    let moved = manifest_of("{tag: r.example/other}");
    assert!(matches!(manifest(&mk_image(), &moved), Err(Wrong::TagMoves { .. })));
}

#[test]
fn what_is_written_is_named_without_values() {
    let env = environment_of(json!({"A": "canary"}));
    let changes = Changes { env, revision: Some("v2".to_owned()), ..Changes::default() };
    assert_eq!(words(&made(&changes).unwrap()), "source, build");
}
