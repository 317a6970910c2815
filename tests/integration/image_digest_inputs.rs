//! Wrong inputs to `image-digest`: each gives one clear line and exit 1.

use serde_json::{Value, json};

use crate::support::toolkit::{Outcome, Toolkit};

/// A step, its request, what the error must say and what the hint must say.
type Case = (&'static str, Value, &'static str, &'static str);

/// A key that openssl made.
const P521: &str = "-----BEGIN PUBLIC KEY-----
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAVxLi43/XvHAq4BQbPLza+aZiIDLM
HlT8ZoFtYhVbZF6kgANZi4GYSMIDFADDoyjNKNMPeaD28TTnbAIjiSH4GpwBejin
5D6D95MaPsygvqIkqGwceaV+44kZH2lDetG5iBB0FlyIlyZOxD7cyTm7PvSppBQK
OXCUSMeFufQ4JliRxtg=
-----END PUBLIC KEY-----
";

fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

fn cases() -> Vec<Case> {
    let source = |key: &str, value: Value| json!({"source": {"repository": "127.0.0.1:1/app", key: value}});
    let version = |version: Value| json!({"source": {"repository": "127.0.0.1:1/app"}, "version": version});
    vec![
        ("check", json!({}), "`source.repository` is missing", ""),
        ("check", json!({"source": {"repository": ""}}), "`` is not a repository: it is empty", "host/path"),
        (
            "check",
            json!({"source": {"repository": 7}}),
            "`source.repository`: expected a string, found the number `7`",
            "",
        ),
        ("check", json!({"source": {"repository": "https://x.io/app"}}), "leave out `https://`", "host/path"),
        ("check", json!({"source": {"repository": "x.io/app:1.2"}}), "goes in `tag`", "host/path"),
        (
            "check",
            json!({"source": {"repository": "x.io/App"}}),
            "`x.io/App` is not a repository",
            "host/path",
        ),
        ("check", json!({"source": "app"}), "`source`: expected an object", ""),
        (
            "check",
            source("usrname", json!("bob")),
            "`source.usrname`: unknown key; did you mean `username`?",
            "",
        ),
        ("check", source("tag", json!(true)), "`source.tag`: a tag is a string or a number", ""),
        ("check", source("tag", json!("a/b")), "`source.tag`: `a/b` is not a tag: at most 128 letters", ""),
        (
            "check",
            source("insecure", json!("yes")),
            "`source.insecure`: expected a boolean, found the string `yes`",
            "",
        ),
        ("check", source("password", json!(123)), "`source.password`: expected a string, found a number", ""),
        ("check", source("ca_certs", json!("-----BEGIN")), "`source.ca_certs`: expected a list", ""),
        (
            "check",
            source("ca_certs", json!(["nonsense"])),
            "`ca_certs[0]` has no PEM certificate in it",
            "BEGIN CERTIFICATE",
        ),
        (
            "check",
            source("tag_regex", json!("(1")),
            "`source.tag_regex`: `(1` is not a regular expression: unclosed group",
            "",
        ),
        ("check", source("label_regex", json!(7)), "`source.label_regex`: expected a string", ""),
        (
            "check",
            source("semver_constraint", json!("newest")),
            "`source.semver_constraint`: `newest` is not a constraint: write it like `1.x`",
            "",
        ),
        (
            "check",
            source("semver_constraint", json!(1.5)),
            "`source.semver_constraint`: expected a string, found the number `1.5`",
            "",
        ),
        ("check", source("pre_releases", json!("yes")), "`source.pre_releases`: expected a boolean", ""),
        (
            "check",
            source("pre_release_prefixes", json!("dev")),
            "`source.pre_release_prefixes`: expected a list",
            "",
        ),
        (
            "check",
            source("variant", json!(["alpine"])),
            "`source.variant`: expected a string, found a list",
            "",
        ),
        (
            "check",
            source("order", json!("newest")),
            "`source.order`: expected one of `semver`, `numeric`, `alphabetical`, `timestamp`, `kpack`",
            "",
        ),
        (
            "check",
            source("bare_tag", json!("no")),
            "`source.bare_tag`: expected one of `unmatched`, `alone`, `never`",
            "",
        ),
        ("check", source("on_missing", json!("fail")), "`source.on_missing`: expected `error` or `wait`", ""),
        (
            "check",
            source("max_tags", json!(0)),
            "`source.max_tags`: expected a whole number above 0, found the number `0`",
            "",
        ),
        (
            "check",
            source("bare_tag", json!(false)),
            "`source.bare_tag`: expected a string, found the boolean `false`",
            "",
        ),
        (
            "check",
            source("minimum_age", json!("1 day")),
            "`source.minimum_age`: `1 day` is not a duration",
            "",
        ),
        (
            "check",
            source("deny_tags", json!(["["])),
            "`source.deny_tags[0]`: `[` is not a regular expression",
            "",
        ),
        (
            "check",
            source("platforms", json!(["linux"])),
            "`source.platforms[0]`: `linux` is not a platform",
            "",
        ),
        ("check", source("platform", json!({"arch": "arm64"})), "`source.platform.arch`: unknown key", ""),
        ("check", source("verify", json!({"cosign": {}})), "`source.verify.cosign.keys` is missing", ""),
        (
            "check",
            source("verify", json!({"cosign": {"keys": ["canary"]}})),
            "`source.verify.cosign.keys[0]` is not a public key: it has no `-----BEGIN PUBLIC KEY-----`",
            "cosign generate-key-pair",
        ),
        (
            "in",
            json!({
                "source": {
                    "repository": "127.0.0.1:1/app",
                    "verify": {"cosign": {"keys": ["-----BEGIN PRIVATE KEY-----\ncanary"]}},
                },
                "version": {"tag": "latest", "digest": digest()},
            }),
            "`source.verify.cosign.keys[0]` is not a public key: it is a `PRIVATE KEY`, and not a `PUBLIC KEY`",
            "cosign generate-key-pair",
        ),
        (
            "out",
            source("verify", json!({"cosign": {"keys": [P521]}})),
            "`source.verify.cosign.keys[0]` is a key of ECDSA on P-521, which cannot be verified with",
            "sign with a key of ECDSA on P-256",
        ),
        (
            "check",
            json!({"source": {"repository": "127.0.0.1:1/app", "tag": "1", "order": "kpack"}}),
            "`source.order` has no effect beside `tag`",
            "remove one of the two",
        ),
        ("check", version(json!({"digest": 1})), "`version.digest`: expected a string", ""),
        ("check", version(json!({"ref": "x"})), "`version.ref`: unknown key", "tag, digest, move"),
        (
            "check",
            json!({"source": {"repository": "app"}, "params": {"a": 1}}),
            "`params`: a check has none",
            "",
        ),
        ("in", json!({"source": {"repository": "127.0.0.1:1/app"}}), "`version` is missing", ""),
        (
            "in",
            version(json!({"tag": "latest"})),
            "`version.digest` is not usable: `` is not a digest",
            "sha256:",
        ),
        (
            "in",
            version(json!({"tag": "1", "digest": "sha256:beef"})),
            "`sha256:beef` is not a digest",
            "sha256:",
        ),
        (
            "in",
            json!({"source": {"repository": "app"}, "version": {"digest": digest()}, "params": {"skip_downlod": true}}),
            "`params.skip_downlod`: unknown key; did you mean `skip_download`?",
            "",
        ),
        (
            "in",
            json!({"source": {"repository": "app"}, "version": {"digest": digest()}, "params": {"format": "docker"}}),
            "`params.format`: expected one of `rootfs`, `oci`, `oci-layout`, found the string `docker`",
            "",
        ),
    ]
}

fn is_one_clear_line(outcome: &Outcome) -> bool {
    let lines: Vec<_> = outcome.stderr.lines().collect();
    let is_error = lines.first().is_some_and(|line| line.starts_with("error: "));
    let is_hint = lines.get(1).is_none_or(|line| line.starts_with("hint: "));
    outcome.code == Some(1) && outcome.stdout.is_empty() && is_error && is_hint && lines.len() <= 2
}

#[test]
fn wrong_request_is_one_clear_line() {
    let toolkit = Toolkit::new();
    let directory = toolkit.folder("get");
    for (step, request, error, hint) in cases() {
        let outcome = toolkit.step("image-digest", step, Some(&directory), &request.to_string());
        assert!(is_one_clear_line(&outcome), "{request}: {outcome}");
        assert!(outcome.stderr.contains(error), "{request}: {outcome}");
        assert!(hint.is_empty() || outcome.stderr.contains(hint), "{request}: {outcome}");
    }
}

#[test]
fn garbage_on_stdin_is_one_clear_line() {
    let toolkit = Toolkit::new();
    for garbage in ["", "hello", "{\"source\":", "[]", "\u{0}"] {
        let outcome = toolkit.step("image-digest", "check", None, garbage);
        assert!(is_one_clear_line(&outcome), "{garbage}: {outcome}");
    }
}

#[test]
fn missing_directory_is_one_clear_line() {
    let toolkit = Toolkit::new();
    let request = json!({"source": {"repository": "app"}, "version": {"digest": digest()}}).to_string();
    for directory in [None, Some(toolkit.directory().join("nowhere")), Some(toolkit.file("file", ""))] {
        let outcome = toolkit.step("image-digest", "in", directory.as_deref(), &request);
        assert!(is_one_clear_line(&outcome), "{directory:?}: {outcome}");
    }
}
