use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::failure::Failure;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only what the keys accept is tested")]
struct Source {
    repository: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    password: String,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    ca_certs: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    #[serde(default)]
    seconds: u32,
}

fn refusal(text: &str) -> String {
    let error = Request::parse(text.as_bytes()).and_then(|request| request.source::<Source>()).unwrap_err();
    let failure = Failure::from(error);
    format!("{failure} | {}", failure.hint().unwrap_or_default())
}

#[test]
fn wrong_requests_are_named_by_path_value_and_remedy() {
    for (text, expected) in [
        ("", "stdin is empty: there is no request | pass the request as JSON: {\"source\": {…}}"),
        ("garbage", "the request on stdin is not JSON: expected value at line 1 column 1 | "),
        (
            "[]",
            "the request on stdin is a list, not an object | it has the keys `source`, `params` and `version`",
        ),
        ("{}", "`source.repository` is missing | "),
        (r#"{"sorce": {}}"#, "`sorce`: unknown key; did you mean `source`? | "),
        (
            r#"{"source": {"repositry": "a"}}"#,
            "`source.repositry`: unknown key; did you mean `repository`? | ",
        ),
        (
            r#"{"source": {"repository": "a", "zzz": 1}}"#,
            "`source.zzz`: unknown key | known here: repository, insecure, password, limits, ca_certs",
        ),
        (
            r#"{"source": {"repository": "a", "limits": {"second": 1}}}"#,
            "`source.limits.second`: unknown key; did you mean `seconds`? | ",
        ),
        (
            r#"{"source": {"repository": 5}}"#,
            "`source.repository`: expected a string, found the number `5` | ",
        ),
        (
            r#"{"source": {"repository": "a", "insecure": "yes"}}"#,
            "`source.insecure`: expected a boolean, found the string `yes` | ",
        ),
        (
            r#"{"source": {"repository": "a", "ca_certs": "x"}}"#,
            "`source.ca_certs`: expected a list, found the string `x` | ",
        ),
        (
            r#"{"source": {"repository": "a", "ca_certs": ["x", 1]}}"#,
            "`source.ca_certs[1]`: expected a string, found the number `1` | ",
        ),
        (
            r#"{"source": {"repository": "a", "limits": {"seconds": -1}}}"#,
            "`source.limits.seconds`: expected a whole number, 0 or more, found the number `-1` | ",
        ),
        (r#"{"source": "hunter2"}"#, "`source`: expected an object, found a string | "),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn secrets_are_named_by_their_type_alone() {
    let text = r#"{"source": {"repository": "a", "password": 31337}}"#;
    assert_eq!(refusal(text), "`source.password`: expected a string, found a number | ");
}

#[test]
fn keys_come_in_any_case_and_what_follows_is_ignored() {
    let request = Request::parse(br#"{"SOURCE": {"repository": "a"}, "Version": null} trailing"#).unwrap();
    assert_eq!(request.source::<Source>().unwrap().repository, "a");
    assert_eq!(request.cursor::<BTreeMap<String, String>>().unwrap(), None);
}

#[test]
fn keys_within_a_part_come_in_any_case_too() {
    let text = br#"{"source": {"Repository": "a", "CA_certs": ["b"], "limits": {"Seconds": 7}}}"#;
    let source = Request::parse(text).unwrap().source::<Source>().unwrap();
    assert_eq!((source.repository.as_str(), source.limits.seconds), ("a", 7));
    assert_eq!(
        refusal(r#"{"source": {"Repositry": "a"}}"#),
        "`source.Repositry`: unknown key; did you mean `repository`? | "
    );
    assert_eq!(
        refusal(r#"{"source": {"Repository": 5}}"#),
        "`source.Repository`: unknown key; did you mean `repository`? | "
    );
}

#[test]
fn number_reaches_the_type_as_it_is_written() {
    #[derive(Deserialize)]
    struct Tagged {
        tag: Box<serde_json::value::RawValue>,
    }
    let tagged = Request::parse(br#"{"source": {"tag": 1.10}}"#).unwrap().source::<Tagged>().unwrap();
    assert_eq!(tagged.tag.get(), "1.10");
}

#[test]
fn absent_and_null_parts_are_equal() {
    let absent = Request::parse(b"{}").unwrap();
    assert!(absent == Request::parse(br#"{"source": null, "version": null, "params": null}"#).unwrap());
    assert_eq!(absent.params::<Limits>().unwrap().seconds, 0);
    let missing = absent.version::<BTreeMap<String, String>>().unwrap_err();
    assert_eq!(missing.to_string(), "`version` is missing");
}

#[test]
fn check_refuses_params() {
    assert!(Request::parse(br#"{"params": {}}"#).unwrap().without_params().is_ok());
    assert!(Request::parse(br#"{"params": {"a": 1}}"#).unwrap().without_params().is_err());
}
