use super::*;

fn check(stdout: &str) -> Verdict {
    judge(Step::Check, Ended::Exit(0), stdout.as_bytes())
}

fn get(stdout: &str) -> Verdict {
    judge(Step::Get, Ended::Exit(0), stdout.as_bytes())
}

fn one(key: &str, value: &str) -> AnyVersion {
    AnyVersion::from([(key.to_owned(), value.to_owned())])
}

#[test]
fn check_without_output_has_no_versions() {
    for stdout in ["", "  \n", "[]", "null"] {
        assert_eq!(check(stdout), Verdict::Succeeded(Answer::Versions(vec![])), "{stdout:?}");
    }
}

#[test]
fn only_the_first_json_value_counts() {
    let versions = vec![one("a", "1")];
    assert_eq!(check(r#"[{"a":"1"}] garbage"#), Verdict::Succeeded(Answer::Versions(versions)));
}

#[test]
fn answers_that_concourse_cannot_decode_are_errors() {
    for (stdout, reason) in [
        ("hello", "its stdout is not JSON: expected value at line 1 column 1; it starts with `hello`"),
        ("{}", "its stdout is an object, not a list of versions"),
        (r#"[{"a":1}]"#, "the version's `a` is a number; Concourse takes strings only"),
        (r#"[{"a":true}]"#, "the version's `a` is a boolean; Concourse takes strings only"),
        ("[{}]", "resource output version is empty"),
        ("[null]", "resource output version is empty"),
        (r#"["a"]"#, "the version is a string, not a map of strings"),
    ] {
        assert_eq!(check(stdout), Verdict::Errored(reason.to_owned()));
    }
    for (stdout, reason) in [
        ("", "resource script (/opt/resource/in /tmp/build/get) output a null version"),
        ("{}", "resource script (/opt/resource/in /tmp/build/get) output a null version"),
        ("[]", "its stdout is a list, not an object with a version"),
        (
            r#"{"version":{"a":"1"},"metadata":[{"name":"n","value":3}]}"#,
            "a metadata `value` is a number; Concourse takes strings only",
        ),
        (r#"{"version":{"a":"1"},"metadata":{}}"#, "the metadata is an object, not a list"),
    ] {
        assert_eq!(get(stdout), Verdict::Errored(reason.to_owned()));
    }
}

#[test]
fn keys_of_an_answer_come_in_any_case() {
    let stdout = r#"{"Version":{"a":"1"},"Metadata":[{"Name":"n","Value":"v"}]}"#;
    let metadata = vec![Field { name: "n".to_owned(), value: "v".to_owned() }];
    assert_eq!(get(stdout), Verdict::Succeeded(Answer::Version(one("a", "1"), metadata)));
}

#[test]
fn null_is_an_empty_string_to_go() {
    assert_eq!(check(r#"[{"a":null}]"#), Verdict::Succeeded(Answer::Versions(vec![one("a", "")])));
}

#[test]
fn put_must_make_a_version() {
    let verdict = judge(Step::Put, Ended::Exit(0), br#"{"version":{}}"#);
    assert_eq!(verdict, Verdict::Errored("resource output version is empty".to_owned()));
}

#[test]
fn exit_code_hides_the_answer() {
    let verdict = judge(Step::Check, Ended::Exit(1), br#"[{"a":"1"}]"#);
    assert_eq!(verdict, Verdict::Failed("`/opt/resource/check` ended with exit code 1".to_owned()));
}

#[test]
fn abort_and_timeout_are_different_ends() {
    assert_eq!(judge(Step::Get, Ended::Interrupted, b""), Verdict::Aborted);
    let timed_out = judge(Step::Get, Ended::TimedOut, b"");
    assert_eq!(timed_out, Verdict::Failed("timeout exceeded".to_owned()));
}
