use super::*;

fn source(json: &str) -> Result<Source, String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| error.to_string())
}

fn tag(json: &str) -> Option<String> {
    let source = source(&format!(r#"{{"repository": "app", "tag": {json}}}"#)).unwrap();
    source.tag.map(|tag| tag.as_str().to_owned())
}

#[test]
fn number_as_a_tag_keeps_its_text() {
    for (json, text) in [("1.10", "1.10"), ("\"1.0\"", "1.0"), ("7", "7"), ("1e3", "1e3")] {
        assert_eq!(tag(json).as_deref(), Some(text), "{json}");
    }
    assert_eq!((tag("null"), tag("\"\"")), (None, None));
}

#[test]
fn tag_survives_a_detour_through_a_value() {
    let value = serde_json::json!({"repository": "app", "tag": 12});
    let source: Source = serde_path_to_error::deserialize(value).unwrap();
    assert_eq!(source.usual_tag(), "12");
}

#[test]
fn tag_that_is_none_is_refused() {
    for json in ["true", "[]", "{}", "\"a/b\"", "\"a b\"", "-1"] {
        let error = source(&format!(r#"{{"repository": "app", "tag": {json}}}"#)).unwrap_err();
        assert!(error.starts_with("tag: "), "{json}: {error}");
    }
}

#[test]
fn without_a_tag_the_bare_one_stands_in() {
    assert_eq!(source(r#"{"repository": "app"}"#).unwrap().usual_tag(), "latest");
    assert_eq!(source(r#"{"repository": "app", "variant": "alpine"}"#).unwrap().usual_tag(), "alpine");
}

#[test]
fn empty_value_of_a_key_asks_for_nothing() {
    let json = r#"{"repository": "app", "tag": "", "tag_regex": "", "created_at_sort": null, "order": "",
        "variant": null, "semver_constraint": "", "pre_releases": false, "pre_release_prefixes": null,
        "strict_versions": null, "bare_tag": null, "allow_tags": [], "deny_tags": null, "max_tags": null,
        "platforms": [], "only_platform_changes": null, "minimum_age": "", "verify": null,
        "track_moves": null, "on_missing": "", "label_regex": null, "annotation_regex": "",
        "platform": null, "debug": null, "content_trust": {}}"#;
    let source = source(json).unwrap();
    assert!(source.tag_regex.is_none() && source.order.is_none() && source.semver_constraint.is_none());
    assert!(source.deny_tags.is_none() && source.on_missing.is_none() && source.minimum_age.is_none());
}

#[test]
fn empty_text_asks_for_nothing_whatever_the_key_holds() {
    let schema = schemars::schema_for!(Source).to_value();
    let keys = schema["properties"].as_object().unwrap().keys().filter(|key| *key != "repository");
    let usual = format!("{:?}", source(r#"{"repository": "app"}"#).unwrap());
    for key in keys {
        for empty in [r#""""#, "null"] {
            let read = source(&format!(r#"{{"repository": "app", "{key}": {empty}}}"#));
            let read = read.unwrap_or_else(|error| panic!("{key}: {empty}: {error}"));
            assert_eq!(format!("{read:?}"), usual, "{key}: {empty}");
        }
    }
}

#[test]
fn empty_text_in_a_list_is_not_there() {
    for key in ["allow_tags", "deny_tags", "platforms", "ca_certs", "aws_role_arns", "registry_mirrors"] {
        let read = source(&format!(r#"{{"repository": "app", "{key}": ["", null]}}"#)).unwrap();
        let usual = source(r#"{"repository": "app"}"#).unwrap();
        assert_eq!(format!("{read:?}"), format!("{usual:?}"), "{key}");
    }
    let none = source(r#"{"repository": "app", "deny_tags": []}"#).unwrap();
    assert_eq!(none.deny_tags.map(|list| list.len()), Some(0));
}

#[test]
fn wrong_value_is_named_by_its_key() {
    for (key, value, words) in [
        ("tag_regex", r#""(""#, "`(` is not a regular expression: unclosed group"),
        ("label_regex", r#""[""#, "`[` is not a regular expression: "),
        ("deny_tags", r#"["a", "("]"#, "`(` is not a regular expression"),
        ("semver_constraint", r#""one""#, "`one` is not a constraint: write it like `1.x`"),
        ("semver_constraint", "1.2", "invalid type: floating point `1.2`, expected a string"),
        ("order", r#""newest""#, "unknown variant `newest`, expected one of `semver`, `numeric`"),
        ("bare_tag", r#""maybe""#, "unknown variant `maybe`, expected one of `unmatched`, `alone`, `never`"),
        ("on_missing", r#""fail""#, "unknown variant `fail`, expected `error` or `wait`"),
        ("max_tags", "0", "expected a nonzero"),
        ("minimum_age", r#""1 day""#, "`1 day` is not a duration: write it like `90s`"),
        // What is empty on purpose is no signature gate by mistake.
        ("verify", "{}", "missing field `cosign`"),
        ("verify", r#"{"cosign": {}}"#, "missing field `keys`"),
        ("verify", r#"{"cosign": {"kyes": []}}"#, "unknown field `kyes`, expected `keys`"),
        ("platform", r#"{"os": 1}"#, "invalid type: integer `1`, expected a string"),
        ("platforms", r#"["linux"]"#, "`linux` is not a platform: write it like `linux/arm64`"),
    ] {
        let error = source(&format!(r#"{{"repository": "app", "{key}": {value}}}"#)).unwrap_err();
        assert!(error.starts_with(key) && error.contains(words), "{key}: {value}: {error}");
    }
}
